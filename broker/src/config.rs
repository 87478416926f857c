//! What the configuration file and the environment may say, turned into checked settings.
//!
//! Never opens a store, a port or a key. Invariant: whatever leaves this room was checked, and whatever was wrong is told
//! with file, line, field and remedy. Next: `assemble` hands each part its settings.

mod audit;
mod decisions;
mod file;
mod issuers;
mod problem;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use problem::Problem;

use crate::grpc::GrpcSettings;
use crate::http::HttpSettings;
use crate::providers::ProviderSettings;
use crate::providers::workload::IssuerSettings;
use crate::seal::KeySource;
use crate::service::{AuditSettings, DecisionSettings, RefreshSettings};
use crate::store;
use crate::telemetry::LogSettings;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where state is kept.
    pub store: store::Settings,
    /// Where the key-encryption key comes from.
    pub kek: KeySource,
    /// Where the next one comes from, if there is to be one.
    pub next_kek: Option<KeySource>,
    /// The door for services and adapters.
    pub grpc: GrpcSettings,
    /// The door for operators.
    pub admin: GrpcSettings,
    /// The door for browsers.
    pub http: HttpSettings,
    /// Health and metrics.
    pub ops: SocketAddr,
    /// How providers are spoken to.
    pub providers: ProviderSettings,
    /// Whose tokens say who calls.
    pub issuers: Vec<IssuerSettings>,
    /// How refreshes go.
    pub refresh: RefreshSettings,
    /// How what is handed out is decided.
    pub decisions: DecisionSettings,
    /// How long the audit is kept, and where it is attested.
    pub audit: AuditSettings,
    /// Where answers wait that the store cannot take.
    pub spill: PathBuf,
    /// This broker's name among those that share a database; without one, each start is a stranger to the last.
    pub replica: Option<String>,
    /// What is logged, and how.
    pub log: LogSettings,
    /// How long a planned stop waits for work in flight. Default 10 s, at most 5 min.
    pub drain: Duration,
}

/// Reads and checks a configuration file. Relative paths in it start at its folder.
///
/// # Errors
/// [`Problem`] names file, line, field and remedy.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| Problem::unreadable(path, &error))?;
    let raw: file::File =
        toml::from_str(&text).map_err(|error| Problem::syntax(path, &text, &error))?;
    file::Checker::new(path, &text, env).check(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token-broker.toml");
        std::fs::write(&path, text).unwrap();
        load(&path, &|name| (name == "DB").then(|| "postgres://u:canary@h/db".to_owned()))
            .map_err(|problem| problem.to_string())
    }

    const LEAST: &str = "[store]\nsqlite = \"broker.db\"\n[keys]\nkek = { file = \"kek\" }\n";

    #[test]
    fn the_least_configuration_is_enough_and_listens_on_loopback() {
        let config = parse(LEAST).unwrap();
        assert!(config.grpc.address.ip().is_loopback() && config.admin.address.ip().is_loopback());
        assert!(matches!(config.store, store::Settings::Sqlite { path } if path.is_absolute()));
    }

    #[test]
    fn the_sample_for_servers_is_accepted() {
        let sample = include_str!("../../deploy/examples/token-broker.toml");
        assert!(!parse(sample).unwrap().providers.allow_insecure_loopback);
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let told = parse(&format!("{LEAST}[grpc]\nadress = \"127.0.0.1:1\"\n")).unwrap_err();
        assert!(told.contains("token-broker.toml:6") && told.contains("adress"), "{told}");
        assert!(told.contains("address"), "lists what is known: {told}");
    }

    #[test]
    fn a_wrong_value_names_line_field_and_remedy() {
        let told = parse(&format!("{LEAST}[http]\naddress = \"localhost\"\n")).unwrap_err();
        assert!(told.contains("token-broker.toml:6") && told.contains("http.address"), "{told}");
        assert!(told.contains("127.0.0.1:8642"), "says what to write: {told}");
    }

    #[test]
    fn plain_text_off_loopback_is_refused_unless_said() {
        let open = format!("{LEAST}[grpc]\naddress = \"0.0.0.0:8640\"\n");
        assert!(parse(&open).unwrap_err().contains("plaintext_off_loopback"), "names the way out");
        assert!(parse(&format!("{open}plaintext_off_loopback = true\n")).is_ok());
    }

    #[test]
    fn a_store_is_one_of_the_two() {
        let both = LEAST.replace("[keys]", "postgres = { env = \"DB\" }\n[keys]");
        assert!(parse(&both).unwrap_err().contains("store"), "both at once");
        assert!(parse(&LEAST.replace("sqlite = \"broker.db\"", "")).is_err(), "none");
    }

    #[test]
    fn the_next_key_is_another_place_than_the_key() {
        let with = |next: &str| {
            parse(&LEAST.replace("\n[keys]", "\n[keys]\nnext_kek = NEXT").replace("NEXT", next))
        };
        let config = with("{ file = \"kek.next\" }").unwrap();
        assert!(
            matches!(config.next_kek, Some(KeySource::File(path)) if path.ends_with("kek.next"))
        );
        assert!(parse(LEAST).unwrap().next_kek.is_none());
        assert!(
            with("{ file = \"kek\" }").unwrap_err().contains("keys.next_kek"),
            "the same place"
        );
        assert!(with("{}").unwrap_err().contains("keys.next_kek"), "no place");
    }

    #[test]
    fn a_database_password_does_not_print() {
        let text = LEAST.replace("sqlite = \"broker.db\"", "postgres = { env = \"DB\" }");
        let printed = format!("{:?}", parse(&text).unwrap());
        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn decisions_are_strict_unless_somebody_says_relaxed() {
        assert!(!parse(LEAST).unwrap().decisions.relaxed);
        let with = |mode: &str| parse(&format!("{LEAST}[decision]\nmode = \"{mode}\"\n"));
        assert!(!with("strict").unwrap().decisions.relaxed);
        assert!(with("relaxed").unwrap().decisions.relaxed);
        let told = with("fast").unwrap_err();
        assert!(told.contains("token-broker.toml:6") && told.contains("decision.mode"), "{told}");
        assert!(told.contains("audit"), "says what it costs: {told}");
    }

    #[test]
    fn an_issuer_of_callers_tokens_that_cannot_be_is_refused_with_its_line_and_field() {
        let issuer = |more: &str| {
            let url = if more.contains("url =") { "" } else { "url = \"https://issuer.test\"\n" };
            let audiences =
                if more.contains("audiences =") { "" } else { "audiences = [\"token-broker\"]\n" };
            parse(&format!("{LEAST}[[callers.issuer]]\n{url}{audiences}{more}\n"))
        };
        let config = issuer("").unwrap();
        assert_eq!(config.issuers[0].keys, crate::providers::workload::KeyPlace::Discovered);
        assert_eq!(config.issuers[0].max_age, Duration::from_secs(86_400));
        for (more, field, remedy) in [
            ("audiences = []", "callers.issuer.audiences", "name what"),
            ("algorithms = [\"HS256\"]", "callers.issuer.algorithms", "shared secret"),
            ("algorithms = [\"none\"]", "callers.issuer.algorithms", "RS256"),
            ("algorithms = []", "callers.issuer.algorithms", "RS256"),
            ("leeway_seconds = 301", "callers.issuer.leeway_seconds", "0 to 300"),
            ("max_age_seconds = 1", "callers.issuer.max_age_seconds", "60 to"),
            ("jwks = \"http://issuer.test/jwks\"", "callers.issuer.jwks", "https"),
            ("jwks = \"https://10.0.0.1/jwks\"", "callers.issuer.jwks", "private_network"),
            ("url = \"kubernetes/serviceaccount\"", "callers.issuer.url", "keys_file"),
            ("keys_file = \"nowhere.json\"", "callers.issuer.keys_file", "nowhere.json"),
            ("jwks = \"https://a.test\"\nkeys_file = \"x\"", "callers.issuer.jwks", "either"),
        ] {
            let told = issuer(more).unwrap_err();
            assert!(told.contains(field) && told.contains(remedy), "{more}: {told}");
            assert!(told.contains("token-broker.toml:"), "{told}");
        }
        let inside = "jwks = \"https://10.0.0.1/jwks\"\nprivate_network = true";
        assert!(issuer(inside).is_ok());
        let one = "[[callers.issuer]]\nurl = \"https://issuer.test\"\naudiences = [\"x\"]\n";
        assert!(parse(&format!("{LEAST}{one}{one}")).unwrap_err().contains("named twice"));
    }

    #[test]
    fn the_audit_is_kept_for_ever_and_attested_nowhere_unless_somebody_says_so() {
        assert_eq!(parse(LEAST).unwrap().audit, AuditSettings::default());
        let with = |text: &str| parse(&format!("{LEAST}[audit]\n{text}\n"));
        let audit = with("keep_days = 400\ncheckpoint_file = \"c.jsonl\"").unwrap().audit;
        assert_eq!(audit.keep, Some(Duration::from_secs(400 * 24 * 60 * 60)));
        let checkpoints = audit.checkpoints.unwrap();
        assert!(checkpoints.file.is_absolute() && checkpoints.file.ends_with("c.jsonl"));
        for (text, field) in [
            ("keep_days = 0", "audit.keep_days"),
            ("checkpoint_seconds = 5", "audit.checkpoint_file"),
            ("checkpoint_file = \"c\"\ncheckpoint_seconds = 0", "audit.checkpoint_seconds"),
            ("checkpoint_file = \"c\"\ncheckpoint_records = 0", "audit.checkpoint_records"),
        ] {
            let told = with(text).unwrap_err();
            assert!(told.contains("token-broker.toml:") && told.contains(field), "{told}");
        }
    }

    #[test]
    fn a_secret_from_two_places_is_refused() {
        let text = LEAST.replace("{ file = \"kek\" }", "{ file = \"kek\", env = \"KEK\" }");
        assert!(parse(&text).unwrap_err().contains("keys.kek"));
    }
}
