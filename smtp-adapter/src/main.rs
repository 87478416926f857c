//! SMTP submission in front of OAuth mailboxes: `smtp-adapter --help` tells how.
//!
//! Never decides anything. Invariant: everything here is said in the library and in `adapter_core`. Next: `adapter_core::run`.

use std::process::ExitCode;

fn main() -> ExitCode {
    adapter_core::run(smtp_adapter::Smtp)
}
