//! What an account says of itself, case by case.

use std::collections::BTreeMap;

use super::*;
use crate::domain::app::{Endpoints, Rotation};
use crate::domain::chart::samples::{attempt, chart};
use crate::domain::ids::{AccountId, AppId, AppSecretId, Mailbox, ResourceId};
use crate::domain::refresh::samples::{HOUR, at};
use crate::domain::refresh::{Doubt, Lease, Rules};
use crate::domain::secret::Sealed;
use crate::entropy::Entropy;

/// Everything a case is made of.
struct Room {
    account: Account,
    app: App,
    secrets: Vec<AppSecret>,
    endpoint: Option<EndpointState>,
    chart: Chart,
}

impl Room {
    /// An account that works, at second 100.
    fn new(rotation: Rotation) -> Self {
        let entropy = Entropy::seeded(1);
        let app = an_app(&entropy);
        Self {
            account: an_account(&entropy, app.id),
            app,
            secrets: Vec::new(),
            endpoint: None,
            chart: chart(rotation, at(100)),
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let Self { account, app, secrets, endpoint, chart } = self;
        diagnose(Case { account, app, secrets, endpoint: endpoint.as_ref(), chart })
    }

    /// The one finding with these words.
    fn finds(&self, words: &str) -> Finding {
        let all = self.findings();
        let mut fit = all.iter().filter(|finding| finding.text.contains(words));
        let one = fit.next().unwrap_or_else(|| panic!("no {words:?} in {all:#?}"));
        assert!(fit.next().is_none(), "{words:?} twice in {all:#?}");
        one.clone()
    }

    fn worst(&self) -> Severity {
        self.findings()[0].severity
    }

    fn doubts(mut self) -> Self {
        self.chart.ledger.doubts = vec![Doubt { generation: 1, since: at(50) }];
        self.chart.attempts = vec![attempt(1, "gone", at(50))];
        self
    }

    fn secret(&mut self, active: bool, expires_at: Option<Time>) {
        self.secrets.push(AppSecret {
            id: AppSecretId::new(at(0), &Entropy::seeded(9)),
            app: self.app.id,
            sealed: Sealed::from_bytes(vec![1]),
            active,
            created_at: at(0),
            expires_at,
        });
    }
}

fn an_app(entropy: &Entropy) -> App {
    App {
        id: AppId::new(at(0), entropy),
        project: ProjectId::default_project(),
        name: ResourceId::parse("work").unwrap(),
        display_name: String::new(),
        preset: "custom".to_owned(),
        authority: String::new(),
        client_id: "id".to_owned(),
        client_auth: None,
        endpoints: Endpoints::default(),
        base_scopes: Vec::new(),
        extra_scopes: Vec::new(),
        skip_scopes: Vec::new(),
        mail_hosts: Vec::new(),
        return_uris: Vec::new(),
        rotation: None,
        disabled: false,
        health: AppHealth::Accepted,
        version: 1,
        created_at: at(0),
        updated_at: at(0),
    }
}

fn an_account(entropy: &Entropy, app: AppId) -> Account {
    Account {
        id: AccountId::new(at(0), entropy),
        project: ProjectId::default_project(),
        name: ResourceId::parse("ann").unwrap(),
        mailbox: Mailbox::parse("ann@example.com").unwrap(),
        sasl_user: String::new(),
        display_name: String::new(),
        app,
        labels: BTreeMap::new(),
        subject: String::new(),
        authority: String::new(),
        disabled: false,
        standing: Standing::Active,
        provider_code: String::new(),
        provider_message: String::new(),
        version: 1,
        created_at: at(0),
        updated_at: at(0),
    }
}

#[test]
fn an_account_that_works_has_nothing_but_good_to_say() {
    let room = Room::new(Rotation::Strict);
    assert_eq!(room.worst(), Severity::Ok, "{:#?}", room.findings());
    room.finds("a token for mail is at hand");
    let cold = room.finds("cold");
    assert_eq!(cold.next, Some(at(54 * 24 * 3600)));
    assert!(room.findings().iter().all(|finding| finding.remedy.is_empty()));
}

#[test]
fn a_warm_account_says_when_it_is_renewed_and_a_cold_one_when_its_grant_is_used() {
    let mut room = Room::new(Rotation::None);
    room.chart.ledger.tokens[0].used_at = Some(at(90));
    let warm = room.finds("warm");
    assert!(warm.text.contains("1970-01-01T00:01:30Z"), "{}", warm.text);
    assert_eq!(warm.next, Some(at(1620)));
    room.chart.ledger.tokens[0].used_at = None;
    room.chart.rules = room.chart.rules.map(|rules| Rules { idle: None, ..rules });
    assert_eq!(room.finds("refreshed when somebody does").next, None);
}

#[test]
fn a_suspicion_says_that_it_is_not_believed_and_when_it_is_settled() {
    let mut room = Room::new(Rotation::None);
    room.chart.ledger.generations[0].refusals = 1;
    room.chart.ledger.failures = 1;
    room.chart.ledger.not_before = at(130);
    room.chart.state.code = "invalid_grant".to_owned();
    let suspicion = room.finds("has refused this grant 1 of 2 times (invalid_grant)");
    assert_eq!((suspicion.severity, suspicion.next), (Severity::Warning, Some(at(130))));
    assert!(suspicion.text.contains("at 1970-01-01T00:02:10Z"), "{}", suspicion.text);
    assert_eq!(room.worst(), Severity::Warning);
    assert!(!room.findings().iter().any(|it| it.text.contains("tries failed")), "one voice");
}

#[test]
fn an_interrupted_refresh_at_a_strict_provider_is_in_doubt_until_the_token_is_used_up() {
    let room = Room::new(Rotation::Strict).doubts();
    let doubt = room.finds("in doubt");
    assert_eq!((doubt.severity, doubt.next), (Severity::Warning, Some(at(3540))));
    assert!(doubt.remedy.contains("brokerctl account refresh ann"), "{}", doubt.remedy);
    let mut later = Room::new(Rotation::Strict).doubts();
    later.chart.ledger.tokens.clear();
    assert!(later.finds("in doubt").text.contains("with the next request"), "nothing to lose");
}

#[test]
fn an_interrupted_refresh_that_may_be_sent_again_is_no_more_than_a_notice() {
    for rotation in [Rotation::None, Rotation::Replace] {
        let room = Room::new(rotation).doubts();
        assert_eq!(room.finds("nothing is lost").severity, Severity::Notice, "{rotation:?}");
    }
    let grace = Room::new(Rotation::Grace).doubts();
    assert!(grace.finds("in doubt").text.contains("which is over"));
}

#[test]
fn what_this_process_has_under_way_is_no_reason_to_worry() {
    let mut room = Room::new(Rotation::Strict).doubts();
    room.chart.attempts = vec![attempt(1, "here", at(50))];
    let left = Duration::from_secs(9);
    room.chart.state.lease = Lease { owner: "here".to_owned(), fence: 1, left };
    assert_eq!(room.worst(), Severity::Notice);
    room.finds("a refresh is under way in here, for at most 9 s more");
}

#[test]
fn a_refused_app_is_to_blame_and_its_ended_secret_names_the_cure() {
    let mut room = Room::new(Rotation::None);
    room.app.health = AppHealth::Rejected { since: at(40), code: "invalid_client".to_owned() };
    room.chart.ledger.app = AppGate::Rejected { until: at(200), refusals: 3 };
    room.secret(true, Some(at(60)));
    let refused = room.finds("refuses the app work");
    assert_eq!((refused.severity, refused.next), (Severity::Error, Some(at(200))));
    assert!(refused.text.contains("(invalid_client)") && refused.text.contains("unharmed"));
    let ended = room.finds("the client secret of the app work ended at 1970-01-01T00:01:00Z");
    assert_eq!(ended.severity, Severity::Error);
    assert!(ended.remedy.contains("brokerctl app add-secret work"), "{}", ended.remedy);
    room.secret(false, None);
    let kept = room.finds("ended at").remedy;
    assert!(kept.contains("brokerctl app activate-secret work"), "{kept}");
}

#[test]
fn a_secret_that_ends_soon_is_told_of_in_time() {
    let mut room = Room::new(Rotation::None);
    room.secret(true, Some(at(100).after(29 * 24 * HOUR)));
    assert_eq!(room.finds("ends at").severity, Severity::Warning);
    room.secrets.clear();
    room.secret(true, Some(at(100).after(31 * 24 * HOUR)));
    assert_eq!(room.worst(), Severity::Ok);
}

#[test]
fn a_silence_and_an_endpoint_that_is_away_pass_by_themselves() {
    let mut room = Room::new(Rotation::None);
    room.chart.ledger.app = AppGate::Throttled { until: at(160) };
    room.endpoint = Some(EndpointState {
        endpoint: "id.example:443/token".to_owned(),
        failures: 6,
        shut_until: Some(at(130)),
    });
    assert_eq!(room.finds("for silence").next, Some(at(160)));
    assert_eq!(room.finds("id.example:443/token does not answer").next, Some(at(130)));
    assert_eq!(room.worst(), Severity::Warning);
    room.chart.ledger.app = AppGate::Throttled { until: at(99) };
    assert!(!room.findings().iter().any(|it| it.text.contains("silence")), "it is over");
}

#[test]
fn whoever_has_to_act_is_named_with_the_providers_words() {
    for (standing, words, remedy) in [
        (Standing::Pending, "first consent", "account invite --app work --account ann"),
        (Standing::NeedsConsent, "consent again; the provider says E1: gone", "account invite"),
        (Standing::NeedsInteraction, "in a browser; the provider says E1: gone", "sign in"),
        (Standing::BlockedByPolicy, "a policy", "administrator"),
        (Standing::Revoked, "has not confirmed", "account invite"),
    ] {
        let mut room = Room::new(Rotation::None);
        room.account.standing = standing;
        room.account.provider_code = "E1".to_owned();
        room.account.provider_message = "gone".to_owned();
        let finding = room.finds(words);
        assert_eq!(finding.severity, Severity::Error, "{standing:?}");
        assert!(finding.remedy.contains(remedy), "{standing:?}: {}", finding.remedy);
        assert!(!room.findings().iter().any(|it| it.text.contains("cold")), "{standing:?}");
    }
    let mut told = Room::new(Rotation::None);
    told.account.standing = Standing::Revoked;
    told.chart.ledger.generations.clear();
    assert!(told.finds("given back").remedy.contains("account invite"));
}

#[test]
fn what_is_switched_off_here_is_said_first() {
    let mut room = Room::new(Rotation::None);
    room.account.disabled = true;
    room.app.disabled = true;
    let all = room.findings();
    assert_eq!(
        (all.len(), all[0].severity, all[1].severity),
        (2, Severity::Error, Severity::Error)
    );
    assert_eq!(all[0].remedy, "brokerctl account enable ann");
    assert_eq!(all[1].remedy, "brokerctl app update work --enable");
}

#[test]
fn a_grant_of_which_nothing_is_left_needs_its_owner() {
    let mut room = Room::new(Rotation::None);
    room.chart.ledger.generations[0].usable = false;
    assert_eq!(room.finds("no refresh token is left").severity, Severity::Error);
}

#[test]
fn failures_a_late_schedule_and_a_refused_token_are_warnings() {
    let mut room = Room::new(Rotation::None);
    room.chart.ledger.failures = 4;
    room.chart.state.class = "transient".to_owned();
    room.chart.state.code = "503".to_owned();
    room.chart.state.due_at = Some(at(10));
    room.chart.ledger.tokens[0].rejected = true;
    room.finds("the last 4 tries failed: transient (503)");
    room.finds("is due since 1970-01-01T00:00:10Z and not done");
    room.finds("the token for mail is refused where it was used");
    assert_eq!(room.worst(), Severity::Warning);
}

#[test]
fn another_projects_commands_name_it() {
    let mut room = Room::new(Rotation::None);
    room.account.project = ProjectId::parse("sales").unwrap();
    room.account.disabled = true;
    assert_eq!(room.findings()[0].remedy, "brokerctl account enable ann --project sales");
}

#[test]
fn settings_that_no_longer_fit_are_named_and_hide_nothing_else() {
    let mut room = Room::new(Rotation::None);
    room.chart.rules = None;
    assert_eq!(room.finds("do not fit together").severity, Severity::Error);
    room.finds("a token for mail is at hand");
}
