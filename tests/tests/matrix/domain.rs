//! The domain's decisions against the model.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use token_broker::clock::Time;
use token_broker::domain::account::{Account, Standing};
use token_broker::domain::caller::{CallClass, Caller, Right, Role, Selector};
use token_broker::domain::ids::{AccountId, AppId, CallerId, Mailbox, ProjectId, ResourceId};
use token_broker::domain::mail::MailProtocol;

use super::model::{Call, Mail, Paper, Person, call, mail, may, person};

const CASES: u32 = 100_000;

fn texts(from: &[&str]) -> Vec<String> {
    from.iter().map(|&text| text.to_owned()).collect()
}

fn pairs<'a>(
    from: &'a std::collections::BTreeMap<&str, &str>,
) -> impl Iterator<Item = (String, String)> + 'a {
    from.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
}

fn right(paper: &Paper) -> Right {
    let class =
        |class: &&str| if *class == "tokens" { CallClass::Tokens } else { CallClass::Status };
    Right {
        accounts: Selector {
            all: paper.all,
            accounts: texts(&paper.ids),
            domains: texts(&paper.domains),
            labels: pairs(&paper.labels).collect(),
        },
        audiences: texts(&paper.audiences),
        calls: paper.calls.iter().map(class).collect(),
        scopes: texts(&paper.scopes),
    }
}

fn protocol(word: &str) -> MailProtocol {
    MailProtocol::parse(word).unwrap()
}

fn caller(person: &Person) -> Caller {
    Caller {
        id: CallerId::from_bytes([1; 16]),
        project: ProjectId::parse(person.project).unwrap(),
        name: ResourceId::parse("crm").unwrap(),
        display_name: String::new(),
        role: Role::parse(person.role).unwrap(),
        rights: person.rights.iter().map(right).collect(),
        protocols: person.protocols.iter().map(|word| protocol(word)).collect(),
        ip_ranges: person
            .networks
            .iter()
            .map(|net| format!("{net}.0.0.0/8").parse().unwrap())
            .collect(),
        identities: Vec::new(),
        min_interval: Duration::ZERO,
        revoked_at: person.revoked.then_some(Time::from_millis(1)),
        version: 1,
        created_at: Time::from_millis(0),
    }
}

fn account(mail: &Mail) -> Account {
    Account {
        id: AccountId::from_bytes([2; 16]),
        project: ProjectId::parse(mail.project).unwrap(),
        name: ResourceId::parse(mail.id).unwrap(),
        mailbox: Mailbox::parse(&format!("{}@{}", mail.id, mail.domain)).unwrap(),
        sasl_user: String::new(),
        display_name: String::new(),
        app: AppId::from_bytes([3; 16]),
        labels: pairs(&mail.labels).collect(),
        subject: String::new(),
        authority: String::new(),
        disabled: false,
        standing: Standing::Active,
        provider_code: String::new(),
        provider_message: String::new(),
        version: 1,
        created_at: Time::from_millis(0),
        updated_at: Time::from_millis(0),
    }
}

/// What the broker decides, in the order in which its doors and verbs ask.
fn decided(caller: &Caller, account: &Account, call: &Call, from: u8) -> bool {
    let at_the_door = caller.may_call_from(IpAddr::V4(Ipv4Addr::new(from, 1, 2, 3)));
    at_the_door
        && match call {
            Call::Token { audience, scopes } => {
                let permit = caller.may_use(account, audience);
                caller.may_ask_for_tokens().is_ok()
                    && permit.is_ok_and(|permit| permit.scopes().allows(&texts(scopes)))
            }
            Call::Status { audience } => {
                caller.may_ask_for_tokens().is_ok() && caller.may_see(account, audience)
            }
            Call::Login { protocol: word } => caller.may_open_sessions().is_ok_and(|permit| {
                permit.allows(protocol(word)) && *permit.project() == account.project
            }),
            Call::Manage => caller.may_manage(&account.project).is_ok(),
            Call::ManageCallers => caller.may_manage_callers(&account.project).is_ok(),
            Call::WhoAmI => caller.may_ask_who_it_is().is_ok(),
        }
}

/// Who asks, about which account, for what, from where.
type Case = (Person, Mail, Call, u8);

/// Compares until a case differs. `sabotage` is done to what the broker sees, not to the paper.
fn compare(
    cases: u32,
    sabotage: fn(&mut Caller, &mut Account),
) -> Result<u32, Box<TestError<Case>>> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let algorithm = config.rng_algorithm;
    let rng = proptest::test_runner::TestRng::deterministic_rng(algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let allowed = std::cell::Cell::new(0);
    runner.run(&(person(), mail(), call(), 10_u8..12), |(person, mail, call, from)| {
        let (mut caller, mut account) = (caller(&person), account(&mail));
        sabotage(&mut caller, &mut account);
        let expected = may(&person, &mail, &call, from);
        allowed.set(allowed.get() + u32::from(expected));
        prop_assert_eq!(decided(&caller, &account, &call, from), expected);
        Ok(())
    })?;
    Ok(allowed.get())
}

#[test]
fn t9_the_domain_decides_as_the_model_in_a_hundred_thousand_cases() {
    let allowed = compare(CASES, |_, _| {}).unwrap_or_else(|found| panic!("{found}"));
    println!("{CASES} cases, {allowed} allowed");
    assert!(allowed > CASES / 20, "a matrix of refusals alone proves nothing: {allowed}");
}

/// A name, and what is broken.
type Mutant = (&'static str, fn(&mut Caller, &mut Account));

const BROKEN: [Mutant; 10] = [
    ("another project counts", |caller, account| account.project = caller.project.clone()),
    ("a revocation is overlooked", |caller, _| caller.revoked_at = None),
    ("networks are overlooked", |caller, _| caller.ip_ranges.clear()),
    ("an operator is an administrator", |caller, _| {
        if caller.role == Role::Operator {
            caller.role = Role::Admin;
        }
    }),
    ("labels are overlooked", |caller, _| {
        for right in &mut caller.rights {
            let all = !right.accounts.labels.is_empty();
            right.accounts.labels.clear();
            right.accounts.all |= all;
        }
    }),
    ("an empty selector is everything", |caller, _| {
        for right in &mut caller.rights {
            right.accounts.all |= right.accounts == Selector::default();
        }
    }),
    ("every audience is the one", |caller, _| {
        for right in &mut caller.rights {
            right.audiences.push("*".to_owned());
        }
    }),
    ("scopes are overlooked", |caller, _| {
        for right in &mut caller.rights {
            right.scopes.clear();
        }
    }),
    ("a right to the status is one to the token", |caller, _| {
        for right in &mut caller.rights {
            right.calls.clear();
        }
    }),
    ("an adapter may speak everything", |caller, _| {
        if caller.role == Role::Adapter {
            caller.protocols = MailProtocol::ALL.to_vec();
        }
    }),
];

#[test]
fn each_broken_rule_is_found() {
    for (name, sabotage) in BROKEN {
        let found = compare(CASES / 5, sabotage);
        let Some(TestError::Fail(_, case)) = found.as_ref().err().map(Box::as_ref) else {
            panic!("not found: {name}: {found:?}")
        };
        println!("{name}: {case:?}");
    }
}
