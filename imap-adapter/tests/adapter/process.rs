//! The program itself: its configuration, its signals, its log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use adapter_testkit::v1::{DenialClass, MailProtocol};
use adapter_testkit::{
    Broker, CREDENTIAL, Client, Identity, KEY, PATIENCE, denial, eventually, xoauth2,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::server::{Manners, Server};
use crate::world::login;

/// A folder with configuration, key and certificate, and the world the configuration is about.
struct Site {
    identity: Identity,
    server: Server,
    broker: Broker,
    endpoint: SocketAddr,
}

impl Site {
    async fn new() -> Self {
        let (identity, server) = (Identity::new(), Server::start(Manners::default()).await);
        let broker = Broker::new(MailProtocol::Imap, server.address);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        broker.serve(listener);
        let site = Self { identity, server, broker, endpoint };
        site.write("adapter.key", KEY);
        site
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let file = self.identity.file(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// A configuration for a TLS listener at `address`, with `more` at its end.
    fn configured(&self, address: &str, more: &str) -> Command {
        let text = format!(
            "[[listener]]\naddress = \"{address}\"\ntls = \"implicit\"\n\
             [tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n\
             [broker]\nendpoints = [\"http://{}\"]\nkey_file = \"adapter.key\"\n{more}",
            self.endpoint
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_imap-adapter"));
        command.env_clear().kill_on_drop(true).arg("--config").arg(self.write("imap.toml", &text));
        command
    }

    async fn start(&self) -> Program {
        let talkative = "[log]\nformat = \"json\"\nlevel = \"trace\"\n";
        let mut command = self.configured("127.0.0.1:0", talkative);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<String>>::default();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let program = Program { child, log };
        eventually(|| program.listens_at().is_some()).await;
        program
    }
}

struct Program {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Program {
    fn told(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn listens_at(&self) -> Option<SocketAddr> {
        let told = self.told();
        let line = told.lines().find(|line| line.contains("\"listening\""))?;
        line.split_once("\"address\":\"")?.1.split('"').next()?.parse().ok()
    }

    async fn client(&self) -> Client<tokio::net::TcpStream> {
        Client::connect(self.listens_at().unwrap()).await
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

/// Exit code and everything that was said.
async fn outcome(mut command: Command) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, command.output()).await.expect("an end in time").unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_configuration_is_checked_without_starting_and_mistakes_are_named() {
    let site = Site::new().await;
    let check = async |more: &str| {
        let mut command = site.configured("127.0.0.1:0", more);
        command.arg("--check-config");
        outcome(command).await
    };
    assert_eq!(check("").await, (Some(0), "The configuration can be used.\n".to_owned()));
    let (code, said) = check("colour = 1\n").await;
    assert_eq!(code, Some(1));
    assert!(said.contains("imap.toml:10: broker.colour: unknown field"), "{said}");
    assert!(said.contains("See --print-sample"), "{said}");
    let (code, said) = check("[upstream]\nca_file = \"nowhere.pem\"\n").await;
    assert_eq!(code, Some(1));
    assert!(said.contains("upstream.ca_file: ") && said.contains("nowhere.pem"), "{said}");
    std::fs::write(site.identity.file("key.pem"), "nonsense").unwrap();
    let (code, said) = check("").await;
    assert_eq!(code, Some(1));
    assert!(said.contains("tls.key: ") && said.contains("key.pem"), "{said}");
}

#[tokio::test]
async fn a_port_in_use_ends_the_program_with_the_field_and_a_remedy() {
    let site = Site::new().await;
    let taken = site.endpoint.to_string();
    let (code, said) = outcome(site.configured(&taken, "[log]\nlevel = \"off\"\n")).await;
    let named = format!("imap-adapter: listener.address: cannot listen on {taken}: the port is in");
    assert!(code == Some(1) && said.starts_with(&named), "{said}");
    assert!(said.contains("choose another port"), "{said}");
}

#[tokio::test]
async fn hup_shows_the_new_certificate_and_term_lets_sessions_end_with_a_farewell() {
    let mut site = Site::new().await;
    let mut program = site.start().await;
    let mut client = program.client().await.secure(&site.identity).await.unwrap();
    client.line().await;
    client.say(&login()).await;
    assert!(client.line().await.starts_with("a OK "));

    site.identity.renew();
    program.signal(Signal::HUP);
    eventually(|| program.told().contains("the certificate was reloaded")).await;
    program.client().await.secure(&site.identity).await.unwrap();
    client.say("b NOOP\r\n").await;
    assert_eq!(client.line().await, "b OK done", "nobody was interrupted");

    program.signal(Signal::TERM);
    assert_eq!(client.rest().await, b"* BYE Going down, please connect again\r\n");
    let ended = timeout(PATIENCE, program.child.wait()).await.expect("an end in time").unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(site.broker.memory().reports.iter().any(|report| report.ended));
}

#[tokio::test]
async fn the_log_is_json_and_holds_no_secret_even_at_its_most_talkative() {
    let site = Site::new().await;
    site.broker.memory().denial = denial(DenialClass::BadCredential);
    let program = site.start().await;
    for (login, answer) in [
        ("a LOGIN ann@example.com pw-marker\r\n".to_owned(), "a NO "),
        // "\0ann@example.com\0tb_good"
        ("a AUTHENTICATE PLAIN AGFubkBleGFtcGxlLmNvbQB0Yl9nb29k\r\n".to_owned(), "a OK "),
    ] {
        let mut client = program.client().await.secure(&site.identity).await.unwrap();
        client.line().await;
        client.say(&login).await;
        let said = client.line().await;
        assert!(said.starts_with(answer), "{said}");
    }
    assert!(site.server.heard.lock().unwrap().before_login.contains(&xoauth2("tok-1")));
    eventually(|| program.told().contains("logged in")).await;
    let told = program.told();
    for line in told.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(told.contains("login refused") && told.contains("\"TRACE\""), "all of it is there");
    let sent = xoauth2("tok-1");
    for secret in [CREDENTIAL, "pw-marker", KEY, "tok-1", &sent, "AGFubkBleGFtcGxl", "dGJfZ29vZ"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}
