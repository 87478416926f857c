//! Files that are right, and what is said of those that are not.

use std::io::Write;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("adapter.key", "tbk_abc\n", 0o600);
        folder
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Settings, String> {
        let config = Some(self.write("a.toml", text, 0o644));
        Settings::load(&Flags { config, ..Flags::default() }).map_err(|error| {
            error.to_string().replace(&format!("{}/", self.0.path().display()), "")
        })
    }
}

const PLAIN: &str = "address = \"127.0.0.1:1\"\ntls = \"plain\"";
const NEAR: &str = "[broker]\nendpoints = [\"http://127.0.0.1:1\"]\nkey_file = \"adapter.key\"\n";

fn certificate() -> String {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()
}

fn listener(lines: &str) -> String {
    format!("{NEAR}[[listener]]\n{lines}")
}

#[test]
fn the_sample_is_a_working_configuration_with_the_defaults() {
    let settings = Folder::new().load(Settings::SAMPLE).unwrap();
    assert_eq!(settings.limits, Limits::default());
    assert!(format!("{:?}", settings.broker).contains(&format!("{BROKER:?}")), "the default");
    assert_eq!(settings.listeners[0].tls, ListenerTls::Plain);
}

#[test]
fn what_the_sample_leaves_as_a_comment_works_too() {
    let uncommented: String = Settings::SAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let folder = Folder::new();
    folder.write("broker-ca.pem", &certificate(), 0o644);
    let settings = folder.load(&uncommented).unwrap();
    assert_eq!(settings.limits, Limits::default(), "the sample tells the true defaults");
    assert_eq!(settings.listeners[1].tls, ListenerTls::Implicit);
    assert!(settings.ops.is_some() && settings.certificate.is_some());
    assert_eq!(settings.upstream.helo_name, NAMELESS, "and of the name too");
}

#[test]
fn plain_text_stays_on_loopback() {
    let error =
        Folder::new().load(&listener("address = \"0.0.0.0:1\"\ntls = \"plain\"")).unwrap_err();
    assert_eq!(
        error,
        "a.toml:6: listener.tls: plain text off loopback would show passwords. Write starttls or implicit with a [tls] \
         certificate, or listen on 127.0.0.1"
    );
    let flags = Flags { listen: vec!["0.0.0.0:1".parse().unwrap()], ..Flags::default() };
    assert!(Settings::load(&flags).unwrap_err().to_string().contains("--listen: plain text"));
    let http = NEAR.replace("127.0.0.1", "broker.example.com");
    let error = Folder::new()
        .load(&format!("{http}[[listener]]\naddress = \"127.0.0.1:1\"\ntls = \"plain\""));
    assert!(error.unwrap_err().starts_with(
        "a.toml:2: broker.endpoints: http://broker.example.com:1 would send the API key"
    ));
}

#[test]
fn whatever_is_wrong_is_named_with_its_line() {
    let folder = Folder::new();
    for (text, begin) in [
        (
            listener("address = \"x\"\ntls = \"plain\""),
            "a.toml:5: listener.address: not an address",
        ),
        (
            listener("address = \"127.0.0.1:1\"\ntls = \"ssl\""),
            "a.toml:6: listener.tls: no such mode",
        ),
        (
            listener("address = \"127.0.0.1:1\"\ntls = \"starttls\""),
            "a.toml:6: listener.tls: there is no certificate",
        ),
        (listener("address = 5\ntls = \"plain\""), "a.toml:5: listener.address: invalid type"),
        (
            format!("{NEAR}[[listener]]\n{PLAIN}\n[limits]\norphan_ttl_seconds = 4"),
            "a.toml:8: limits.orphan_ttl_seconds: not a time to do without a broker. Write 5 to 3600",
        ),
        (format!("{NEAR}colour = 1"), "a.toml:4: broker.colour: unknown field `colour`"),
        (format!("{NEAR}[limits]\nattempts = 0"), "a.toml: listener: missing"),
        ("= 1".to_owned(), "a.toml:1: "),
    ] {
        let error = folder.load(&text).unwrap_err();
        assert!(error.starts_with(begin), "{error}");
    }
}

#[test]
fn a_value_in_a_list_of_several_lines_is_pointed_at() {
    let list = "endpoints = [\n  \"http://127.0.0.1:1\",\n  \"ftp://127.0.0.1:2\",\n]\n";
    let text = format!("[broker]\nkey_file = \"adapter.key\"\n{list}[[listener]]\n{PLAIN}");
    let error = Folder::new().load(&text).unwrap_err();
    assert!(error.starts_with("a.toml:5: broker.endpoints: the endpoint \"ftp:"), "{error}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = Folder::new();
    folder.write("adapter.key", "tbk_abc", 0o640);
    let error = folder.load(Settings::SAMPLE).unwrap_err();
    assert!(error.contains("broker.key_file: ") && error.contains("chmod 600"), "{error}");
    let flags = Flags {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        key_file: Some(folder.0.path().join("adapter.key")),
        ..Flags::default()
    };
    let error = Settings::load(&flags).unwrap_err().to_string();
    assert!(error.starts_with("command line: --key-file: others can read"), "{error}");
}

#[test]
fn authorities_that_are_none_are_refused() {
    let folder = Folder::new();
    folder.write("ca.pem", "nonsense", 0o644);
    let text = format!("{NEAR}ca_file = \"ca.pem\"\n[[listener]]\n{PLAIN}");
    let error = folder.load(&text).unwrap_err();
    assert!(error.starts_with("a.toml:4: broker.ca_file: the CA file ca.pem holds no"), "{error}");
}

#[test]
fn a_name_for_ehlo_cannot_carry_a_command() {
    let load = |name: &str| {
        let text = format!("{}\n[upstream]\nhelo_name = {name:?}\n", listener(PLAIN));
        Folder::new().load(&text)
    };
    for name in ["", "a b", "a\r\nQUIT", "\u{e4}.example", "[127.0.0.1", "[IPv6:x]", "[a.b]"] {
        let error = load(name).unwrap_err();
        assert!(error.starts_with("a.toml:8: upstream.helo_name: not a name"), "{error}");
    }
    for name in ["mail.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
        assert_eq!(load(name).unwrap().upstream.helo_name, name);
    }
}

#[test]
fn a_key_is_enough_beside_a_broker() {
    let folder = Folder::new();
    let flags = Flags {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        key_file: Some(folder.0.path().join("adapter.key")),
        ..Flags::default()
    };
    let settings = Settings::load(&flags).unwrap();
    assert_eq!(settings.listeners[0].tls, ListenerTls::Plain);
    assert!(format!("{:?}", settings.broker).contains(BROKER));
}

#[test]
fn a_key_does_not_print() {
    let settings = Folder::new().load(Settings::SAMPLE).unwrap();
    assert!(!format!("{settings:?}").contains("tbk_"));
}
