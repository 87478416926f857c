//! The broker end to end: real processes, opposite the fake cast that keeps the ground truth.

mod audit;
mod bad_input;
mod callers;
mod consent;
mod consent_attacks;
mod credentials;
mod database_writer;
mod decisions;
mod doctor;
mod floods;
mod get_access_token;
mod guessing;
mod identities;
mod imap_login;
mod keys;
mod process;
mod refresh;
mod restart;
mod rotation;
mod sessions;
mod smtp_submission;
mod stolen;
mod withdrawn;
mod words;
