//! The handlers: show what a link asks for, start it after a click, take the provider's answer.
//!
//! Never starts anything for a request whose form did not come from the page shown in this browser, except for links of an
//! application's own user, who is checked when the application finishes. `HEAD` changes nothing. Invariant: what stands in a
//! query is checked for form and length before it goes on, and never comes back in a page.
//! Next: `verbs` hand over to `service/open_consent.rs` and `service/receive_answer.rs`.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{LOCATION, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use super::cookies::{Cookie, is_ours};
use super::page::{self, Occasion};
use super::refusal::Refusal;
use super::verbs::{Link, Verbs};
use super::{Shared, Site};
use crate::domain::ids::{ProjectId, ResourceId};
use crate::domain::secret::Secret;
use crate::service::{Answer, Arrival, Error};
use crate::telemetry::metrics;

/// Longest `code`, in bytes.
const LONGEST_CODE: usize = 4 * 1024;
/// Longest query, in bytes: a code and all the rest, escaped.
const LONGEST_QUERY: usize = 12 * 1024;

type Answered = Result<Response, Refusal>;
type OneEnd = Result<Path<String>, PathRejection>;
type Body = Result<Bytes, BytesRejection>;

/// `GET /consent/{ticket}`
pub(super) async fn show_consent<V: Verbs>(
    State(shared): State<Shared<V>>,
    method: Method,
    end: OneEnd,
) -> Answered {
    shared.show(&method, link(Occasion::Consent, end)?).await
}

/// `POST /consent/{ticket}`
pub(super) async fn start_consent<V: Verbs>(
    State(shared): State<Shared<V>>,
    end: OneEnd,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    shared.start(link(Occasion::Consent, end)?, &headers, body).await
}

/// `GET /renew/{token}`
pub(super) async fn show_renewal<V: Verbs>(
    State(shared): State<Shared<V>>,
    method: Method,
    end: OneEnd,
) -> Answered {
    shared.show(&method, link(Occasion::Renewal, end)?).await
}

/// `POST /renew/{token}`
pub(super) async fn start_renewal<V: Verbs>(
    State(shared): State<Shared<V>>,
    end: OneEnd,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    shared.start(link(Occasion::Renewal, end)?, &headers, body).await
}

/// `GET /oauth/callback/{project}/{app}`
pub(super) async fn receive<V: Verbs>(
    State(shared): State<Shared<V>>,
    method: Method,
    place: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answered {
    let Path((project, app)) = place.map_err(|_| Refusal::no_page())?;
    let project = ProjectId::parse(&project).map_err(|_| Refusal::no_page())?;
    let app = ResourceId::parse(&app).map_err(|_| Refusal::no_page())?;
    if method == Method::HEAD {
        return Ok(page::home().into_response());
    }
    let arrival = arrival(query.as_deref().unwrap_or_default()).ok_or_else(Refusal::no_answer)?;
    let cookie = Cookie::Consent.read(&shared.site, &headers);
    let answer = shared.verbs.receive((project, app), cookie, arrival).await;
    metrics::consent(outcome(&answer));
    let mut response = match answer? {
        Answer::Connected(mailbox) => page::connected(mailbox.as_str()).into_response(),
        Answer::GoTo(to) => see_other(&to)?,
    };
    // Kept on a refusal: a stranger's link to this page must not end a consent that is still on its way.
    Cookie::Consent.clear(&shared.site, &mut response);
    Ok(response)
}

impl<V: Verbs> Shared<V> {
    async fn show(&self, method: &Method, link: Link) -> Answered {
        let invitation = self.verbs.invitation(&link).await?;
        if !invitation.needs_click && *method != Method::HEAD {
            return self.depart(&link).await;
        }
        let token = URL_SAFE_NO_PAD.encode(self.entropy.bytes::<16>());
        let page = page::invitation(link.occasion, &invitation, &token, self.site.https);
        let mut response = page.into_response();
        Cookie::Form.set(&self.site, &token, &mut response);
        Ok(response)
    }

    async fn start(&self, link: Link, headers: &HeaderMap, body: Body) -> Answered {
        let body = body.map_err(|_| Refusal::too_much())?;
        if !(came_from(&self.site, headers) && self.is_form_of_ours(headers, &body)) {
            return Err(Refusal::foreign_form());
        }
        self.depart(&link).await
    }

    async fn depart(&self, link: &Link) -> Answered {
        let departure = self.verbs.depart(link).await?;
        let mut response = see_other(&departure.to)?;
        Cookie::Consent.set(&self.site, departure.cookie.expose(), &mut response);
        Ok(response)
    }

    /// Whether the form holds the token that was put into this browser's cookie: another site can send a form here, but
    /// neither read the token nor set the cookie.
    fn is_form_of_ours(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let Some(cookie) = Cookie::Form.read(&self.site, headers) else { return false };
        let mut fields = form_urlencoded::parse(body);
        let field = fields.find(|(name, _)| name == "token");
        field.is_some_and(|(_, value)| value.as_bytes().ct_eq(cookie.as_bytes()).into())
    }
}

/// Whether the browser, as far as it tells, says that the request came from our own page.
fn came_from(site: &Site, headers: &HeaderMap) -> bool {
    let says = |name: &str, wanted: &str| headers.get(name).is_none_or(|value| value == wanted);
    says(ORIGIN.as_str(), &site.origin) && says("sec-fetch-site", "same-origin")
}

fn link(occasion: Occasion, end: OneEnd) -> Result<Link, Refusal> {
    let end = end.ok().map(|Path(end)| end).filter(|end| is_ours(end));
    Ok(Link { occasion, end: end.ok_or_else(Refusal::no_link)? })
}

/// Reads a provider's answer (RFC 6749 section 4.1.2, RFC 9207). Nothing if a parameter of ours stands there twice, is too
/// long, or `state` is missing; others are not looked at (section 4.1.2: they must be ignored).
fn arrival(query: &str) -> Option<Arrival> {
    if query.len() > LONGEST_QUERY {
        return None;
    }
    let one = |wanted: &str, longest: usize| {
        let mut values = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name == wanted)
            .map(|(_, value)| value);
        let first = values.next();
        let fits = first.as_ref().is_none_or(|value| value.len() <= longest);
        (fits && values.next().is_none()).then(|| first.map(std::borrow::Cow::into_owned))
    };
    Some(Arrival {
        state: one("state", 128)?.filter(|state| is_ours(state))?,
        code: one("code", LONGEST_CODE)?.map(Secret::new),
        iss: one("iss", 1024)?,
        error: one("error", 128)?,
    })
}

fn outcome(answer: &Result<Answer, Error>) -> &'static str {
    match answer {
        Ok(Answer::Connected(_)) => "connected",
        Ok(Answer::GoTo(_)) => "returned",
        Err(_) => "refused",
    }
}

fn see_other(to: &Url) -> Answered {
    let mut location =
        HeaderValue::try_from(to.as_str()).map_err(|error| Refusal::from(Error::ours(error)))?;
    location.set_sensitive(true);
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn an_answer_is_read_and_strangers_in_it_are_left_alone() {
        let query = format!("state={STATE}&code=4%2F0Ab&iss=https%3A%2F%2Fx.y&scope=a+b&scope=c");
        let arrival = arrival(&query).unwrap();
        assert_eq!((arrival.state.as_str(), arrival.code), (STATE, Some(Secret::from("4/0Ab"))));
        assert_eq!((arrival.iss.as_deref(), arrival.error), (Some("https://x.y"), None));
    }

    #[test]
    fn a_doubled_a_long_or_a_missing_parameter_makes_no_answer() {
        assert!(
            arrival("").is_none() && arrival("code=c").is_none() && arrival("state=x").is_none()
        );
        for twice in ["code=a&code=b", "iss=a&iss=a", "error=a&error=b", &format!("state={STATE}")]
        {
            assert!(arrival(&format!("state={STATE}&{twice}")).is_none(), "{twice}");
        }
        let code = |length: usize| format!("state={STATE}&code={}", "c".repeat(length));
        assert!(arrival(&code(LONGEST_CODE)).is_some());
        assert!(arrival(&code(LONGEST_CODE + 1)).is_none());
        assert!(arrival(&format!("state={STATE}&x={}", "y".repeat(LONGEST_QUERY))).is_none());
    }
}
