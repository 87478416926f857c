//! The browser's cookies: kept by host, sent as `SameSite` allows.
//!
//! Knows name, value, `Path`, `Max-Age=0`, `Secure` and `SameSite` (RFC 6265bis); expiry dates it ignores, a test is
//! short. Loopback counts as a secure origin, as it does in real browsers. At most 256 cookies. Next: [`super::form`].

use url::Url;

const COOKIES_MAX: usize = 256;

/// All cookies of one browser.
#[derive(Clone, Debug, Default)]
pub struct Jar(Vec<Cookie>);

#[derive(Clone, Debug)]
struct Cookie {
    host: String,
    name: String,
    value: String,
    path: String,
    same_site: SameSite,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SameSite {
    None,
    Lax,
    Strict,
}

impl SameSite {
    fn of(value: &str) -> Self {
        match value.to_ascii_lowercase().as_str() {
            "strict" => Self::Strict,
            "none" => Self::None,
            _ => Self::Lax,
        }
    }
}

impl Jar {
    /// The value of a cookie, whatever its host.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.as_str())
    }

    /// Forgets everything, as a fresh browser.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The `Cookie` header for a request; `foreign` says that another site led here, `safe` that it is a GET.
    pub(super) fn header(&self, url: &Url, foreign: bool, safe: bool) -> Option<String> {
        let sent = self.0.iter().filter(|cookie| {
            let admitted = match cookie.same_site {
                SameSite::None => true,
                SameSite::Lax => !foreign || safe,
                SameSite::Strict => !foreign,
            };
            admitted
                && Some(cookie.host.as_str()) == url.host_str()
                && within(url.path(), &cookie.path)
        });
        let pairs: Vec<String> =
            sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Obeys a `Set-Cookie` header.
    pub(super) fn store(&mut self, url: &Url, header: &str) {
        let Some((cookie, gone)) = parsed(url, header) else { return };
        let place =
            |cookie: &Cookie| (cookie.host.clone(), cookie.name.clone(), cookie.path.clone());
        self.0.retain(|old| place(old) != place(&cookie));
        if !gone && self.0.len() < COOKIES_MAX {
            self.0.push(cookie);
        }
    }
}

/// The cookie and whether it is to be forgotten; `None` if a browser would not take it.
fn parsed(url: &Url, header: &str) -> Option<(Cookie, bool)> {
    let mut parts = header.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let mut cookie = Cookie {
        host: url.host_str()?.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
        path: "/".to_owned(),
        same_site: SameSite::Lax,
    };
    let (mut gone, mut secure, mut has_domain) = (false, false, false);
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key.to_ascii_lowercase().as_str() {
            "path" => cookie.path = value.to_owned(),
            "max-age" => gone = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
            "secure" => secure = true,
            "domain" => has_domain = true,
            "samesite" => cookie.same_site = SameSite::of(value),
            _ => {}
        }
    }
    let host_only = secure && !has_domain && cookie.path == "/";
    (host_only || !name.starts_with("__Host-")).then_some((cookie, gone))
}

fn within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}
