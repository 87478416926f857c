//! The canary scan: no secret shows at rest, in a log, a metric or an error (promise P7).
//!
//! Every secret in this world is known: the provider's tokens carry marks, keys and passwords are read back from the answers
//! that showed them once. Everything is exercised, failures too, with logs at their loudest; then all that stayed behind is
//! searched in every form of `e2e::leaks`. A planted leak shows that the search finds one.

use std::path::Path;

use anyhow::{Context, Result};
use e2e::cast::provider::faults::Rule;
use e2e::cast::provider::settings::ClientSecret;
use e2e::leaks::{Leak, Marked, find};
use e2e::world::command::Program;
use e2e::world::{ALICE, APP, Application, BOB, Client, Engine, Owner, World, letter};
use token_broker_client::v1;

const CLIENT_SECRET: &str = "canary-client-secret/+&=?\"7f3a9c51d2";
const NEXT_SECRET: &str = "canary-next-client-secret/+&=?\"0b64e8aa19";

/// A world and all the secrets in it.
struct Aviary {
    world: World,
    secrets: Vec<Marked>,
}

impl Aviary {
    async fn new(engine: Engine) -> Result<Self> {
        let application = Application::start().await?;
        let returns = vec![application.return_uri()];
        let world = World::builder()
            .engine(engine)
            .log("trace")
            .provider(|provider| {
                "canary-access-".clone_into(&mut provider.access_prefix);
                "canary-refresh-".clone_into(&mut provider.refresh_prefix);
                provider.clients[0].secrets =
                    vec![ClientSecret::valid(CLIENT_SECRET), ClientSecret::valid(NEXT_SECRET)];
            })
            .app(|app| app.return_uris = returns)
            .start()
            .await?;
        let mut aviary = Self { world, secrets: Vec::new() };
        aviary.mark("client secret", CLIENT_SECRET);
        aviary.mark("next client secret", NEXT_SECRET);
        for file in ["admin.key", "imap.key", "smtp.key", "kek"] {
            let bytes = std::fs::read(aviary.world.house.folder().join(file))?;
            aviary.mark(file, bytes.trim_ascii());
        }
        aviary.consents(&application).await?;
        Ok(aviary)
    }

    fn mark(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.secrets.push(Marked::new(name, value.as_ref()));
        // A key's secret part alone would be enough for a thief.
        let text = String::from_utf8_lossy(value.as_ref()).into_owned();
        if let ["tb" | "tbk", _, secret, _] = text.split('_').collect::<Vec<_>>()[..] {
            self.secrets.push(Marked::new(&format!("{name}, secret part"), secret));
        }
    }

    async fn consents(&mut self, application: &Application) -> Result<()> {
        let world = &self.world;
        let invitation = world.operator.invite(APP, ALICE).await?;
        let mut owner = Owner::of(ALICE)?;
        let page = owner.accept(&invitation.uri).await?;
        let mut links = vec![("invitation", invitation.uri)];
        let codes = page.hops.iter().flat_map(|url| url.query_pairs().into_owned());
        let secret = |(name, _): &(String, String)| ["code", "state"].contains(&name.as_str());
        let codes: Vec<_> = codes.filter(secret).collect();
        owner.browser().open(page.hops.last().context("no hop")?.as_str()).await?;
        let ask = v1::CreateConsentRequest {
            app: APP.to_owned(),
            mode: v1::ConsentMode::Application.into(),
            return_uri: application.return_uri(),
            ..Default::default()
        };
        let admin = world.operator.admin();
        let consent = admin.ask(admin.consents().create_consent(ask)).await?;
        Owner::of(BOB)?.accept(&consent.uri).await?;
        let code = application.last_visit()?["code"].clone();
        for code in ["wrong", &code] {
            let ask =
                v1::FinishConsentRequest { name: consent.name.clone(), code: code.to_owned() };
            drop(admin.ask(admin.consents().finish_consent(ask)).await);
        }
        links.push(("application", consent.uri));
        drop(
            Owner::of(BOB)?
                .accept(&world.operator.invite(APP, "carol@example.test").await?.uri)
                .await,
        );
        drop(Owner::of(BOB)?.deny(&world.operator.invite(APP, BOB).await?.uri).await);
        for (name, link) in links {
            let ticket = link.rsplit('/').next().context("no ticket")?.to_owned();
            self.mark(&format!("{name} link"), ticket);
        }
        self.mark("one-time code", code);
        for (name, value) in codes {
            self.mark(&format!("consent {name}"), value);
        }
        Ok(())
    }

    /// Logins, submissions, rotations and every failure on the way.
    async fn exercise(&mut self) -> Result<()> {
        let account = self.world.operator.account(ALICE).await?;
        let operator = self.world.operator.clone();
        let (credential, password) = operator.credential(&account.name, |_| {}).await?;
        self.mark("password", &password);
        let role = v1::CallerRole::Service;
        let (_, key) = operator.caller("crm", role, all_mail).await?;
        self.mark("service key", &key);
        let client = Client::new(&self.world.house, ALICE, &password)?;
        let service = self.world.tokens(&key).await?;
        service.access_token(ALICE).await?;
        client.curl_imap("").await?.ok()?;
        client.curl_smtp(ALICE, &letter(ALICE, ALICE, "canary")).await?.ok()?;
        let wrong = format!("{password}x");
        self.mark("mistyped password", &wrong);
        drop(Client::new(&self.world.house, ALICE, &wrong)?.curl_imap("").await?);
        drop(self.world.tokens(&format!("{key}x")).await?.access_token(ALICE).await);
        let ask = v1::RotateCredentialRequest { name: credential.name.clone(), overlap: None };
        let admin = operator.admin();
        let rotated = admin.ask(admin.credentials().rotate_credential(ask)).await?;
        self.mark("rotated password", rotated.secret);
        let ask = v1::AddAppSecretRequest {
            name: format!("projects/default/apps/{APP}"),
            client_secret: NEXT_SECRET.to_owned(),
            ..Default::default()
        };
        admin.ask(admin.apps().add_app_secret(ask)).await?;
        operator.ctl(&["app", "verify", APP]).await?;
        self.fail(&client).await?;
        self.world.house.crash().await?;
        client.curl_imap("").await?.ok()?;
        operator.revoke_credential(&credential.name).await?;
        drop(client.curl_imap("").await?);
        operator.ctl(&["account", "revoke", BOB]).await?;
        for token in self.world.provider.truth().snapshot().tokens {
            self.mark(&format!("{:?} token {}", token.kind, token.id), token.token);
        }
        Ok(())
    }

    async fn fail(&self, client: &Client) -> Result<()> {
        use e2e::cast::mailbox::settings::Trouble;
        use e2e::cast::provider::faults::Fault;
        let refresh = async || {
            let name = ALICE.to_owned();
            let ask = v1::RefreshAccountRequest { name, audience: String::new() };
            let admin = self.world.operator.admin();
            drop(admin.ask(admin.accounts().refresh_account(ask)).await);
        };
        refresh().await;
        for fault in [
            Fault::Status { status: 503, retry_after: None },
            Fault::Html,
            Fault::Truncate,
            Fault::DuplicateKeys,
            Fault::ResetAfter,
            Fault::WrongContentType,
            Fault::NoRefreshToken,
        ] {
            self.world.provider.fault(Rule::refresh(fault).times(1));
            refresh().await;
        }
        refresh().await;
        for trouble in [Trouble::Refuse, Trouble::Unavailable, Trouble::Drop, Trouble::Busy] {
            self.world.mailbox.trouble(trouble, Some(2));
            drop(client.curl_imap("").await?);
            drop(client.curl_smtp(ALICE, "x").await?);
            self.world.mailbox.end_trouble();
        }
        // The mail server refused a token, so the broker would wait before it asks for another.
        refresh().await;
        Ok(())
    }

    /// Everything that stayed behind, by name.
    async fn leavings(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let house = &self.world.house;
        let mut found = Vec::new();
        for (name, log) in house.logs() {
            found.push((format!("log of {name}"), log.into_bytes()));
        }
        let metrics = [
            ("broker", house.doors().metrics().await?),
            ("imap", house.adapter("imap")?.metrics().await?),
            ("smtp", house.adapter("smtp")?.metrics().await?),
        ];
        for (name, text) in metrics {
            found.push((format!("metrics of {name}"), text.into_bytes()));
        }
        for file in ["broker.db", "broker.db-wal", "broker.db-shm"] {
            if let Ok(bytes) = std::fs::read(house.folder().join(file)) {
                found.push((file.to_owned(), bytes));
            }
        }
        if let Some(url) = house.postgres_url() {
            found.push(("database dump".to_owned(), dump(url).await?));
            for file in files_below(&house.folder().join("pg/data"))? {
                found.push((file.display().to_string(), std::fs::read(&file).unwrap_or_default()));
            }
        }
        let audit = format!("{:?}", self.world.operator.audit().await?);
        found.push(("audit".to_owned(), audit.into_bytes()));
        Ok(found)
    }
}

fn all_mail(caller: &mut v1::Caller) {
    let accounts = Some(v1::AccountSelector { all: true, ..Default::default() });
    caller.rights =
        vec![v1::Right { accounts, audiences: vec!["mail".to_owned()], ..Default::default() }];
}

async fn dump(url: &str) -> Result<Vec<u8>> {
    let tool = std::fs::read_dir("/usr/lib/postgresql")?
        .flatten()
        .map(|version| version.path().join("bin/pg_dump"))
        .find(|path| path.is_file())
        .context("no pg_dump")?;
    Ok(Program::new(tool).arg(url).run().await?.ok()?.stdout.into_bytes())
}

/// All files below a folder, not following links.
fn files_below(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[tokio::test]
async fn t1_t15_no_secret_stays_behind_and_a_planted_one_is_found() -> Result<()> {
    for engine in Engine::each()? {
        let mut aviary = Box::pin(Aviary::new(engine)).await?;
        Box::pin(aviary.exercise()).await?;
        let leavings = aviary.leavings().await?;
        assert!(aviary.secrets.len() > 20, "{:?}", aviary.secrets);
        for (name, bytes) in &leavings {
            assert!(!name.starts_with("log") || bytes.len() > 500, "{name} is silent");
        }
        let leaks: Vec<Leak> =
            leavings.iter().flat_map(|(name, bytes)| find(&aviary.secrets, name, bytes)).collect();
        assert!(leaks.is_empty(), "{engine:?}: {leaks:#?}");
        for secret in &aviary.secrets {
            for (form, needle) in secret.forms() {
                let planted = [b"line one\nline two ".as_slice(), &needle, b" the end"].concat();
                let found = find(std::slice::from_ref(secret), "a copy", &planted);
                assert!(found.iter().any(|leak| leak.form == form), "{secret:?} as {form}");
            }
        }
        aviary.world.end().await?;
    }
    Ok(())
}
