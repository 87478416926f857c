//! Each preset's facts, and what each refusal means, as the providers document them.

use super::*;
use crate::domain::app::{App, Rotation};
use crate::domain::mail::MailHost;
use crate::domain::provider::{MailServer, SubjectRule};
use crate::domain::refusal::{Evidence, RefusalClass, RefusalClass::*, classify};
use crate::providers::address::{AddressRefused, AddressRule};
use crate::providers::resolve::SettingsError;
use crate::providers::resolved::Resolved;
use crate::providers::rogue::app;

const MSA: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const TENANT: &str = "7f1a2b3c-0000-4000-8000-123456789abc";

fn preset(name: &str) -> Preset {
    Presets::embedded().unwrap().find(name).unwrap().clone()
}

fn resolve(app: &App) -> Result<Resolved, SettingsError> {
    preset(&app.preset).resolve(app, None, AddressRule::default())
}

fn pinned(app: &App, authority: &str) -> Result<Resolved, SettingsError> {
    preset(&app.preset).resolve(app, Some(authority), AddressRule::default())
}

/// A server in one line: place, mechanisms, habits.
fn line(server: &MailServer) -> String {
    let sasl: Vec<_> = server.sasl.iter().map(|mechanism| mechanism.as_str()).collect();
    let probe = if server.probe_after_login { " probe" } else { "" };
    format!("{} {} {:?}{probe}", server.host, sasl.join(","), server.initial_response)
}

fn lines(provider: &Resolved) -> Vec<String> {
    provider.mail.values().map(line).collect()
}

#[test]
fn an_unknown_preset_lists_the_known_ones() {
    let error = Presets::embedded().unwrap().find("gogle").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no preset \"gogle\"; known presets: custom, generic-oidc, google, microsoft"
    );
}

#[test]
fn a_mailbox_suggests_its_preset() {
    let presets = Presets::embedded().unwrap();
    assert_eq!(presets.for_mailbox("a@GMAIL.com").unwrap().name, "google");
    assert_eq!(presets.for_mailbox("a@outlook.com").unwrap().name, "microsoft");
    assert!(presets.for_mailbox("a@example.org").is_none());
    assert!(presets.for_mailbox("gmail.com").is_none());
}

#[test]
fn google_is_as_google_documents_it() {
    let google = resolve(&app("google")).unwrap();
    assert_eq!(google.issuer.as_deref(), Some("https://accounts.google.com"));
    assert_eq!(google.urls.authorization.as_str(), "https://accounts.google.com/o/oauth2/v2/auth");
    assert_eq!(google.urls.token.as_str(), "https://oauth2.googleapis.com/token");
    assert_eq!(
        google.urls.device.as_ref().unwrap().as_str(),
        "https://oauth2.googleapis.com/device/code"
    );
    assert_eq!(
        google.urls.revocation.as_ref().unwrap().as_str(),
        "https://oauth2.googleapis.com/revoke"
    );
    assert_eq!(
        google.urls.userinfo.as_ref().unwrap().as_str(),
        "https://openidconnect.googleapis.com/v1/userinfo"
    );
    assert_eq!(
        google.urls.jwks.as_ref().unwrap().as_str(),
        "https://www.googleapis.com/oauth2/v3/certs"
    );
    assert_eq!(google.iss_parameter, IssRule::Required);
    assert_eq!(google.client_auth, [ClientAuthMethod::Post, ClientAuthMethod::Basic]);
    let params: Vec<_> = google.authorize.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(params, ["access_type=offline", "include_granted_scopes=false", "prompt=consent"]);
    assert_eq!(google.authorize.base_scopes, ["openid", "email"]);
    assert_eq!(google.refresh.rotation, Rotation::None);
    assert_eq!((google.refresh.send_scope, google.refresh.idle_days), (false, Some(180)));
    assert_eq!(google.access_token.lifetime_s, 3599);
    assert_eq!(google.identity.subject, SubjectRule::Sub);
    let mail = &google.targets["mail"];
    assert_eq!(mail.scopes, ["https://mail.google.com/"]);
    assert_eq!(mail.protocols, [MailProtocol::Imap, MailProtocol::Pop3, MailProtocol::Smtp]);
    assert_eq!(
        lines(&google),
        [
            "imap+tls://imap.gmail.com:993 XOAUTH2,OAUTHBEARER IfAdvertised",
            "smtp+tls://smtp.gmail.com:465 XOAUTH2,OAUTHBEARER IfAdvertised",
            "pop3+tls://pop.gmail.com:995 XOAUTH2,OAUTHBEARER IfAdvertised",
        ]
    );
}

#[test]
fn microsoft_is_as_microsoft_documents_it() {
    let microsoft = resolve(&app("microsoft")).unwrap();
    let base = "https://login.microsoftonline.com/common/oauth2/v2.0";
    assert_eq!(
        microsoft.issuer.as_deref(),
        Some("https://login.microsoftonline.com/{tenantid}/v2.0")
    );
    assert_eq!(microsoft.urls.authorization.as_str(), format!("{base}/authorize"));
    assert_eq!(microsoft.urls.token.as_str(), format!("{base}/token"));
    assert_eq!(microsoft.urls.device.as_ref().unwrap().as_str(), format!("{base}/devicecode"));
    assert_eq!(microsoft.urls.revocation, None);
    let keys = "https://login.microsoftonline.com/common/discovery/v2.0/keys";
    assert_eq!(microsoft.urls.jwks.as_ref().unwrap().as_str(), keys);
    assert_eq!(microsoft.authorize.base_scopes, ["openid", "email", "profile", "offline_access"]);
    assert_eq!(microsoft.refresh.rotation, Rotation::Replace);
    assert_eq!((microsoft.refresh.send_scope, microsoft.refresh.idle_days), (true, Some(90)));
    assert_eq!(microsoft.access_token.margin_s, 600);
    assert_eq!(microsoft.identity.subject, SubjectRule::TidOid);
    let mail = [
        "https://outlook.office.com/IMAP.AccessAsUser.All",
        "https://outlook.office.com/SMTP.Send",
    ];
    assert_eq!(microsoft.targets["mail"].scopes, mail);
    assert!(
        microsoft.targets["graph"]
            .scopes
            .iter()
            .all(|s| s.starts_with("https://graph.microsoft.com/"))
    );
    assert_eq!(
        lines(&microsoft),
        [
            "imap+tls://outlook.office365.com:993 XOAUTH2 IfAdvertised probe",
            "smtp+starttls://smtp.office365.com:587 XOAUTH2 IfAdvertised",
            "pop3+tls://outlook.office365.com:995 XOAUTH2 IfAdvertised",
        ]
    );
}

#[test]
fn after_sign_in_an_account_is_pinned_to_its_own_authority() {
    let microsoft = preset("microsoft");
    assert_eq!(microsoft.pinned_authority(MSA).as_deref(), Some("consumers"));
    assert_eq!(microsoft.pinned_authority(TENANT).as_deref(), Some(TENANT));
    assert_eq!(preset("google").pinned_authority(MSA), None);
    let smtp = |provider: &Resolved| provider.mail[&MailProtocol::Smtp].host.host.clone();
    let personal = pinned(&app("microsoft"), "consumers").unwrap();
    assert_eq!(
        personal.urls.token.as_str(),
        "https://login.microsoftonline.com/consumers/oauth2/v2.0/token"
    );
    assert_eq!(smtp(&personal), "smtp-mail.outlook.com");
    let work = pinned(&app("microsoft"), TENANT).unwrap();
    assert!(work.urls.token.path().starts_with(&format!("/{TENANT}/")));
    assert_eq!(smtp(&work), "smtp.office365.com");
    let of_app = App { authority: "organizations".into(), ..app("microsoft") };
    assert!(resolve(&of_app).unwrap().urls.token.path().starts_with("/organizations/"));
    assert!(pinned(&of_app, "").unwrap().urls.token.path().starts_with("/organizations/"));
    assert!(pinned(&of_app, TENANT).unwrap().urls.token.path().starts_with(&format!("/{TENANT}/")));
}

#[test]
fn an_authority_cannot_bend_the_endpoint() {
    for good in ["common", "organizations", "Consumers", TENANT, "contoso.onmicrosoft.com"] {
        assert!(pinned(&app("microsoft"), good).is_ok(), "{good}");
    }
    for bad in [
        "..",
        "a/b",
        "common/../x",
        "contoso.com/x",
        "x?y=",
        "a.b#",
        "@evil.com",
        "commons",
        "a..b",
    ] {
        assert_eq!(pinned(&app("microsoft"), bad).unwrap_err(), SettingsError::Authority, "{bad}");
    }
    assert_eq!(pinned(&app("google"), "common").unwrap_err(), SettingsError::Authority);
}

#[test]
fn generic_and_custom_want_their_endpoints_from_the_app() {
    let generic = resolve(&app("generic-oidc")).unwrap_err();
    assert_eq!(generic, SettingsError::NoIssuer { preset: "generic-oidc".into() });
    let missing = resolve(&app("custom")).unwrap_err();
    assert_eq!(
        missing,
        SettingsError::NoEndpoint { preset: "custom".into(), field: "authorization" }
    );
    let mut typed = app("custom");
    typed.endpoints.authorization = "https://auth.example/a".into();
    typed.endpoints.token = "http://auth.example/t".into();
    let insecure = SettingsError::Refused { field: "token", why: AddressRefused::NotHttps };
    assert_eq!(resolve(&typed).unwrap_err(), insecure);
    typed.endpoints.token = "https://192.168.0.1/t".into();
    let inside = SettingsError::Refused { field: "token", why: AddressRefused::NotPublic };
    assert_eq!(resolve(&typed).unwrap_err(), inside);
    typed.endpoints.token = "token".into();
    assert_eq!(resolve(&typed).unwrap_err(), SettingsError::NotUrl { field: "token" });
    typed.endpoints.token = "https://auth.example/t".into();
    let custom = resolve(&typed).unwrap();
    assert_eq!((custom.issuer, custom.refresh.rotation), (None, Rotation::Strict));
    let nameless = App { client_id: String::new(), ..typed };
    assert_eq!(resolve(&nameless).unwrap_err(), SettingsError::NoClientId);
}

#[test]
fn an_app_changes_scopes_hosts_and_rotation() {
    let mut changed = app("microsoft");
    changed.skip_scopes = vec!["profile".into(), "https://outlook.office.com/SMTP.Send".into()];
    changed.extra_scopes =
        vec!["https://outlook.office.com/POP.AccessAsUser.All".into(), "custom".into()];
    changed.rotation = Some(Rotation::Grace);
    changed.mail_hosts = vec![MailHost::parse("imap+tls://imap.example:993").unwrap()];
    let provider = resolve(&changed).unwrap();
    assert_eq!(
        provider.consent_scopes(&["mail".into(), "unknown".into()]),
        [
            "openid",
            "email",
            "offline_access",
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/POP.AccessAsUser.All",
            "custom",
        ]
    );
    // An extra scope of the mail resource is asked for at every refresh of a mail token, others are not.
    assert_eq!(
        provider.targets["mail"].scopes,
        [
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/POP.AccessAsUser.All",
        ]
    );
    let imap = line(&provider.mail[&MailProtocol::Imap]);
    assert_eq!(imap, "imap+tls://imap.example:993 XOAUTH2 IfAdvertised probe");
    assert_eq!(provider.refresh.rotation, Rotation::Grace);
    let based = App { base_scopes: vec!["openid".into()], ..app("google") };
    let scopes = resolve(&based).unwrap().consent_scopes(&["mail".into()]);
    assert_eq!(scopes, ["openid", "https://mail.google.com/"]);
}

#[test]
fn a_mail_server_nobody_knows_is_tried_with_both_mechanisms() {
    let mut own = app("custom");
    own.endpoints.authorization = "https://auth.example/a".into();
    own.endpoints.token = "https://auth.example/t".into();
    own.mail_hosts = vec![MailHost::parse("smtp+starttls://mx.example:587").unwrap()];
    let provider = resolve(&own).unwrap();
    assert_eq!(
        lines(&provider),
        ["smtp+starttls://mx.example:587 OAUTHBEARER,XOAUTH2 IfAdvertised"]
    );
}

#[test]
fn the_iss_parameter_follows_the_rule() {
    let google = resolve(&app("google")).unwrap();
    assert!(google.check_iss(Some("https://accounts.google.com"), false).is_ok());
    assert!(google.check_iss(None, false).is_err());
    assert!(google.check_iss(Some("https://accounts.google.com/"), false).is_err());
    assert!(resolve(&app("microsoft")).unwrap().check_iss(Some("anything"), false).is_ok());
    let mut generic = App { authority: "https://auth.example".into(), ..app("generic-oidc") };
    generic.endpoints.authorization = "https://auth.example/a".into();
    generic.endpoints.token = "https://auth.example/t".into();
    let generic = resolve(&generic).unwrap();
    assert_eq!(
        (generic.issuer.as_deref(), &generic.authority),
        (Some("https://auth.example"), &None)
    );
    assert!(generic.check_iss(None, false).is_ok());
    assert!(generic.check_iss(Some("https://evil.example"), false).is_err());
    assert!(generic.check_iss(None, true).is_err());
}

fn class(
    preset: &Preset,
    status: u16,
    code: &str,
    suberror: &str,
    numbers: &[u32],
) -> RefusalClass {
    classify(&Evidence { status, code, suberror, numbers, words: "" }, &preset.errors)
}

#[test]
fn every_documented_google_refusal_has_its_class() {
    let google = preset("google");
    for (status, code, suberror, expected) in [
        (400, "invalid_grant", "", NeedsConsent),
        (400, "invalid_grant", "invalid_rapt", NeedsInteraction),
        (400, "invalid_grant", "rapt_required", NeedsInteraction),
        (401, "invalid_client", "", AppBroken),
        (401, "deleted_client", "", AppBroken),
        (401, "disabled_client", "", AppBroken),
        (401, "unauthorized_client", "", AppBroken),
        (400, "invalid_scope", "", AppBroken),
        (400, "redirect_uri_mismatch", "", AppBroken),
        (400, "invalid_request", "", AppBroken),
        (400, "access_denied", "", NeedsConsent),
        (400, "admin_policy_enforced", "", BlockedByPolicy),
        (400, "org_internal", "", AppBroken),
        (400, "access_not_configured", "", AppBroken),
        (400, "disallowed_useragent", "", AppBroken),
        (429, "", "", Throttled),
        (403, "rate_limit_exceeded", "", Throttled),
        (500, "", "", Transient),
        (502, "", "", Transient),
        (503, "", "", Transient),
        (504, "", "", Transient),
        (408, "", "", Transient),
        (400, "internal_failure", "", Transient),
        (400, "server_error", "", Transient),
        (400, "temporarily_unavailable", "", Transient),
        (400, "brand_new_code", "", Ambiguous),
    ] {
        assert_eq!(
            class(&google, status, code, suberror, &[]),
            expected,
            "{status} {code} {suberror}"
        );
    }
}

#[test]
fn every_documented_aadsts_number_has_its_class() {
    let microsoft = preset("microsoft");
    let rows: [(RefusalClass, &[u32]); 6] = [
        (
            NeedsConsent,
            &[
                50173, 70000, 70008, 700_082, 700_084, 70043, 50089, 50132, 50133, 50058, 50085,
                50057, 50034, 51004, 65001, 65004, 54005, 501_481, 700_005,
            ],
        ),
        (
            NeedsInteraction,
            &[50076, 50079, 50078, 50072, 50074, 50055, 50144, 50126, 50142, 50199, 165_900],
        ),
        (
            BlockedByPolicy,
            &[
                53000, 53001, 53002, 53003, 53011, 530_032, 530_035, 50097, 50131, 50005, 90094,
                90095, 50020, 50105,
            ],
        ),
        (
            AppBroken,
            &[
                7_000_215, 7_000_222, 7_000_218, 700_025, 50012, 700_027, 700_030, 50013, 500_133,
                70021, 700_229, 7_000_112, 7_000_114, 1_000_031, 65005, 650_052, 650_056, 650_057,
                70011, 28002, 28003, 28000, 700_022, 700_023, 500_011, 50001, 90008, 700_016,
                70001, 700_011, 90002, 900_023, 50059, 90013, 9_002_331, 9_002_332, 50194,
                9_001_023, 90038, 900_382, 50011, 900_144, 9_002_313, 90014, 900_561, 70002,
                700_054, 9_002_326,
            ],
        ),
        (Throttled, &[50196, 90055, 50166, 50088, 50053]),
        (
            Transient,
            &[90033, 90006, 90024, 90012, 90090, 50000, 50033, 50087, 70012, 40010, 80001, 80002],
        ),
    ];
    for (expected, numbers) in rows {
        for number in numbers {
            assert_eq!(
                class(&microsoft, 400, "invalid_grant", "", &[*number]),
                expected,
                "{number}"
            );
        }
    }
}

#[test]
fn microsofts_other_evidence_has_its_class() {
    let microsoft = preset("microsoft");
    for (code, suberror, number, expected) in [
        ("invalid_grant", "bad_token", 0, NeedsConsent),
        ("invalid_grant", "token_expired", 70043, NeedsConsent),
        ("invalid_grant", "consent_required", 65001, NeedsConsent),
        ("invalid_grant", "user_password_expired", 0, NeedsInteraction),
        ("interaction_required", "basic_action", 0, NeedsInteraction),
        ("interaction_required", "additional_action", 0, NeedsInteraction),
        ("interaction_required", "message_only", 53003, BlockedByPolicy),
        ("invalid_grant", "protection_policy_required", 0, BlockedByPolicy),
        ("invalid_grant", "client_mismatch", 0, AppBroken),
        ("interaction_required", "", 999_999, NeedsInteraction),
        ("consent_required", "", 999_999, NeedsConsent),
        ("invalid_client", "", 999_999, AppBroken),
        ("unauthorized_client", "", 999_999, AppBroken),
        ("invalid_resource", "", 999_999, AppBroken),
        ("temporarily_unavailable", "", 0, Transient),
    ] {
        assert_eq!(
            class(&microsoft, 400, code, suberror, &[number]),
            expected,
            "{code} {suberror} {number}"
        );
    }
}

#[test]
fn the_habits_of_other_providers_are_known_everywhere() {
    let custom = preset("custom");
    for (status, code, expected) in [
        (400, "invalid_refresh_token", NeedsConsent),
        (401, "token_expired", NeedsConsent),
        (401, "invalid_grant", NeedsConsent),
        (403, "account_not_authorized", NeedsConsent),
        (200, "invalid_code", NeedsConsent),
        (400, "invalid_client", AppBroken),
        (401, "invalid_client_secret", AppBroken),
        (400, "invalid_redirect_uri", AppBroken),
        (400, "parameter_absent", AppBroken),
        (401, "invalid_callback", AppBroken),
        (400, "invalid_target", AppBroken),
        (400, "error_handling_request", Transient),
    ] {
        assert_eq!(class(&custom, status, code, "", &[]), expected, "{status} {code}");
    }
    let words = "you have made too many requests continuously. please try again after some time.";
    let zoho = Evidence { status: 200, code: "access_denied", words, ..Evidence::default() };
    assert_eq!(classify(&zoho, &custom.errors), Throttled);
}

#[test]
fn no_row_stands_under_two_classes() {
    for preset in Presets::embedded().unwrap().iter() {
        let mut numbers: Vec<_> = preset.errors.numbers.values().flatten().collect();
        let mut codes: Vec<_> = preset.errors.codes.values().flatten().collect();
        let (all_numbers, all_codes) = (numbers.len(), codes.len());
        numbers.sort_unstable();
        numbers.dedup();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!((numbers.len(), codes.len()), (all_numbers, all_codes), "{}", preset.name);
    }
}
