//! The page a browser sees at the end of a consent: static, readable on a phone, nothing from elsewhere, no script.
//!
//! Invariant: whatever is put into it is escaped, and the policy in its header allows nothing but its own style.

/// What happened, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    title: &'static str,
    text: String,
}

const STYLE: &str = "body{margin:0;padding:2rem 1.25rem;font:1.125rem/1.5 system-ui,sans-serif;\
color:#1a1a1a;background:#fff}main{max-width:34rem;margin:0 auto}h1{font-size:1.5rem;line-height:1.25}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}}";
/// SHA-256 of [`STYLE`] in base64; a test keeps it true.
const STYLE_HASH: &str = "JPtdFuDmp5VzKY/GWeOruNwrB9usuV2OIBCWULhDsgc=";

impl Page {
    /// It worked.
    pub(crate) fn connected(mailbox: &str) -> Self {
        Self {
            title: "Connected",
            text: format!(
                "{mailbox} is connected. You can close this page and go back to the terminal."
            ),
        }
    }

    /// The owner or the provider said no.
    pub(crate) fn denied() -> Self {
        Self {
            title: "Not connected",
            text: "The request was refused, and nothing was kept. If that was a mistake, run the command again.".into(),
        }
    }

    /// It went wrong after the owner said yes.
    pub(crate) fn failed(why: &str) -> Self {
        Self {
            title: "Not connected",
            text: format!(
                "It did not work: {}. The terminal says what to do.",
                why.trim_end_matches('.')
            ),
        }
    }

    /// The second time.
    pub(crate) fn already() -> Self {
        Self {
            title: "Already answered",
            text: "This link was used. You can close this page; the terminal says how it went."
                .into(),
        }
    }

    /// Not what the terminal waits for.
    pub(crate) fn stranger() -> Self {
        Self {
            title: "Not the expected page",
            text:
                "This is not what brokerctl is waiting for. Open the link that the terminal shows."
                    .into(),
        }
    }

    /// The whole HTTP response.
    pub(super) fn to_response(&self, status: &str) -> Vec<u8> {
        let (title, text) = (self.title, escape(&self.text));
        let body = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head>\
             <body><main><h1>{title}</h1><p>{text}</p></main></body></html>\n"
        );
        format!(
            "HTTP/1.1 {status}\r\n\
             Content-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'sha256-{STYLE_HASH}'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
             Referrer-Policy: no-referrer\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Cache-Control: no-store\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_names_the_style_that_is_there() {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
        assert_eq!(hash, STYLE_HASH);
    }

    #[test]
    fn a_mailbox_with_markup_stays_text() {
        let page = Page::connected("<script>alert(1)</script>@x");
        let page = String::from_utf8(page.to_response("200 OK")).unwrap();
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("default-src 'none'"));
    }
}
