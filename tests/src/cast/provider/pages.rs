//! The provider's HTML: one page to sign in and consent, one to say what is wrong.
//!
//! Plain HTML, no script, nothing from elsewhere, readable on a phone. Everything that a caller sent is escaped. Next:
//! [`super::authorize`], which shows them.

use axum::http::StatusCode;
use axum::http::header::CONTENT_SECURITY_POLICY;

use super::answer::Answer;
use super::codes::AuthorizeQuery;

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}fieldset{border:1px solid #999;border-radius:.4rem;margin:1rem 0}label{display:block;\
padding:.3rem 0}input[type=email]{width:100%;font:inherit;box-sizing:border-box}button{font:inherit;padding:.6rem \
1.2rem;margin:.5rem .5rem 0 0}small{color:#555}";

/// The page on which a person picks a mailbox and consents.
pub fn consent(request: &str, query: &AuthorizeQuery, users: &[String]) -> Answer {
    let hint = query.login_hint.as_deref().unwrap_or_default();
    let offered = users.iter().map(|user| choice(user, user.eq_ignore_ascii_case(hint)));
    let typed = if users.iter().any(|user| user.eq_ignore_ascii_case(hint)) { "" } else { hint };
    let scopes = query.scope.split(' ').filter(|scope| !scope.is_empty());
    let body = format!(
        "<h1>Sign in</h1><p><strong>{client}</strong> asks to use your mailbox:</p><ul>{scopes}</ul>\
         <form method=\"post\" action=\"/authorize/decide\">\
         <input type=\"hidden\" name=\"request\" value=\"{request}\">\
         <fieldset><legend>Mailbox</legend>{offered}\
         <label>another one: <input type=\"email\" name=\"other\" value=\"{typed}\"></label></fieldset>\
         <button name=\"decision\" value=\"allow\">Allow</button>\
         <button name=\"decision\" value=\"deny\">Refuse</button></form>\
         <p><small>This is a simulated provider for tests. It asks for no password.</small></p>",
        client = escaped(&query.client_id),
        scopes = scopes.map(|scope| format!("<li>{}</li>", escaped(scope))).collect::<String>(),
        offered = offered.collect::<String>(),
        typed = escaped(typed),
    );
    page(StatusCode::OK, "Sign in", &body)
}

/// A page that says why nothing can be done.
pub fn refusal(why: &str) -> Answer {
    let body = format!("<h1>This request cannot be served</h1><p>{}</p>", escaped(why));
    page(StatusCode::BAD_REQUEST, "Error", &body)
}

fn choice(user: &str, checked: bool) -> String {
    let user = escaped(user);
    let checked = if checked { " checked" } else { "" };
    format!(
        "<label><input type=\"radio\" name=\"mailbox\" value=\"{user}\"{checked}> {user}</label>"
    )
}

fn page(status: StatusCode, title: &str, body: &str) -> Answer {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    );
    Answer::text(status, "text/html; charset=utf-8", html)
        .with(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
