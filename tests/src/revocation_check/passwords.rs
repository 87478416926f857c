//! Mail passwords: made, revoked, rotated without overlap, removed.
//!
//! A password that was taken never comes back; another takes its place. Next: [`super::accounts`].

use rand::RngExt;

use super::clients::Told;
use super::desk::{Change, Desk};
use super::game::When;
use super::hand::Hand;
use super::history::{Kind, Subject};
use super::stage::{Account, PASSWORDS, Password, Question, Stage, pick};

/// Sessions whose renewal is tried when their right was taken.
const RENEWED: usize = 2;

impl Desk {
    /// Makes a password and puts it in its place.
    pub(super) async fn make_a_password(&mut self, account: usize, place: usize) {
        let mailbox = self.game.stage().accounts[account].mailbox.to_string();
        let create = |hand: Hand| hand.create_credential(mailbox.clone());
        let Some((made, when)) = self.insist(Change::give("create", &[]), create).await else {
            return;
        };
        let name = made.credential.map(|it| it.name).unwrap_or_default();
        self.put_password((account, place), (&name, &made.secret), when);
    }

    pub(super) async fn revoke_a_password(&mut self) {
        let Some((account, _turn)) = self.an_account().await else { return };
        let place = self.dice.random_range(0..PASSWORDS);
        let Some((old, questions)) = self.password(account, place) else { return };
        let name = old.name.to_string();
        self.revoke_password(&old, questions).await;
        self.leave_it().await;
        if self.dice.random_range(0..2) == 0 {
            let delete = |hand: Hand| hand.delete_credential(name.clone());
            self.insist(Change::take("delete", &[old.subject]), delete).await;
        }
        self.make_a_password(account, place).await;
    }

    pub(super) async fn rotate_a_password(&mut self) {
        let Some((account, _turn)) = self.an_account().await else { return };
        let place = self.dice.random_range(0..PASSWORDS);
        let Some((old, questions)) = self.password(account, place) else { return };
        let name = old.name.to_string();
        let rotate = |hand: Hand| hand.rotate_credential(name.clone());
        let (told, when) = self.attempt(Change::take("rotate", &[old.subject]), rotate).await;
        if let Told::Done(made) = told {
            self.probe(questions);
            let name = made.credential.map(|it| it.name).unwrap_or_default();
            return self.put_password((account, place), (&name, &made.secret), when);
        }
        // Who knows whether it has a successor, which nobody knows the password of.
        self.revoke_password(&old, questions).await;
        self.make_a_password(account, place).await;
    }

    async fn revoke_password(&mut self, old: &Password, questions: Vec<Question>) {
        let name = old.name.to_string();
        let revoke = |hand: Hand| hand.revoke_credential(name.clone());
        if self.insist(Change::take("revoke", &[old.subject]), revoke).await.is_some() {
            self.probe(questions);
        }
    }

    /// What is there now, and what can be asked with it.
    fn password(&mut self, account: usize, place: usize) -> Option<(Password, Vec<Question>)> {
        let dice = &mut self.dice;
        let mut stage = self.game.stage();
        let of = stage.accounts[account].clone();
        let password = of.passwords[place].now.clone()?;
        let mut questions = renewals(&mut stage, password.subject);
        let adapter = pick(&stage.adapters, dice)?.now.clone();
        questions.extend(adapter.map(|it| stage.login_with(&it, (&of, &password), 0)));
        Some((password, questions))
    }

    fn put_password(
        &self,
        (account, place): (usize, usize),
        (name, secret): (&str, &str),
        when: When,
    ) {
        let key = name.rsplit('/').next().unwrap_or(name);
        let subject = self.game.made(Kind::Credential, key, when);
        let password = Password { subject, secret: secret.into(), name: name.into() };
        self.game.stage().accounts[account].passwords[place].put(password);
    }
}

/// Renewals of sessions that stand on this.
pub(super) fn renewals(stage: &mut Stage, subject: Subject) -> Vec<Question> {
    stage.sessions_on(subject, RENEWED).into_iter().map(Question::Renew).collect()
}

/// The passwords of an account, as far as there are any.
pub(super) fn subjects_of(account: &Account) -> Vec<Subject> {
    account.passwords.iter().filter_map(|it| it.now.as_ref()).map(|it| it.subject).collect()
}
