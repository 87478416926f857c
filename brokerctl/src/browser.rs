//! Opens a page in the person's browser, if there is one.
//!
//! Never waits for it, never fails the command: the link is printed too. Invariant: only http and https links are
//! opened, and never through a shell.

use std::process::{Command, Stdio};

const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Tries to open `link`. False if there is nothing to open it with.
pub(crate) fn open(link: &str) -> bool {
    let is_web = url::Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    is_web
        && Command::new(OPENER)
            .arg(link)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_links_are_opened() {
        for link in ["file:///etc/passwd", "javascript:alert(1)", "--help", ""] {
            assert!(!open(link), "{link}");
        }
    }
}
