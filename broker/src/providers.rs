//! Providers. The full room arrives with its branch; this line is all the proof needs.

pub mod mail_proof;
