//! When an access token is good enough.
//!
//! Never asks the time; is told. Invariant: a token that was rejected or has ended is never good enough, whatever is asked.
//! Next: `service/access_token` asks these before and after a refresh.

use std::time::Duration;

use crate::clock::Time;
use crate::domain::grant::AccessToken;

/// The remaining life a caller gets without asking for one.
pub const DEFAULT_MIN_TTL: Duration = Duration::from_secs(5 * 60);

/// The longest `min_ttl` that can be asked for.
pub const MAX_MIN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// A token's life where the provider does not say (RFC 6749 section 5.1 leaves it open).
pub const ASSUMED_LIFE: Duration = Duration::from_secs(60 * 60);

/// The longest life believed; anything longer is cut to it.
pub const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How far ahead another broker's clock may be. A token from further ahead was bought under a clock that was wrong, and nobody
/// knows when it ends.
pub const SKEW: Duration = Duration::from_secs(60);

/// Whether `token` can be handed out for `min_ttl`.
pub fn is_fresh(token: &AccessToken, min_ttl: Duration, now: Time) -> bool {
    let of_the_past = token.issued_at <= now.after(SKEW);
    of_the_past && is_alive(token, now) && now.until(token.expires_at) >= min_ttl
}

/// Whether `token` may still be used at all.
pub fn is_alive(token: &AccessToken, now: Time) -> bool {
    !token.rejected && token.expires_at > now
}

/// When it is worth asking for a newer one: at half of its life.
pub fn refresh_after(token: &AccessToken) -> Time {
    token.issued_at.after(token.life() / 2)
}

/// The least remaining life to aim at when `asked` is more than tokens of this kind ever have.
///
/// `None` if even a brand-new token would not do: then only a shorter `asked` helps. A default that was not asked for is
/// lowered instead, since tokens of five minutes exist.
pub fn attainable(asked: Option<Duration>, life: Duration) -> Option<Duration> {
    match asked {
        Some(asked) => (asked <= life).then_some(asked),
        None => Some(DEFAULT_MIN_TTL.min(life / 2)),
    }
}

/// When a token that came at `now` ends, by what the provider said.
pub fn expiry(now: Time, expires_in: Option<Duration>) -> Time {
    now.after(expires_in.unwrap_or(ASSUMED_LIFE).min(LONGEST_LIFE))
}
