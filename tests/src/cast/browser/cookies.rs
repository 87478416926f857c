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
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut cookie = Cookie {
            host,
            name: name.to_owned(),
            value: value.to_owned(),
            path: "/".to_owned(),
            same_site: SameSite::Lax,
        };
        let mut gone = false;
        let mut secure = false;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" => cookie.path = value.to_owned(),
                "max-age" => gone = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                "secure" => secure = true,
                "samesite" if value.eq_ignore_ascii_case("strict") => {
                    cookie.same_site = SameSite::Strict;
                }
                "samesite" if value.eq_ignore_ascii_case("none") => {
                    cookie.same_site = SameSite::None;
                }
                _ => {}
            }
        }
        if name.starts_with("__Host-")
            && (!secure || cookie.path != "/" || header.to_ascii_lowercase().contains("domain="))
        {
            return;
        }
        self.0.retain(|old| {
            (&old.host, &old.name, &old.path) != (&cookie.host, &cookie.name, &cookie.path)
        });
        if !gone && self.0.len() < COOKIES_MAX {
            self.0.push(cookie);
        }
    }
}

fn within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}
