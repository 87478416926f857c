//! What each refusal means, as the providers document it: every row of theirs, and the order in which evidence counts.

use super::*;
use crate::domain::refusal::{Evidence, RefusalClass, RefusalClass::*, classify};

fn preset(name: &str) -> Preset {
    Presets::embedded().unwrap().find(name).unwrap().clone()
}

/// A documented row: status, `error`, `suberror`, words, meaning.
type Row = (u16, &'static str, &'static str, &'static str, RefusalClass);

fn check(name: &str, rows: &[Row]) {
    let preset = preset(name);
    for (status, code, suberror, words, expected) in rows.iter().copied() {
        let evidence = Evidence { status, code, suberror, numbers: &[], words };
        assert_eq!(classify(&evidence, &preset.errors), expected, "{name}: {evidence:?}");
    }
}

/// RFC 6749 sections 5.2 and 4.1.2.1, RFC 8628 section 3.5, RFC 8707 section 2, OpenID Connect Core section 3.1.2.6, and
/// the statuses that say something alone.
const STANDARDS: [Row; 36] = [
    (400, "invalid_grant", "", "", NeedsConsent),
    (401, "invalid_grant", "", "", NeedsConsent),
    (400, "access_denied", "", "", NeedsConsent),
    (400, "consent_required", "", "", NeedsConsent),
    (400, "login_required", "", "", NeedsConsent),
    (400, "expired_token", "", "", NeedsConsent),
    (400, "interaction_required", "", "", NeedsInteraction),
    (400, "account_selection_required", "", "", NeedsInteraction),
    (401, "invalid_client", "", "", AppBroken),
    (400, "invalid_client", "", "", AppBroken),
    (400, "unauthorized_client", "", "", AppBroken),
    (400, "invalid_request", "", "", AppBroken),
    (400, "invalid_scope", "", "", AppBroken),
    (400, "invalid_resource", "", "", AppBroken),
    (400, "invalid_target", "", "", AppBroken),
    (400, "unsupported_grant_type", "", "", AppBroken),
    (400, "unsupported_response_type", "", "", AppBroken),
    (400, "slow_down", "", "", Throttled),
    (400, "authorization_pending", "", "", Transient),
    (400, "temporarily_unavailable", "", "", Transient),
    (400, "server_error", "", "", Transient),
    (408, "", "", "", Transient),
    (425, "", "", "", Transient),
    (429, "", "", "", Throttled),
    (500, "", "", "", Transient),
    (502, "", "", "", Transient),
    (503, "", "", "", Transient),
    (504, "", "", "", Transient),
    // A failing server's opinion is not believed.
    (500, "invalid_grant", "", "", Transient),
    (503, "invalid_client", "", "", Transient),
    (503, "slow_down", "", "", Throttled),
    (429, "invalid_grant", "", "", Throttled),
    // Nothing known was said.
    (400, "", "", "", Ambiguous),
    (401, "", "", "", Ambiguous),
    (404, "brand_new_code", "", "", Ambiguous),
    (200, "", "", "", Ambiguous),
];

#[test]
fn what_the_standards_say_holds_at_every_provider() {
    for preset in Presets::embedded().unwrap().iter() {
        let zoho = preset.name == "zoho";
        let rows: Vec<Row> =
            STANDARDS.into_iter().filter(|row| !(zoho && row.1 == "access_denied")).collect();
        check(&preset.name, &rows);
    }
}

#[test]
fn every_documented_google_refusal_has_its_class() {
    check(
        "google",
        &[
            (400, "invalid_grant", "", "token has been expired or revoked.", NeedsConsent),
            (400, "invalid_grant", "", "bad request", NeedsConsent),
            (400, "invalid_grant", "invalid_rapt", "", NeedsInteraction),
            (400, "invalid_grant", "", "reauth related error (invalid_rapt)", NeedsInteraction),
            (400, "invalid_grant", "rapt_required", "", NeedsInteraction),
            (400, "invalid_grant", "", "reauth related error (rapt_required)", NeedsInteraction),
            (401, "invalid_client", "", "the oauth client was not found.", AppBroken),
            (401, "invalid_client", "", "unauthorized", AppBroken),
            (401, "deleted_client", "", "", AppBroken),
            (401, "disabled_client", "", "", AppBroken),
            (
                401,
                "unauthorized_client",
                "",
                "client is unauthorized to retrieve access tokens",
                AppBroken,
            ),
            (400, "invalid_scope", "", "", AppBroken),
            (400, "redirect_uri_mismatch", "", "", AppBroken),
            (400, "invalid_request", "", "invalid principal", AppBroken),
            (400, "access_denied", "", "", NeedsConsent),
            (400, "admin_policy_enforced", "", "", BlockedByPolicy),
            (400, "org_internal", "", "", AppBroken),
            (400, "access_not_configured", "", "", AppBroken),
            (400, "disallowed_useragent", "", "", AppBroken),
            (403, "rate_limit_exceeded", "", "", Throttled),
            (400, "internal_failure", "", "", Transient),
        ],
    );
}

#[test]
fn every_documented_yahoo_and_aol_refusal_has_its_class() {
    for name in ["yahoo", "aol"] {
        check(
            name,
            &[
                (400, "invalid_refresh_token", "", "", NeedsConsent),
                (401, "token_expired", "", "", NeedsConsent),
                (401, "invalid_grant", "", "", NeedsConsent),
                (403, "account_not_authorized", "", "", NeedsConsent),
                (401, "underage_user", "", "", NeedsConsent),
                (400, "invalid_client", "", "", AppBroken),
                (401, "invalid_client_secret", "", "", AppBroken),
                (400, "invalid_request", "", "", AppBroken),
                (400, "invalid_redirect_uri", "", "", AppBroken),
                (400, "parameter_absent", "", "", AppBroken),
                (401, "invalid_callback", "", "", AppBroken),
                (400, "error_handling_request", "", "", Transient),
            ],
        );
    }
}

#[test]
fn every_documented_zoho_refusal_has_its_class() {
    let limit = "you have made too many requests continuously. please try again after some time.";
    check(
        "zoho",
        &[
            (200, "invalid_code", "", "", NeedsConsent),
            (200, "invalid_client", "", "", AppBroken),
            (200, "invalid_client_secret", "", "", AppBroken),
            (200, "redirect_uri_mismatch", "", "", AppBroken),
            (200, "access_denied", "", limit, Throttled),
            (400, "access_denied", "", "", Throttled),
            (200, "", "", limit, Throttled),
        ],
    );
    // Through another preset it is known by its words.
    check("custom", &[(200, "access_denied", "", limit, Throttled)]);
}

#[test]
fn every_documented_refusal_of_the_others_has_its_class() {
    check(
        "yandex",
        &[
            (400, "invalid_grant", "", "", NeedsConsent),
            (401, "invalid_client", "", "", AppBroken),
            (400, "unauthorized_client", "", "", AppBroken),
            (400, "invalid_scope", "", "", AppBroken),
            (400, "bad_verification_code", "", "", AppBroken),
            (400, "unsupported_grant_type", "", "", AppBroken),
        ],
    );
    check("mailru", &[(400, "invalid_grant", "", "", NeedsConsent)]);
    check(
        "fastmail",
        &[
            (400, "invalid_grant", "", "", NeedsConsent),
            (400, "invalid_target", "", "", AppBroken),
            (400, "invalid_redirect_uri", "", "", AppBroken),
        ],
    );
}

/// Every AADSTS number that Microsoft documents for token requests, with the class it has beside `invalid_grant`.
const AADSTS: [(RefusalClass, &[u32]); 6] = [
    (
        NeedsConsent,
        &[
            50173, 70000, 70008, 700_082, 700_084, 70043, 50089, 50132, 50133, 50058, 50085, 50057,
            50034, 51004, 65001, 65004, 54005, 501_481, 700_005, 70019,
        ],
    ),
    (
        NeedsInteraction,
        &[50076, 50079, 50078, 50072, 50074, 50055, 50144, 50126, 50142, 50199, 165_900],
    ),
    (
        BlockedByPolicy,
        &[
            53000, 53001, 53002, 53003, 53011, 530_032, 530_035, 50097, 50131, 50005, 90094, 90095,
            50020, 50105,
        ],
    ),
    (
        AppBroken,
        &[
            7_000_215, 7_000_222, 7_000_218, 700_025, 50012, 700_027, 700_030, 50013, 500_133,
            70021, 700_229, 7_000_112, 7_000_114, 1_000_031, 65005, 650_052, 650_056, 650_057,
            70011, 28002, 28003, 28000, 700_022, 700_023, 500_011, 50001, 90008, 700_016, 70001,
            700_011, 90002, 900_023, 50059, 90013, 9_002_331, 9_002_332, 50194, 9_001_023, 90038,
            900_382, 50011, 900_144, 9_002_313, 90014, 900_561, 70002, 700_054, 9_002_326, 70018,
        ],
    ),
    (Throttled, &[50196, 90055, 50166, 50088, 50053]),
    (
        Transient,
        &[
            90033, 90006, 90024, 90012, 90090, 50000, 50033, 50087, 70012, 40010, 80001, 80002,
            70016,
        ],
    ),
];

fn microsoft(code: &str, suberror: &str, number: u32) -> RefusalClass {
    let numbers = &[number];
    let evidence = Evidence { status: 400, code, suberror, numbers, words: "" };
    let (world, government) = (preset("microsoft"), preset("microsoft-gcc-high"));
    let class = classify(&evidence, &world.errors);
    assert_eq!(classify(&evidence, &government.errors), class, "one platform, one meaning");
    class
}

#[test]
fn every_documented_aadsts_number_has_its_class() {
    for (class, numbers) in AADSTS {
        for number in numbers.iter().copied() {
            for code in ["invalid_grant", "interaction_required", "consent_required", "surprise"] {
                assert_eq!(microsoft(code, "", number), class, "{code} {number}");
            }
        }
    }
    for (class, numbers) in &preset("microsoft").errors.numbers {
        let documented = AADSTS.iter().find(|(known, _)| known == class).unwrap().1;
        let stray: Vec<_> = numbers.iter().filter(|number| !documented.contains(number)).collect();
        assert!(stray.is_empty(), "no row without a source: {class:?} {stray:?}");
    }
}

#[test]
fn no_aadsts_number_blames_the_account_where_the_client_or_the_request_was_refused() {
    for (class, numbers) in AADSTS {
        for number in numbers.iter().copied() {
            for code in [
                "invalid_client",
                "unauthorized_client",
                "invalid_request",
                "invalid_scope",
                "invalid_resource",
            ] {
                let expected = if class.may_pass_by_itself() { class } else { AppBroken };
                assert_eq!(microsoft(code, "", number), expected, "{code} {number}");
                assert_eq!(microsoft(code, "bad_token", number), expected, "{code} {number}");
            }
            let mismatch = microsoft("invalid_grant", "client_mismatch", number);
            assert!(!mismatch.concerns_account(), "{number}");
        }
    }
}

#[test]
fn no_aadsts_number_overrules_a_suberror_or_an_outage() {
    for (class, numbers) in AADSTS {
        for number in numbers.iter().copied() {
            let expired = microsoft("invalid_grant", "token_expired", number);
            let expected = if class == AppBroken { NeedsConsent } else { class };
            assert_eq!(expired, expected, "{number}");
            let outage = microsoft("temporarily_unavailable", "", number);
            let expected = if class.may_pass_by_itself() { class } else { Transient };
            assert_eq!(outage, expected, "{number}");
        }
    }
}

#[test]
fn microsofts_other_evidence_has_its_class() {
    for (code, suberror, number, expected) in [
        ("invalid_grant", "bad_token", 0, NeedsConsent),
        ("invalid_grant", "bad_token", 70000, NeedsConsent),
        ("invalid_grant", "token_expired", 70043, NeedsConsent),
        ("invalid_grant", "consent_required", 65001, NeedsConsent),
        ("invalid_grant", "user_password_expired", 0, NeedsInteraction),
        ("interaction_required", "basic_action", 0, NeedsInteraction),
        ("interaction_required", "additional_action", 0, NeedsInteraction),
        ("interaction_required", "message_only", 0, NeedsInteraction),
        ("interaction_required", "message_only", 53003, BlockedByPolicy),
        ("invalid_grant", "protection_policy_required", 0, BlockedByPolicy),
        // One user's policy does not break the app for all the others.
        ("unauthorized_client", "protection_policy_required", 0, BlockedByPolicy),
        ("invalid_client", "protection_policy_required", 0, AppBroken),
        ("invalid_grant", "client_mismatch", 0, AppBroken),
        ("invalid_grant", "client_mismatch", 70000, AppBroken),
        ("invalid_grant", "brand_new_suberror", 0, NeedsConsent),
        ("invalid_grant", "", 999_999, NeedsConsent),
        ("interaction_required", "", 999_999, NeedsInteraction),
        ("consent_required", "", 999_999, NeedsConsent),
        ("invalid_client", "", 999_999, AppBroken),
        ("unauthorized_client", "", 999_999, AppBroken),
        ("invalid_request", "", 999_999, AppBroken),
        ("invalid_resource", "", 999_999, AppBroken),
        ("temporarily_unavailable", "", 0, Transient),
        ("authorization_declined", "", 0, NeedsConsent),
        ("bad_verification_code", "", 0, AppBroken),
        ("", "", 50173, NeedsConsent),
        ("", "", 0, Ambiguous),
    ] {
        assert_eq!(microsoft(code, suberror, number), expected, "{code} {suberror} {number}");
    }
}

#[test]
fn the_first_number_that_is_known_counts() {
    let preset = preset("microsoft");
    let of = |numbers| {
        let evidence =
            Evidence { status: 400, code: "invalid_grant", numbers, ..Evidence::default() };
        classify(&evidence, &preset.errors)
    };
    assert_eq!(of(&[999_999, 53003, 50196]), BlockedByPolicy);
    assert_eq!(of(&[50196, 53003]), Throttled);
}

#[test]
fn no_row_stands_under_two_classes() {
    for preset in Presets::embedded().unwrap().iter() {
        let mut numbers: Vec<_> = preset.errors.numbers.values().flatten().collect();
        let mut codes: Vec<_> = preset.errors.codes.values().flatten().collect();
        let mut suberrors: Vec<_> = preset.errors.suberrors.values().flatten().collect();
        let all = (numbers.len(), codes.len(), suberrors.len());
        numbers.sort_unstable();
        numbers.dedup();
        codes.sort_unstable();
        codes.dedup();
        suberrors.sort_unstable();
        suberrors.dedup();
        assert_eq!((numbers.len(), codes.len(), suberrors.len()), all, "{}", preset.name);
        let lower = |row: &&String| row.chars().all(|c| !c.is_ascii_uppercase());
        assert!(codes.iter().chain(&suberrors).all(lower), "rows are compared in lower case");
    }
}
