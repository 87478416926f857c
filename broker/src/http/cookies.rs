//! The two cookies: one binds a provider's answer to the browser that left, one binds a form to the page that was shown.
//!
//! Never readable by a script, never sent to another host. Invariant: where we are reached by https both carry the `__Host-`
//! prefix, so a neighbour under the same domain cannot set them. Next: `consent` sets and reads them.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Response};

use super::Site;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Goes to the provider and back: `SameSite=Lax`, because the way back begins at the provider's page.
    Consent,
    /// Comes back with the form: `SameSite=Strict`, because the form is on our own page.
    Form,
}

/// How long they are kept, in seconds: as long as a departure is waited for.
const MAX_AGE: u32 = 600;
/// Longest value of ours, in bytes.
const LONGEST: usize = 128;

impl Cookie {
    /// What the browser sent, if it can be ours.
    pub(super) fn read<'h>(self, site: &Site, headers: &'h HeaderMap) -> Option<&'h str> {
        let pairs = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let mut pairs = pairs.flat_map(|header| header.split(';'));
        let name = self.name(site);
        let value = pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))?;
        is_ours(value).then_some(value)
    }

    /// Has the browser keep `value`.
    pub(super) fn set<B>(self, site: &Site, value: &str, response: &mut Response<B>) {
        self.write(site, value, MAX_AGE, response);
    }

    /// Has the browser forget it.
    pub(super) fn clear<B>(self, site: &Site, response: &mut Response<B>) {
        self.write(site, "", 0, response);
    }

    fn write<B>(self, site: &Site, value: &str, age: u32, response: &mut Response<B>) {
        let name = self.name(site);
        let same_site = match self {
            Self::Consent => "Lax",
            Self::Form => "Strict",
        };
        let secure = if site.https { "; Secure" } else { "" };
        let text = format!(
            "{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite={same_site}{secure}"
        );
        if let Ok(mut header) = HeaderValue::try_from(text) {
            header.set_sensitive(true);
            response.headers_mut().append(SET_COOKIE, header);
        }
    }

    const fn name(self, site: &Site) -> &'static str {
        match (self, site.https) {
            (Self::Consent, true) => "__Host-token-broker-consent",
            (Self::Consent, false) => "token-broker-consent",
            (Self::Form, true) => "__Host-token-broker-form",
            (Self::Form, false) => "token-broker-form",
        }
    }
}

/// Whether `text` is in the alphabet and length of what we hand out.
pub(super) fn is_ours(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (16..=LONGEST).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "abcdefghijklmnop-_12";

    fn site(https: bool) -> Site {
        Site { origin: String::new(), https }
    }

    #[test]
    fn a_cookie_is_bound_to_the_host_where_that_is_possible() {
        let mut response = Response::new(());
        Cookie::Consent.set(&site(true), VALUE, &mut response);
        Cookie::Form.set(&site(false), VALUE, &mut response);
        Cookie::Consent.clear(&site(true), &mut response);
        let set: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
        assert_eq!(
            set,
            [
                "__Host-token-broker-consent=abcdefghijklmnop-_12; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure",
                "token-broker-form=abcdefghijklmnop-_12; Path=/; Max-Age=600; HttpOnly; SameSite=Strict",
                "__Host-token-broker-consent=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
            ]
        );
    }

    #[test]
    fn only_the_whole_name_and_a_value_of_ours_are_read() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::try_from(text).unwrap());
            Cookie::Form.read(&site(true), &headers).map(str::to_owned)
        };
        let name = "__Host-token-broker-form";
        assert_eq!(read(&format!("a=b; {name}={VALUE}; c=d")).as_deref(), Some(VALUE));
        assert_eq!(read(&format!("x{name}={VALUE}")), None);
        assert_eq!(read(&format!("{name}2={VALUE}")), None);
        assert_eq!(read(&format!("token-broker-form={VALUE}")), None);
        assert_eq!(read(&format!("{name}=short")), None);
        assert_eq!(read(&format!("{name}=\"{VALUE}\"")), None);
    }
}
