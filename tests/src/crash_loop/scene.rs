//! Who plays: the simulator with an app for each rotation mode, the house, and the connected accounts.
//!
//! Loopback only; gone when it is dropped. Invariant: every account of a new scene works. Next: [`super::rounds`].

use std::sync::Arc;

use anyhow::{Context, Result};
use token_broker_client::v1;
use tokio::task::JoinSet;

use super::clients::connect;
use super::fleet::{Member, Verdicts};
use super::plan::{Mode, Plan};
use crate::cast::ca::TestCa;
use crate::cast::provider::Provider;
use crate::cast::provider::settings::{Client, ClientSecret, ProviderSettings};
use crate::world::house::Plan as HousePlan;
use crate::world::{House, Operator};

/// Short, so that every other call needs a refresh.
const ACCESS_LIFE_S: i64 = 2;

/// Everything that lives through all kills.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) house: House,
    pub(super) provider: Provider,
    pub(super) fleet: Vec<Arc<Member>>,
    pub(super) verdicts: Arc<Verdicts>,
    /// The API key of the service that asks for tokens.
    pub(super) key: String,
}

impl Scene {
    /// Builds it; the broker runs.
    pub(super) async fn build(plan: &Plan) -> Result<Self> {
        let clients = plan.modes.iter().map(|mode| client_of(*mode)).collect();
        let settings = ProviderSettings {
            seed: Some(plan.seed),
            clients,
            access_life_s: ACCESS_LIFE_S,
            ..ProviderSettings::default()
        };
        let provider = Provider::start(settings).await?;
        let of_house = HousePlan {
            engine: plan.engine,
            log: "warn".to_owned(),
            adapters: false,
            folder: plan.folder.clone(),
            ..HousePlan::default()
        };
        let house = House::start(of_house, &TestCa::generate()?).await?;
        let operator = house.operator().await?;
        for mode in &plan.modes {
            register(&operator, *mode, provider.issuer()).await?;
        }
        let right = v1::Right {
            accounts: Some(v1::AccountSelector { all: true, ..Default::default() }),
            audiences: vec!["mail".to_owned()],
            ..Default::default()
        };
        let service = v1::CallerRole::Service;
        let (_, key) = operator.caller("load", service, |it| it.rights = vec![right]).await?;
        let fleet = enlist(plan, &operator).await?;
        Ok(Self { house, provider, fleet, verdicts: Arc::default(), key })
    }

    /// Makes the simulator slow as in life, or as quick as it can be.
    pub(super) fn set_slow(&self, slow: bool) {
        self.provider.change(|settings| {
            let [before, after] = if slow { [5, 15] } else { [0, 0] };
            settings.latency_ms = before;
            settings.latency_jitter_ms = before * 3;
            settings.answer_latency_ms = after;
            settings.answer_jitter_ms = after * 4;
        });
    }
}

fn client_of(mode: Mode) -> Client {
    Client {
        id: mode.name().to_owned(),
        secrets: vec![ClientSecret::valid("cs-of-the-crash-loop")],
        rotation: Some(mode.rotation()),
        ..Client::default()
    }
}

async fn register(operator: &Operator, mode: Mode, issuer: &str) -> Result<()> {
    let app = v1::App {
        preset: "generic-oidc".to_owned(),
        authority: issuer.to_owned(),
        client_id: mode.name().to_owned(),
        extra_scopes: vec!["mail".to_owned()],
        rotation: mode.word().into(),
        ..Default::default()
    };
    let ask = v1::CreateAppRequest {
        app_id: mode.name().to_owned(),
        app: Some(app),
        client_secret: "cs-of-the-crash-loop".to_owned(),
        ..Default::default()
    };
    let admin = operator.admin();
    admin.ask(admin.apps().create_app(ask)).await.context("register an app")?;
    Ok(())
}

async fn enlist(plan: &Plan, operator: &Operator) -> Result<Vec<Arc<Member>>> {
    let mut connecting = JoinSet::new();
    for &mode in &plan.modes {
        for number in 0..plan.accounts {
            let (operator, mailbox) =
                (operator.clone(), format!("{}-{number}@example.test", mode.name()));
            connecting.spawn(async move {
                connect(&operator, mode.name(), &mailbox).await?;
                let name = operator.account(&mailbox).await?.name;
                anyhow::Ok(Arc::new(Member::new(mode, mailbox, name)))
            });
        }
    }
    let mut fleet: Vec<Arc<Member>> =
        connecting.join_all().await.into_iter().collect::<Result<_>>()?;
    fleet.sort_by_key(|member| (member.mode, member.mailbox.clone()));
    Ok(fleet)
}
