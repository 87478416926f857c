//! Whatever is withdrawn, in whatever order: no way to a token that leads over it stays open, and no other is shut (threat
//! T38).
//!
//! Random walks over a tree of app, accounts, credentials, services and adapters, beside a model of a few lines. What the
//! model allows has to work, so that a broker which refuses everything does not pass.

use anyhow::{Context, Result};
use e2e::world::{ALICE, APP, BOB, Engine, World};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use token_broker_client::v1::{CallerRole, MailProtocol};
use token_broker_client::{MailLogin, Options, TokenBroker, Verdict, v1};

use std::time::Duration;

const MAILBOXES: [&str; 2] = [ALICE, BOB];
const STEPS: usize = 14;
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that can be withdrawn, by its number.
#[derive(Clone, Copy, Debug)]
enum Node {
    App,
    Account(usize),
    Credential(usize),
    Service(usize),
    Adapter(usize),
}

/// Of a credential: name, password, whose it is, whether it is good.
struct Password {
    name: String,
    secret: String,
    account: usize,
    good: bool,
}

struct Tree {
    world: World,
    app: bool,
    /// Switched on, and not revoked.
    accounts: [(bool, bool); 2],
    passwords: Vec<Password>,
    services: Vec<(TokenBroker, bool)>,
    adapters: Vec<(MailLogin, bool)>,
}

impl Tree {
    async fn grow(engine: Engine) -> Result<Self> {
        let world = World::builder().engine(engine).without_adapters().start().await?;
        let (mut passwords, mut services, mut adapters) = (Vec::new(), Vec::new(), Vec::new());
        for (account, mailbox) in MAILBOXES.iter().enumerate() {
            let name = world.connect(mailbox).await?.name;
            for _ in 0..2 {
                let (made, secret) = world.operator.credential(&name, |_| {}).await?;
                passwords.push(Password { name: made.name, secret, account, good: true });
            }
        }
        for number in 0..2 {
            services.push((world.service(&format!("crm-{number}")).await?, true));
            let imap = |it: &mut v1::Caller| it.protocols = vec![MailProtocol::Imap.into()];
            let (_, key) =
                world.operator.caller(&format!("door-{number}"), CallerRole::Adapter, imap).await?;
            let options = Options::new(format!("http://{}", world.house.doors().grpc)).api_key(key);
            adapters.push((MailLogin::connect(options).await?, true));
        }
        let accounts = [(true, true); 2];
        Ok(Self { world, app: true, accounts, passwords, services, adapters })
    }

    fn any(&self, dice: &mut StdRng) -> Node {
        match dice.random_range(0..8) {
            0 => Node::App,
            1 | 2 => Node::Account(dice.random_range(0..self.accounts.len())),
            3..=5 => Node::Credential(dice.random_range(0..self.passwords.len())),
            6 => Node::Service(dice.random_range(0..self.services.len())),
            _ => Node::Adapter(dice.random_range(0..self.adapters.len())),
        }
    }

    /// Withdraws it, or gives it back if it is withdrawn and can be.
    async fn turn(&mut self, node: Node, for_good: bool) -> Result<()> {
        let operator = &self.world.operator;
        match node {
            Node::App => {
                self.app = !self.app && !for_good;
                let turn = if self.app { "--enable" } else { "--disable" };
                operator.ctl(&["app", "update", APP, turn]).await?;
            }
            Node::Account(number) => {
                let (mailbox, (on, granted)) = (MAILBOXES[number], &mut self.accounts[number]);
                if for_good {
                    *granted = false;
                    operator.ctl(&["account", "revoke", mailbox]).await?;
                } else {
                    *on = !*on;
                    let turn = if *on { "enable" } else { "disable" };
                    operator.ctl(&["account", turn, mailbox]).await?;
                }
            }
            Node::Credential(number) => {
                let password = &mut self.passwords[number];
                password.good = false;
                operator.revoke_credential(&password.name).await?;
            }
            Node::Service(number) => {
                self.services[number].1 = false;
                operator.ctl(&["caller", "revoke", &format!("crm-{number}")]).await?;
            }
            Node::Adapter(number) => {
                self.adapters[number].1 = false;
                operator.ctl(&["caller", "revoke", &format!("door-{number}")]).await?;
            }
        }
        Ok(())
    }

    /// Tries every way to a token; how many are open.
    async fn check(&self, told: &str) -> Result<usize> {
        let mut open = 0;
        let good = |account: usize| self.app && self.accounts[account] == (true, true);
        for (number, (service, live)) in self.services.iter().enumerate() {
            for (account, mailbox) in MAILBOXES.iter().enumerate() {
                let got = service.access_token(*mailbox).await.is_ok();
                assert_eq!(got, *live && good(account), "{told}: crm-{number} for {mailbox}");
                open += usize::from(got);
            }
        }
        for (number, (door, live)) in self.adapters.iter().enumerate() {
            for password in &self.passwords {
                let login = v1::OpenSessionRequest {
                    protocol: MailProtocol::Imap.into(),
                    login_name: MAILBOXES[password.account].to_owned(),
                    secret: password.secret.clone(),
                    client_address: "192.0.2.7".to_owned(),
                    ..Default::default()
                };
                let answer = door.open_session(login, PATIENCE).await;
                let got = matches!(answer, Ok(Verdict::Session(_)));
                let may = *live && password.good && good(password.account);
                assert_eq!(got, may, "{told}: door-{number}, {}: {answer:?}", password.name);
                open += usize::from(got);
            }
        }
        Ok(open)
    }

    /// Everything that is still good.
    fn left(&self) -> Vec<Node> {
        let good = |all: Vec<bool>| (0..).zip(all).filter(|(_, good)| *good).map(|(at, _)| at);
        let of = |all: &[(TokenBroker, bool)]| all.iter().map(|(_, good)| *good).collect();
        let mut left: Vec<Node> = good(of(&self.services)).map(Node::Service).collect();
        left.extend(good(self.passwords.iter().map(|it| it.good).collect()).map(Node::Credential));
        left.extend(good(self.accounts.iter().map(|it| it.1).collect()).map(Node::Account));
        left
    }
}

#[tokio::test]
async fn t38_whatever_is_withdrawn_in_whatever_order_leaves_no_way_to_a_token_and_shuts_no_other()
-> Result<()> {
    for (seed, engine) in (38..).zip(Engine::each()?) {
        let (mut tree, mut dice) = (Tree::grow(engine).await?, StdRng::seed_from_u64(seed));
        let mut told = format!("{engine:?}");
        let all = tree.check(&told).await?;
        assert_eq!(all, 4 + 8, "every way is open at first");
        for _ in 0..STEPS {
            let node = tree.any(&mut dice);
            told.push_str(&format!(", {node:?}"));
            tree.turn(node, false).await.with_context(|| told.clone())?;
            tree.check(&told).await?;
        }
        if !tree.app {
            tree.turn(Node::App, false).await?;
        }
        let mut left = tree.left();
        while !left.is_empty() {
            let node = left.swap_remove(dice.random_range(0..left.len()));
            told.push_str(&format!(", {node:?} for good"));
            tree.turn(node, true).await.with_context(|| told.clone())?;
            tree.check(&told).await?;
        }
        assert_eq!(tree.check(&told).await?, 0, "{told}");
        tree.world.end().await?;
    }
    Ok(())
}
