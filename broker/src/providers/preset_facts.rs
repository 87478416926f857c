//! Each preset's facts, as the providers document them.

use super::*;
use crate::domain::app::{App, Rotation};
use crate::domain::mail::MailHost;
use crate::domain::provider::{MailServer, SubjectRule};
use crate::providers::address::{AddressRefused, AddressRule};
use crate::providers::resolve::SettingsError;
use crate::providers::resolved::Resolved;
use crate::providers::rogue::app;

const DAY: u64 = 86_400;
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
        "there is no preset \"gogle\"; known presets: aol, custom, fastmail, generic-oidc, google, mailru, microsoft, \
         microsoft-gcc-high, yahoo, yandex, zoho"
    );
}

#[test]
fn a_mailbox_suggests_its_preset() {
    let presets = Presets::embedded().unwrap();
    assert_eq!(presets.for_mailbox("a@GMAIL.com").unwrap().name, "google");
    assert_eq!(presets.for_mailbox("a@outlook.com").unwrap().name, "microsoft");
    for (address, name) in [
        ("a@yahoo.com", "yahoo"),
        ("a@att.net", "yahoo"),
        ("a@aol.com", "aol"),
        ("a@verizon.net", "aol"),
        ("a@fastmail.fm", "fastmail"),
        ("a@bk.ru", "mailru"),
        ("a@ya.ru", "yandex"),
    ] {
        assert_eq!(presets.for_mailbox(address).unwrap().name, name, "{address}");
    }
    // Another company, and a provider whose mail servers take no tokens.
    assert!(presets.for_mailbox("a@yahoo.co.jp").is_none());
    assert!(presets.for_mailbox("a@zoho.com").is_none());
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
    assert_eq!((google.refresh.send_scope, google.refresh.idle_s), (false, Some(180 * DAY)));
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
    assert_eq!((microsoft.refresh.send_scope, microsoft.refresh.idle_s), (true, Some(90 * DAY)));
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
        let known = "common, organizations, consumers, a tenant id or a domain".to_owned();
        let expected = SettingsError::UnknownAuthority { preset: "microsoft".to_owned(), known };
        assert_eq!(pinned(&app("microsoft"), bad).unwrap_err(), expected, "{bad}");
    }
    for bad in ["consumers", "common", "..", "a/b"] {
        assert!(pinned(&app("microsoft-gcc-high"), bad).is_err(), "{bad}");
    }
    assert!(pinned(&app("microsoft-gcc-high"), TENANT).is_ok());
    for bad in ["accounts.zoho.evil", "evil.com", TENANT, "accounts.zoho.com.evil.com", "common"] {
        assert!(pinned(&app("zoho"), bad).is_err(), "{bad}");
        assert!(pinned(&app("mailru"), bad).is_err(), "{bad}");
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

/// The facts of a preset that bear on refreshing and logging in, in a few lines.
fn facts(provider: &Resolved) -> String {
    let rule = &provider.refresh;
    let spans = [
        ("idle", rule.idle_s),
        ("life", rule.life_s),
        ("spacing", rule.min_spacing_s.map(u64::from)),
    ];
    let spans = spans.iter().filter_map(|(name, span)| Some(format!(" {name}={}", (*span)?)));
    let flags = [
        (" scope", rule.send_scope),
        (" together", rule.ends_with_access_token),
        (" id-in-form", rule.client_id_in_form),
    ];
    let flags = flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned());
    let habits: String = flags.chain(spans).collect();
    let (first, target) = provider.targets.first_key_value().unwrap();
    let protocols: Vec<_> = target.protocols.iter().map(|protocol| protocol.as_str()).collect();
    format!(
        "{} {}{habits} {} {:?} {:?}\nauth {:?}\nask {} {:?}\n{first} {} -> {}\n{}",
        provider.urls.token,
        rule.rotation.as_str(),
        provider.access_token.lifetime_s,
        provider.issuer.as_deref().unwrap_or("-"),
        provider.iss_parameter,
        provider.client_auth,
        provider.authorize.base_scopes.join(" "),
        provider.authorize.params,
        target.scopes.join(&provider.scope_separator),
        protocols.join(","),
        lines(provider).join("\n"),
    )
}

#[test]
fn yahoo_and_aol_are_one_platform_under_two_names() {
    let of = |login: &str, mail: &str| {
        format!(
            "https://api.login.{login}/oauth2/get_token strict 3600 \"https://api.login.{login}\" IfAdvertised\n\
             auth [Basic, Post]\nask openid email {{}}\nmail mail-w -> imap,pop3,smtp\n\
             imap+tls://imap.{mail}:993 XOAUTH2 IfAdvertised\nsmtp+tls://smtp.{mail}:465 XOAUTH2 IfAdvertised\n\
             pop3+tls://pop.{mail}:995 XOAUTH2 IfAdvertised"
        )
    };
    for (preset, login, mail) in
        [("yahoo", "yahoo.com", "mail.yahoo.com"), ("aol", "aol.com", "aol.com")]
    {
        let provider = resolve(&app(preset)).unwrap();
        assert_eq!(facts(&provider), of(login, mail));
        let base = format!("https://api.login.{login}");
        let urls = &provider.urls;
        assert_eq!(urls.authorization.as_str(), format!("{base}/oauth2/request_auth"));
        assert_eq!(urls.revocation.as_ref().unwrap().as_str(), format!("{base}/oauth2/revoke"));
        assert_eq!(urls.userinfo.as_ref().unwrap().as_str(), format!("{base}/openid/v1/userinfo"));
        assert_eq!(urls.jwks.as_ref().unwrap().as_str(), format!("{base}/openid/v1/certs"));
        assert_eq!(urls.device, None);
    }
}

#[test]
fn fastmail_is_a_public_client_with_a_token_endpoint_called_refresh() {
    let fastmail = resolve(&app("fastmail")).unwrap();
    assert_eq!(
        facts(&fastmail),
        "https://api.fastmail.com/oauth/refresh strict 300 \"https://api.fastmail.com\" Required\n\
         auth [None]\nask offline_access {}\n\
         mail https://www.fastmail.com/dev/protocol-imap https://www.fastmail.com/dev/protocol-pop \
         https://www.fastmail.com/dev/protocol-smtp -> imap,pop3,smtp\n\
         imap+tls://imap.fastmail.com:993 OAUTHBEARER,XOAUTH2 IfAdvertised\n\
         smtp+tls://smtp.fastmail.com:465 OAUTHBEARER,XOAUTH2 IfAdvertised\n\
         pop3+tls://pop.fastmail.com:995 XOAUTH2 IfAdvertised"
    );
    assert!(!preset("fastmail").wants_secret());
}

#[test]
fn yandex_wants_the_token_after_the_command_and_renews_both_together() {
    assert_eq!(
        facts(&resolve(&app("yandex")).unwrap()),
        "https://oauth.yandex.com/token strict together 3600 \"-\" Ignore\n\
         auth [Basic, Post]\nask  {\"force_confirm\": \"yes\"}\nmail mail:imap_full mail:smtp -> imap,smtp\n\
         imap+tls://imap.yandex.com:993 XOAUTH2 Never\nsmtp+tls://smtp.yandex.com:465 XOAUTH2 IfAdvertised"
    );
}

#[test]
fn mailru_has_two_families_of_endpoints() {
    let family =
        |authority: &str| resolve(&App { authority: authority.into(), ..app("mailru") }).unwrap();
    assert_eq!(
        facts(&family("")),
        "https://oauth.mail.ru/token strict id-in-form 3600 \"-\" Ignore\n\
         auth [Basic]\nask  {\"prompt_force\": \"1\"}\nmail mail.imap -> imap,smtp\n\
         imap+tls://imap.mail.ru:993 XOAUTH2 IfAdvertised\nsmtp+tls://smtp.mail.ru:465 XOAUTH2 IfAdvertised"
    );
    let other = family("O2.mail.ru");
    assert_eq!(other.urls.authorization.as_str(), "https://o2.mail.ru/login");
    assert_eq!(other.urls.token.as_str(), "https://o2.mail.ru/token");
}

#[test]
fn zoho_is_asked_in_the_apps_own_data_centre() {
    let centre =
        |authority: &str| resolve(&App { authority: authority.into(), ..app("zoho") }).unwrap();
    assert_eq!(
        facts(&centre("")),
        "https://accounts.zoho.com/oauth/v2/token none spacing=75 3600 \"https://accounts.zoho.com\" IfAdvertised\n\
         auth [Post]\nask openid email {\"access_type\": \"offline\", \"prompt\": \"consent\"}\napi  -> \n"
    );
    let names = &preset("zoho").authority.unwrap().names;
    assert_eq!(names.len(), 7);
    for name in names {
        let provider = centre(name);
        assert_eq!(provider.issuer, Some(format!("https://{name}")));
        for url in [&provider.urls.authorization, &provider.urls.token] {
            assert_eq!(url.host_str(), Some(name.as_str()));
        }
        assert_eq!(provider.urls.jwks.unwrap().host_str(), Some(name.as_str()));
    }
    let mut apis = app("zoho");
    apis.extra_scopes = vec!["ZohoMail.messages.ALL".into()];
    let scopes = resolve(&apis).unwrap().consent_scopes(&["api".into()]).join(",");
    assert_eq!(scopes, "openid,email,ZohoMail.messages.ALL");
    assert_eq!(preset("zoho").pinned_authority(TENANT), None);
}

#[test]
fn the_government_cloud_is_microsoft_with_other_places() {
    let (cloud, world) = (preset("microsoft-gcc-high"), preset("microsoft"));
    let provider = resolve(&app("microsoft-gcc-high")).unwrap();
    assert_eq!(
        facts(&provider),
        "https://login.microsoftonline.us/organizations/oauth2/v2.0/token replace scope idle=7776000 3600 \
         \"https://login.microsoftonline.us/{tenantid}/v2.0\" Ignore\n\
         auth [Post, Basic, None]\nask openid email profile offline_access {\"prompt\": \"select_account\"}\n\
         graph https://graph.microsoft.us/User.Read https://graph.microsoft.us/Mail.ReadWrite \
         https://graph.microsoft.us/Mail.Send -> \n\
         imap+tls://outlook.office365.us:993 XOAUTH2 IfAdvertised probe\n\
         smtp+starttls://smtp.office365.us:587 XOAUTH2 IfAdvertised\n\
         pop3+tls://outlook.office365.us:995 XOAUTH2 IfAdvertised"
    );
    assert_eq!(cloud.errors.numbers, world.errors.numbers);
    // There are no personal accounts, so no tenant is theirs.
    assert_eq!(cloud.pinned_authority(MSA).as_deref(), Some(MSA));
    assert!(cloud.domains.is_empty(), "no mailbox suggests it");
    let all = Presets::embedded().unwrap();
    for preset in all.iter().filter(|preset| preset.name.contains("gcc")) {
        let mail = &preset.targets["mail"].scopes;
        assert!(mail.iter().all(|scope| scope.starts_with("https://outlook.office365.us/")));
    }
}

#[test]
fn no_two_presets_claim_one_mail_domain() {
    let presets = Presets::embedded().unwrap();
    let mut domains: Vec<_> = presets.iter().flat_map(|preset| &preset.domains).collect();
    let all = domains.len();
    domains.sort_unstable();
    domains.dedup();
    assert_eq!(domains.len(), all);
}

#[test]
fn an_extension_needs_its_parent_before_it() {
    const CHILD: (&str, &str) = (
        "child.toml",
        "extends = \"google\"\nname = \"child\"\n[endpoints]\ntoken = \"https://t/\"",
    );
    let child = Presets::from_files(&[FILES[0], CHILD]).unwrap().find("child").unwrap().clone();
    let google = preset("google");
    assert_eq!((&child.title, &child.targets), (&google.title, &google.targets));
    assert_eq!((child.endpoints.token.as_str(), child.endpoints.jwks.as_str()), ("https://t/", ""));
    assert!(child.domains.is_empty());
    assert!(Presets::from_files(&[CHILD, FILES[0]]).is_err());
    let number = ("child.toml", "extends = 7\nname = \"child\"");
    assert!(
        Presets::from_files(&[FILES[0], number]).unwrap_err().to_string().contains("child.toml")
    );
}
