//! Those who ask: each for one thing at a time, at its broker, again and again, whatever is done to that broker.
//!
//! Nothing is repeated. Invariant: every call goes into the history, whatever came of it. Next: [`super::judge`].

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};
use token_broker_client::v1;
use token_broker_client::v1::access_token_outcome::Outcome;
use token_broker_client::v1::{open_session_response, renew_session_response};

use super::clients::{Broker, Key, Told, heard, heard_of, signed};
use super::game::Game;
use super::history::{Call, Heard, STANDS, Subject};
use super::stage::{Login, Opened, Question, Wanted};

/// Longer than any pause of a broker, so that calls survive one; shorter than what a broker gives a call.
const DEADLINE: Duration = Duration::from_secs(28);
/// After a call that came to nothing: what is asked of a broker that is cut off teaches little.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks until it is over.
pub(super) async fn keep_asking(game: Arc<Game>, broker: usize, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    while !game.is_over() {
        let question = game.stage().question(&mut dice);
        let heard = match question {
            Some(question) => ask(&game, broker, question).await,
            None => Heard::Unsure,
        };
        if heard == Heard::Unsure {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks once; what was heard, of several the first.
pub(super) async fn ask(game: &Game, broker: usize, question: Question) -> Heard {
    let (broker, kind, turn) = (&game.brokers[broker], question.ask(), game.number());
    let begun = game.now();
    let heard: Vec<(Heard, [Subject; STANDS])> = match question {
        Question::Tokens(key, accounts) => tokens(broker, turn, (key, accounts)).await,
        Question::Open(login) => {
            let (heard, opened) = open(broker, turn, &login).await;
            opened.into_iter().for_each(|session| game.stage().opened(session));
            vec![(heard, login.on)]
        }
        Question::Renew(session) => vec![(renew(broker, turn, &session).await, session.on)],
    };
    let ended = game.now();
    let first = heard.first().map_or(Heard::Unsure, |(heard, _)| *heard);
    game.called(heard.into_iter().map(|(heard, on)| Call {
        begun,
        ended,
        on,
        ask: kind,
        heard,
        broker: broker.number,
    }));
    first
}

async fn tokens(
    broker: &Broker,
    turn: u64,
    (key, accounts): (Key, Vec<Wanted>),
) -> Vec<(Heard, [Subject; STANDS])> {
    let one = |account: &Arc<str>| v1::GetAccessTokenRequest {
        account: account.to_string(),
        ..Default::default()
    };
    let mut client = broker.tokens(turn);
    if let [(account, on)] = &accounts[..] {
        let call = client.get_access_token(signed(&key, DEADLINE, one(account)));
        let heard = match heard(DEADLINE, call).await {
            Told::Done(_) => Heard::Granted,
            Told::Refused(_) => Heard::Refused,
            Told::Open => Heard::Unsure,
        };
        return vec![(heard, *on)];
    }
    let requests = accounts.iter().map(|(account, _)| one(account)).collect();
    let batch = v1::BatchGetAccessTokensRequest { requests };
    let call = client.batch_get_access_tokens(signed(&key, DEADLINE, batch));
    let outcomes = match heard(DEADLINE, call).await {
        Told::Done(answer) => answer.outcomes.into_iter().map(of_outcome).collect(),
        // Refused as a whole, perhaps between two tries: some may have been decided and recorded, and were not handed out.
        Told::Refused(_) | Told::Open => vec![Heard::Unsure; accounts.len()],
    };
    outcomes.into_iter().zip(accounts).map(|(heard, (_, on))| (heard, on)).collect()
}

fn of_outcome(outcome: v1::AccessTokenOutcome) -> Heard {
    match outcome.outcome {
        Some(Outcome::Token(_)) => Heard::Granted,
        Some(Outcome::Refusal(refusal)) => heard_of(refusal.reason()),
        None => Heard::Unsure,
    }
}

async fn open(broker: &Broker, turn: u64, login: &Login) -> (Heard, Option<Opened>) {
    let message = v1::OpenSessionRequest {
        protocol: login.protocol.into(),
        login_name: login.mailbox.to_string(),
        secret: login.secret.to_string(),
        client_address: "192.0.2.7".to_owned(),
        ..Default::default()
    };
    let mut client = broker.logins(turn);
    let call = client.open_session(signed(&login.key, DEADLINE, message));
    match heard(DEADLINE, call).await {
        Told::Done(answer) => match answer.outcome {
            Some(open_session_response::Outcome::Session(session)) => {
                let hash = Sha256::digest(session.secret.as_bytes()).into();
                let (id, key) = (session.session.into(), login.key.clone());
                (Heard::Granted, Some(Opened { id, key, hash, on: login.on }))
            }
            Some(open_session_response::Outcome::Denial(_)) => (Heard::Refused, None),
            None => (Heard::Unsure, None),
        },
        Told::Refused(_) => (Heard::Refused, None),
        Told::Open => (Heard::Unsure, None),
    }
}

async fn renew(broker: &Broker, turn: u64, session: &Opened) -> Heard {
    let message = v1::RenewSessionRequest {
        session: session.id.to_string(),
        rejected_secret_hash: session.hash.to_vec(),
    };
    let mut client = broker.logins(turn);
    let call = client.renew_session(signed(&session.key, DEADLINE, message));
    match heard(DEADLINE, call).await {
        Told::Done(answer) => match answer.outcome {
            Some(renew_session_response::Outcome::Session(_)) => Heard::Granted,
            Some(renew_session_response::Outcome::Denial(_)) => Heard::Refused,
            None => Heard::Unsure,
        },
        Told::Refused(_) => Heard::Refused,
        Told::Open => Heard::Unsure,
    }
}
