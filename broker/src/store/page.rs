//! Pages of a list: after which key, how many, and the token that asks for the next.
//!
//! Never counts or skips rows: a page starts after a key (keyset), so a list stays right and cheap while rows come and
//! go. Invariant: 1 to 1000 rows; the token is the last key in base64, opaque to callers. Next: the `list` verbs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Rows of a page if the caller does not say.
const DEFAULT: i64 = 100;
/// Rows of a page at most.
const MOST: i64 = 1000;

/// Which page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    after: String,
    size: i64,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order of their key.
    pub items: Vec<T>,
    /// Asks for the next page; empty after the last.
    pub next_page_token: String,
}

impl PageRequest {
    /// From the wire's `page_size` (0 or less means 100, more than 1000 means 1000) and `page_token`. `None` if the token
    /// is none of ours.
    pub fn new(size: i32, token: &str) -> Option<Self> {
        let after = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        // PostgreSQL takes no NUL in a text, and no key of ours has a control character.
        if after.contains(char::is_control) {
            return None;
        }
        let size = if size < 1 { DEFAULT } else { i64::from(size).min(MOST) };
        Some(Self { after, size })
    }

    /// The first page, as large as it may be.
    pub fn first() -> Self {
        Self { after: String::new(), size: MOST }
    }

    /// The key after which the page starts; empty for the first.
    pub(super) fn after(&self) -> &str {
        &self.after
    }

    /// One row more than the page has, to see whether another follows.
    pub(super) fn limit(&self) -> i64 {
        self.size + 1
    }

    /// Cuts the surplus row off `items`, which were read with [`limit`](Self::limit).
    pub(super) fn page<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = items.len() > size;
        items.truncate(size);
        let last = items.last().filter(|_| more).map(key);
        let next_page_token = last.map(|key| URL_SAFE_NO_PAD.encode(key)).unwrap_or_default();
        Page { items, next_page_token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_until_nothing_is_left() {
        let all = ["a", "b", "c"];
        let first = PageRequest::new(2, "").unwrap();
        assert_eq!(first.limit(), 3);
        let page = first.page(all.to_vec(), |name| (*name).to_owned());
        assert_eq!(page.items, ["a", "b"]);
        let second = PageRequest::new(2, &page.next_page_token).unwrap();
        assert_eq!(second.after(), "b");
        assert_eq!(second.page(vec!["c"], |name| (*name).to_owned()).next_page_token, "");
    }

    #[test]
    fn sizes_are_bounded_and_foreign_tokens_refused() {
        assert_eq!(PageRequest::new(0, "").unwrap().limit(), 101);
        assert_eq!(PageRequest::new(i32::MAX, "").unwrap().limit(), 1001);
        assert_eq!(PageRequest::new(5, "not base64!"), None);
        assert_eq!(PageRequest::new(5, "AA"), None, "a NUL");
    }
}
