//! The SMTP adapter's process: hands its protocol to `adapter_core`.
//!
//! Never decides anything itself. Next: `adapter_core::run`.

fn main() {}
