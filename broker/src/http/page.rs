//! The pages: a few templates, one style, and the headers that go with a page.
//!
//! Never a script, never anything from elsewhere. Invariant: the policy sent with a page allows this page's own style by its
//! hash and nothing else; only a page with a form may send one. Next: `refusal` and `consent` choose pages.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use super::html::{Html, Slot, fill};
use crate::service::Invitation;

const LAYOUT: &str = include_str!("pages/layout.html");
const INVITATION: &str = include_str!("pages/invitation.html");
const FACT: &str = include_str!("pages/fact.html");
const MESSAGE: &str = include_str!("pages/message.html");
const STYLE: &str = include_str!("pages/style.css");

/// Where the form of a page may lead. Chromium applies it to every redirect that follows, not to the first alone, and a
/// provider may send the browser on to the sign-in of the owner's organisation, so it cannot be narrowed to one host.
const FORM_LEADS_TO: &str = "'self' https:";
/// The same where the broker itself is reached by `http`, which is only possible on this machine.
const FORM_LEADS_TO_HERE: &str = "'self' https: http://localhost:* http://127.0.0.1:*";

/// A page, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Page {
    status: StatusCode,
    html: Html,
    form: Option<&'static str>,
}

/// What kind of link was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A mailbox is to be connected.
    Consent,
    /// A grant is to be given again.
    Renewal,
}

/// The page that names who asks for which mailbox, with one button. `token` comes back with the form.
pub(super) fn invitation(
    occasion: Occasion,
    invitation: &Invitation,
    token: &str,
    https: bool,
) -> Page {
    let (heading, opening) = match occasion {
        Occasion::Consent => {
            ("Connect a mailbox", "Somebody asks you for lasting access to a mailbox.")
        }
        Occasion::Renewal => {
            ("Reconnect your mailbox", "Access to this mailbox has to be allowed again.")
        }
    };
    let next = if invitation.mailbox.is_empty() {
        "You sign in at your mail provider and decide there. We never see your password."
    } else {
        "You sign in at your mail provider and decide there. Only this mailbox can be connected. \
         We never see your password."
    };
    let facts = [
        ("Asked for by", invitation.requester.as_str()),
        ("Mailbox", invitation.mailbox.as_str()),
        ("App", invitation.app.as_str()),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let facts = Html::joined(facts.map(|(name, value)| {
        fill(FACT, &[("name", Slot::Text(name)), ("value", Slot::Text(value))])
    }));
    let content = fill(
        INVITATION,
        &[
            ("heading", Slot::Text(heading)),
            ("opening", Slot::Text(opening)),
            ("facts", Slot::Markup(facts)),
            ("token", Slot::Text(token)),
            ("next", Slot::Text(next)),
        ],
    );
    let form = Some(if https { FORM_LEADS_TO } else { FORM_LEADS_TO_HERE });
    Page { status: StatusCode::OK, html: laid_out(heading, "", content), form }
}

/// The page at the end of a successful consent.
pub(super) fn connected(mailbox: &str) -> Page {
    let words = format!("{mailbox} is connected. You may close this page.");
    message(StatusCode::OK, "Done", &words, "good")
}

/// A page that says why not.
pub(super) fn refusal(status: StatusCode, words: &str) -> Page {
    let heading = if status.is_server_error() { "Not just now" } else { "This did not work" };
    message(status, heading, words, "bad")
}

/// The page at the root.
pub(super) fn home() -> Page {
    let words = "This is where mailbox owners allow an application to use their mailbox. \
                 If you were sent a link, open that link; there is nothing to do here.";
    message(StatusCode::OK, "Token Broker", words, "")
}

fn message(status: StatusCode, heading: &str, words: &str, mood: &'static str) -> Page {
    let role = if mood == "bad" { "alert" } else { "status" };
    let slots =
        [("heading", Slot::Text(heading)), ("words", Slot::Text(words)), ("role", Slot::Own(role))];
    Page { status, html: laid_out(heading, mood, fill(MESSAGE, &slots)), form: None }
}

fn laid_out(title: &str, mood: &'static str, content: Html) -> Html {
    fill(
        LAYOUT,
        &[
            ("title", Slot::Text(title)),
            ("style", Slot::Own(STYLE)),
            ("mood", Slot::Own(mood)),
            ("content", Slot::Markup(content)),
        ],
    )
}

/// The policy of a page whose form, if it has one, may lead to `form`.
fn policy(form: &str) -> HeaderValue {
    static STYLE_HASH: LazyLock<String> =
        LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE.as_bytes())));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action {form}; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_HASH
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.html.into_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, policy(self.form.unwrap_or("'none'")));
        if self.form.is_some() {
            // With `no-referrer` a browser sends `Origin: null` with the form, and the check of it would be blind.
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Page> {
        let asked = Invitation {
            requester: "Help desk".to_owned(),
            app: "Ticket system".to_owned(),
            mailbox: "ann@example.com".to_owned(),
            needs_click: true,
        };
        let bare = Invitation { requester: String::new(), mailbox: String::new(), ..asked.clone() };
        vec![
            invitation(Occasion::Consent, &asked, "t", true),
            invitation(Occasion::Renewal, &bare, "t", false),
            connected("ann@example.com"),
            refusal(StatusCode::BAD_REQUEST, "No."),
            home(),
        ]
    }

    #[test]
    fn every_page_is_whole_and_holds_no_script_and_nothing_from_elsewhere() {
        for page in all() {
            let html = page.html.into_string();
            assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"), "{html}");
            assert!(!html.contains("{{") && html.contains("<h1>"), "{html}");
            for foreign in ["<script", "src=", "href=", "url(", "@import", "style=", " on"] {
                let inner = html.split_once("<main").unwrap().1;
                assert!(foreign == " on" || !html.contains(foreign), "{foreign} in {html}");
                assert!(!inner.contains("onclick") && !inner.contains("javascript:"), "{html}");
            }
        }
    }

    #[test]
    fn the_policy_names_the_style_by_the_hash_of_what_stands_in_the_page() {
        for page in all() {
            let html = page.html.clone().into_string();
            let (_, rest) = html.split_once("<style>").unwrap();
            let (style, _) = rest.split_once("</style>").unwrap();
            let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
            let response = page.into_response();
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
        }
    }

    #[test]
    fn an_unknown_mailbox_or_requester_leaves_no_empty_line() {
        let bare = Invitation {
            requester: String::new(),
            app: "App".to_owned(),
            mailbox: String::new(),
            needs_click: true,
        };
        let html = invitation(Occasion::Consent, &bare, "t", true).html.into_string();
        assert!(!html.contains("Mailbox</dt>") && !html.contains("Asked for by"), "{html}");
        assert!(!html.contains("Only this mailbox"), "{html}");
    }
}
