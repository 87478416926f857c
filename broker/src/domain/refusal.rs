//! What a provider's refusal means, as tables and one pure function.
//!
//! Never asks anyone and never reads an answer: it is told what the answer said. Invariant: nothing here can turn an
//! outage or a broken app into the owner's problem; what no table knows is `Ambiguous`, to be confirmed before it is
//! believed. Next: `providers/answer.rs` gathers the evidence, `service` acts on the class.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// Who must do what after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// The grant is dead: its owner must consent again.
    NeedsConsent,
    /// The grant lives, but the provider wants its owner to do something: a second factor, a new password.
    NeedsInteraction,
    /// The owner's administrator forbids it; consenting again changes nothing.
    BlockedByPolicy,
    /// The app's secret, registration or settings are wrong: every account of the app fails alike.
    AppBroken,
    /// Too many requests; come back later, no earlier than told.
    Throttled,
    /// An outage, of the provider or on the way to it.
    Transient,
    /// Unclear what was meant, or whether a token was spent: confirm before believing.
    Ambiguous,
}

impl RefusalClass {
    /// As stored with an attempt and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeedsConsent => "needs_consent",
            Self::NeedsInteraction => "needs_interaction",
            Self::BlockedByPolicy => "blocked_by_policy",
            Self::AppBroken => "app_broken",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// Whether asking again later, with nothing changed by anyone, may succeed.
    pub const fn may_pass_by_itself(self) -> bool {
        matches!(self, Self::Throttled | Self::Transient | Self::Ambiguous)
    }

    /// Whether the class speaks about one account rather than about the app or the network.
    pub const fn concerns_account(self) -> bool {
        matches!(self, Self::NeedsConsent | Self::NeedsInteraction | Self::BlockedByPolicy)
    }
}

/// How far the request got; decides whether the same token may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reached {
    /// Surely not at the provider: nothing was sent. Sending the same token again is safe everywhere.
    Never,
    /// Perhaps: it was sent, or begun, and no answer came.
    Maybe,
    /// At the provider or a proxy before it, whose answer may hide a success: 2xx with nothing readable inside, 500, 502, 504.
    Garbled,
    /// At the provider, which answered.
    Answered,
}

/// A request that brought no token. Safe to print: it carries nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it means.
    pub class: RefusalClass,
    /// The provider's error code in lower case, or ours where it gave none (`connect_failed`, `not_json`, ..);
    /// at most 64 bytes of `a-z 0-9 _ . -`.
    pub code: String,
    /// The provider's finer code (Microsoft `suberror`, Google `error_subtype`), same form.
    pub suberror: Option<String>,
    /// The provider's words, or ours: printable ASCII, redacted, at most 300 bytes.
    pub words: String,
    /// How long the provider asked us to wait, at most one hour.
    pub retry_after: Option<Duration>,
    /// How far the request got.
    pub reached: Reached,
}

impl Refused {
    /// A refusal of our own, before or instead of an answer.
    pub fn ours(class: RefusalClass, code: &str, words: &str, reached: Reached) -> Self {
        let (code, words) = (code.to_owned(), words.to_owned());
        Self { class, code, suberror: None, words, retry_after: None, reached }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.words)
    }
}

impl std::error::Error for Refused {}

/// What an answer said, as far as it bears on the class.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// HTTP status.
    pub status: u16,
    /// `error` in lower case; empty if absent.
    pub code: &'a str,
    /// `suberror` or `error_subtype` in lower case; empty if absent.
    pub suberror: &'a str,
    /// Vendor numbers (AADSTS), the first one counts most.
    pub numbers: &'a [u32],
    /// The description in lower case; empty if absent.
    pub words: &'a str,
}

/// Rows of evidence, by the class they mean. Part of every preset.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorTables {
    /// `error` values of RFC 6749 section 5.2 and their vendors' additions.
    pub codes: BTreeMap<RefusalClass, Vec<String>>,
    /// Microsoft's `suberror`, Google's `error_subtype`.
    pub suberrors: BTreeMap<RefusalClass, Vec<String>>,
    /// AADSTS numbers.
    pub numbers: BTreeMap<RefusalClass, Vec<u32>>,
    /// HTTP statuses of answers that say nothing else.
    pub statuses: BTreeMap<RefusalClass, Vec<u16>>,
    /// Fragments of descriptions, lower case, for providers that put the news there only.
    pub phrases: BTreeMap<RefusalClass, Vec<String>>,
}

impl ErrorTables {
    /// These rows, and below them those of `base`: a row here wins over the same row there.
    pub fn over(&self, base: &Self) -> Self {
        Self {
            codes: over(&self.codes, &base.codes),
            suberrors: over(&self.suberrors, &base.suberrors),
            numbers: over(&self.numbers, &base.numbers),
            statuses: over(&self.statuses, &base.statuses),
            phrases: over(&self.phrases, &base.phrases),
        }
    }
}

fn over<T: Clone + PartialEq>(
    ours: &BTreeMap<RefusalClass, Vec<T>>,
    base: &BTreeMap<RefusalClass, Vec<T>>,
) -> BTreeMap<RefusalClass, Vec<T>> {
    let mut rows = ours.clone();
    for (class, values) in base {
        let news = values.iter().filter(|value| !ours.values().any(|row| row.contains(value)));
        rows.entry(*class).or_default().extend(news.cloned());
    }
    rows
}

/// The class of a refusal. `error` and `suberror` decide, a vendor's number only refines, in this order:
///
/// 1. The status. 429 is `Throttled`. Of 408 and 5xx no opinion is believed but the wish to be left alone.
/// 2. A phrase, for providers that put the news into words only.
/// 3. `suberror`, else `error`: whose matter it is (the account's, the app's, or nobody's since it will pass).
/// 4. The first number that a table knows, as a hint ([`refined`]). Alone it decides: there is nothing else to go by.
/// 5. The status again, for answers that say nothing; else `Ambiguous`.
///
/// Where `error` says that the *client* was refused, nothing of this may blame the account (P8). A policy that is named
/// by `suberror` blames neither, so it stands, except beside `invalid_client`.
pub fn classify(evidence: &Evidence<'_>, tables: &ErrorTables) -> RefusalClass {
    let told = by_phrase(evidence, tables).or_else(|| by_codes(evidence, tables));
    match evidence.status {
        429 => RefusalClass::Throttled,
        408 | 500..=599 if told == Some(RefusalClass::Throttled) => RefusalClass::Throttled,
        408 | 500..=599 => RefusalClass::Transient,
        status => match told {
            Some(class) => without_blame(class, evidence, tables),
            None => row_of(&tables.statuses, &status).unwrap_or(RefusalClass::Ambiguous),
        },
    }
}

fn by_phrase(evidence: &Evidence<'_>, tables: &ErrorTables) -> Option<RefusalClass> {
    let said = |rows: &Vec<String>| rows.iter().any(|row| evidence.words.contains(row.as_str()));
    tables.phrases.iter().find(|(_, rows)| said(rows)).map(|(class, _)| *class)
}

fn by_codes(evidence: &Evidence<'_>, tables: &ErrorTables) -> Option<RefusalClass> {
    let hint = evidence.numbers.iter().find_map(|number| row_of(&tables.numbers, number));
    let specific = row_of_text(&tables.suberrors, evidence.suberror);
    match specific.or_else(|| row_of_text(&tables.codes, evidence.code)) {
        Some(base) => Some(refined(base, specific.is_some(), hint)),
        None => hint,
    }
}

/// What `hint` makes of `base`. It may always say that the trouble will pass. It may tell one trouble of the account from
/// another. It may take blame off the account, but not against a `specific` word, and never put blame on it.
fn refined(base: RefusalClass, specific: bool, hint: Option<RefusalClass>) -> RefusalClass {
    let believed = |hint: &RefusalClass| {
        hint.may_pass_by_itself()
            || (base.concerns_account() && (hint.concerns_account() || !specific))
    };
    hint.filter(believed).unwrap_or(base)
}

fn without_blame(
    class: RefusalClass,
    evidence: &Evidence<'_>,
    tables: &ErrorTables,
) -> RefusalClass {
    let by_code = row_of_text(&tables.codes, evidence.code);
    let by_suberror = row_of_text(&tables.suberrors, evidence.suberror);
    let policy = class == RefusalClass::BlockedByPolicy
        && by_suberror == Some(class)
        && evidence.code != "invalid_client";
    if by_code == Some(RefusalClass::AppBroken) && class.concerns_account() && !policy {
        return RefusalClass::AppBroken;
    }
    class
}

fn row_of<T: PartialEq>(rows: &BTreeMap<RefusalClass, Vec<T>>, value: &T) -> Option<RefusalClass> {
    rows.iter().find(|(_, values)| values.contains(value)).map(|(class, _)| *class)
}

fn row_of_text(rows: &BTreeMap<RefusalClass, Vec<String>>, value: &str) -> Option<RefusalClass> {
    rows.iter().find(|(_, row)| row.iter().any(|known| known == value)).map(|(class, _)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> ErrorTables {
        ErrorTables {
            codes: BTreeMap::from([
                (RefusalClass::NeedsConsent, vec!["invalid_grant".into()]),
                (RefusalClass::AppBroken, vec!["invalid_client".into()]),
            ]),
            numbers: BTreeMap::from([
                (RefusalClass::NeedsInteraction, vec![50076]),
                (RefusalClass::Throttled, vec![50196]),
            ]),
            ..ErrorTables::default()
        }
    }

    fn class(status: u16, code: &str, numbers: &[u32]) -> RefusalClass {
        classify(&Evidence { status, code, numbers, ..Evidence::default() }, &tables())
    }

    #[test]
    fn a_known_number_refines_the_code() {
        assert_eq!(class(400, "invalid_grant", &[]), RefusalClass::NeedsConsent);
        assert_eq!(class(400, "invalid_grant", &[999_999]), RefusalClass::NeedsConsent);
        assert_eq!(class(400, "invalid_grant", &[50076]), RefusalClass::NeedsInteraction);
    }

    #[test]
    fn a_failing_server_never_kills_a_grant() {
        assert_eq!(class(503, "invalid_grant", &[]), RefusalClass::Transient);
        assert_eq!(class(503, "invalid_grant", &[50196]), RefusalClass::Throttled);
        assert_eq!(class(429, "invalid_grant", &[]), RefusalClass::Throttled);
    }

    #[test]
    fn a_refused_client_never_blames_the_account() {
        let mut tables = tables();
        tables.suberrors = BTreeMap::from([
            (RefusalClass::NeedsConsent, vec!["bad_token".into()]),
            (RefusalClass::BlockedByPolicy, vec!["protection_policy_required".into()]),
        ]);
        tables.phrases = BTreeMap::from([(RefusalClass::NeedsInteraction, vec!["log in".into()])]);
        tables.codes.get_mut(&RefusalClass::AppBroken).unwrap().push("unauthorized_client".into());
        for code in ["invalid_client", "unauthorized_client"] {
            for (suberror, number, words) in [
                ("", 50076, ""),
                ("bad_token", 0, ""),
                ("", 0, "please log in"),
                ("bad_token", 50076, "log in"),
            ] {
                let numbers = &[number];
                let evidence = Evidence { status: 401, code, suberror, numbers, words };
                assert_eq!(classify(&evidence, &tables), RefusalClass::AppBroken, "{evidence:?}");
            }
        }
        let suberror = "protection_policy_required";
        let policy = |code| Evidence { status: 400, code, suberror, ..Evidence::default() };
        assert_eq!(
            classify(&policy("unauthorized_client"), &tables),
            RefusalClass::BlockedByPolicy
        );
        assert_eq!(classify(&policy("invalid_client"), &tables), RefusalClass::AppBroken);
    }

    #[test]
    fn a_number_is_a_hint_and_no_more() {
        use RefusalClass::*;
        let all = [
            NeedsConsent,
            NeedsInteraction,
            BlockedByPolicy,
            AppBroken,
            Throttled,
            Transient,
            Ambiguous,
        ];
        for base in all {
            assert_eq!(refined(base, false, None), base);
            for hint in all {
                let (by_code, by_suberror) =
                    (refined(base, false, Some(hint)), refined(base, true, Some(hint)));
                if hint.may_pass_by_itself() {
                    assert_eq!((by_code, by_suberror), (hint, hint), "{base:?} {hint:?}");
                } else if base.concerns_account() {
                    let kept = if hint == AppBroken { base } else { hint };
                    assert_eq!((by_code, by_suberror), (hint, kept), "{base:?} {hint:?}");
                } else {
                    assert_eq!((by_code, by_suberror), (base, base), "{base:?} {hint:?}");
                }
            }
        }
        assert_eq!(class(400, "never_heard_of", &[50076]), NeedsInteraction);
        assert_eq!(class(401, "invalid_client", &[50196]), Throttled);
    }

    #[test]
    fn what_nobody_knows_is_not_believed() {
        assert_eq!(class(400, "", &[]), RefusalClass::Ambiguous);
        assert_eq!(class(200, "surprise", &[]), RefusalClass::Ambiguous);
    }

    #[test]
    fn a_preset_row_wins_over_the_common_one() {
        let ours = ErrorTables {
            codes: BTreeMap::from([(RefusalClass::AppBroken, vec!["invalid_grant".into()])]),
            ..ErrorTables::default()
        };
        let merged = ours.over(&tables());
        let evidence = Evidence { status: 400, code: "invalid_grant", ..Evidence::default() };
        assert_eq!(classify(&evidence, &merged), RefusalClass::AppBroken);
    }
}
