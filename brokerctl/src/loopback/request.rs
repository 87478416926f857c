//! Reads one HTTP request of a browser; pure.
//!
//! Never trusts it. Invariant: a callback is a GET of `/` on our own name and port with one `state`, the right one,
//! and either one `code` or one `error`. Next: `page`.

use token_broker_client::Secret;
use url::form_urlencoded;

use super::page::Page;

/// What a request turned out to be.
pub(super) enum Heard {
    /// The provider's answer.
    Callback(Sent),
    /// Anything else, and what to say to it.
    Other(Answer),
}

/// The provider's parameters.
pub(super) struct Sent {
    pub(super) state: String,
    pub(super) code: Secret,
    pub(super) iss: String,
    pub(super) error: String,
}

/// A status line and a page.
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) page: Page,
}

impl Answer {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.page.to_response(self.status)
    }
}

/// Reads a request's head.
pub(super) fn read(head: &str, port: u16, expected: &str) -> Heard {
    let refuse = |status, page| Heard::Other(Answer { status, page });
    let nonsense = || refuse("400 Bad Request", Page::stranger());
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return nonsense();
    };
    if !lines.any(|line| is_our_name(line, port)) {
        return nonsense();
    }
    if method != "GET" {
        return refuse("405 Method Not Allowed", Page::stranger());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != "/" {
        return refuse("404 Not Found", Page::stranger());
    }
    match parameters(query) {
        Some(sent) if !expected.is_empty() && sent.state == expected => Heard::Callback(sent),
        _ => nonsense(),
    }
}

/// Whether a header line names this listener; a page that reached us under another name (DNS rebinding) is a
/// stranger's.
fn is_our_name(line: &str, port: u16) -> bool {
    let Some((name, value)) = line.split_once(':') else { return false };
    let hosts = ["localhost", "127.0.0.1", "[::1]"];
    name.eq_ignore_ascii_case("host")
        && hosts.iter().any(|host| value.trim().eq_ignore_ascii_case(&format!("{host}:{port}")))
}

/// The four parameters. `None` if one comes twice, or there is not exactly one of `code` and `error`.
fn parameters(query: &str) -> Option<Sent> {
    let [mut state, mut code, mut iss, mut error] = [const { None::<String> }; 4];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let slot = match name.as_ref() {
            "state" => &mut state,
            "code" => &mut code,
            "iss" => &mut iss,
            "error" => &mut error,
            _ => continue,
        };
        if slot.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    let one = code.as_deref().is_some_and(|code| !code.is_empty())
        != error.as_deref().is_some_and(|error| !error.is_empty());
    one.then(|| Sent {
        state: state.unwrap_or_default(),
        code: Secret::new(code.unwrap_or_default()),
        iss: iss.unwrap_or_default(),
        error: error.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(target: &str, host: &str) -> Heard {
        read(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 7000, "right")
    }

    fn status(heard: Heard) -> &'static str {
        match heard {
            Heard::Callback(_) => "callback",
            Heard::Other(answer) => answer.status,
        }
    }

    #[test]
    fn the_providers_answer_is_read_with_its_escapes() {
        let heard =
            heard("/?state=right&code=4%2F0Ab%2Bc+d&iss=https%3A%2F%2Fidp", "LOCALHOST:7000");
        let Heard::Callback(sent) = heard else { panic!("a callback") };
        assert_eq!(sent.code.expose(), "4/0Ab+c d");
        assert_eq!(sent.iss, "https://idp");
        assert_eq!(sent.error, "");
    }

    #[test]
    fn another_state_none_or_two_are_a_strangers() {
        for query in
            ["code=c", "state=wrong&code=c", "state=&code=c", "state=right&state=right&code=c"]
        {
            assert_eq!(
                status(heard(&format!("/?{query}"), "localhost:7000")),
                "400 Bad Request",
                "{query}"
            );
        }
        let empty = read("GET /?state=&code=c HTTP/1.1\r\nHost: localhost:7000\r\n\r\n", 7000, "");
        assert_eq!(
            status(empty),
            "400 Bad Request",
            "a broker that named no state is not matched by none"
        );
    }

    #[test]
    fn it_is_either_a_code_or_an_error() {
        for query in [
            "state=right",
            "state=right&code=",
            "state=right&code=c&error=e",
            "state=right&code=a&code=b",
        ] {
            assert_eq!(
                status(heard(&format!("/?{query}"), "localhost:7000")),
                "400 Bad Request",
                "{query}"
            );
        }
        assert_eq!(status(heard("/?state=right&error=access_denied", "[::1]:7000")), "callback");
    }

    #[test]
    fn a_page_that_reached_us_under_another_name_is_a_strangers() {
        for host in
            ["evil.example:7000", "localhost", "localhost:7001", "localhost:7000.evil.example"]
        {
            assert_eq!(status(heard("/?state=right&code=c", host)), "400 Bad Request", "{host}");
        }
    }

    #[test]
    fn garbage_is_answered_and_breaks_nothing() {
        for head in [
            "",
            "\r\n\r\n",
            "GET",
            "GET / HTTP/1.1",
            "\u{16}\u{3}\u{1}",
            "GET  / HTTP/1.1\r\nHost: localhost:7000\r\n\r\n",
        ] {
            assert_eq!(status(read(head, 7000, "right")), "400 Bad Request", "{head:?}");
        }
        let post = "POST /?state=right&code=c HTTP/1.1\r\nHost: localhost:7000\r\n\r\n";
        assert_eq!(status(read(post, 7000, "right")), "405 Method Not Allowed");
        assert_eq!(status(heard("/favicon.ico", "localhost:7000")), "404 Not Found");
    }
}
