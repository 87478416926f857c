//! Accounts: connected, disabled and enabled, given back and connected again, removed and made anew, labelled and not.
//!
//! Whoever changes an account holds its turn. Next: [`super::callers`].

use std::sync::Arc;

use rand::RngExt;
use tokio::sync::OwnedMutexGuard;

use super::clients::Told;
use super::desk::{Change, Desk};
use super::hand::Hand;
use super::history::{Kind, Subject};
use super::passwords::{renewals, subjects_of};
use super::stage::{Account, LABELS, PASSWORDS, Question, Slot, pick};

impl Desk {
    /// Connects a new account, which has no passwords yet.
    pub(super) async fn connect(&mut self, (number, app): (usize, usize)) -> Option<Account> {
        let mailbox = format!("user-{number}@example.test");
        let (label, id) = (number % LABELS, self.game.stage().apps[app].id.clone());
        let consent = |hand: Hand| hand.consent(id.clone(), mailbox.clone(), label);
        let ((), when) = self.insist(Change::give("consent", &[]), consent).await?;
        let (subject, labelled) = (
            self.game.made(Kind::Account, &mailbox, when),
            self.game.made(Kind::Label, &mailbox, when),
        );
        let passwords = [Slot::default(), Slot::default()];
        Some(Account { mailbox: mailbox.into(), app, label, subject, labelled, passwords })
    }

    /// Makes its passwords, all of them.
    pub(super) async fn equip(&mut self, account: usize) {
        self.learn_name(account).await;
        for place in 0..PASSWORDS {
            self.make_a_password(account, place).await;
        }
    }

    /// Some account that nobody is at.
    pub(super) async fn an_account(&mut self) -> Option<(usize, OwnedMutexGuard<()>)> {
        let one = |desk: &mut Self| {
            let turns = &desk.game.turns.accounts;
            let number = desk.dice.random_range(0..turns.len());
            Some((number, Arc::clone(&turns[number]).try_lock_owned().ok()?))
        };
        self.turn(one).await
    }

    pub(super) async fn disable_an_account(&mut self) {
        let Some((account, _turn)) = self.an_account().await else { return };
        let (mailbox, subject) = self.named(account);
        let questions = self.about(account, subject);
        let disable = |hand: Hand| hand.disable_account(mailbox.clone());
        if self.insist(Change::take("disable", &[subject]), disable).await.is_some() {
            self.probe(questions);
        }
        self.leave_it().await;
        let enable = |hand: Hand| hand.enable_account(mailbox.clone());
        self.insist(Change::give("enable", &[subject]), enable).await;
    }

    pub(super) async fn revoke_an_account(&mut self) {
        let Some((account, _turn)) = self.an_account().await else { return };
        let (mailbox, subject) = self.named(account);
        let questions = self.about(account, subject);
        let revoke = |hand: Hand| hand.revoke_account(mailbox.clone());
        if self.insist(Change::take("give back", &[subject]), revoke).await.is_some() {
            self.probe(questions);
        }
        self.leave_it().await;
        self.consent_again(account).await;
    }

    pub(super) async fn delete_an_account(&mut self) {
        let Some((account, _turn)) = self.an_account().await else { return };
        let (mailbox, subject) = self.named(account);
        let mut gone = subjects_of(&self.game.stage().accounts[account]);
        gone.push(subject);
        let questions = self.about(account, subject);
        let delete = |hand: Hand| hand.delete_account(mailbox.clone());
        if self.insist(Change::take("delete", &gone), delete).await.is_some() {
            self.probe(questions);
        }
        self.leave_it().await;
        self.consent_again(account).await;
        self.equip(account).await;
    }

    pub(super) async fn unlabel_an_account(&mut self) {
        let Some((account, _turn)) = self.an_account().await else { return };
        let (mailbox, _) = self.named(account);
        let (subject, label) = {
            let of = &self.game.stage().accounts[account];
            (of.labelled, of.label)
        };
        // Sessions do not stand on it.
        let tokens = self.about(account, subject).into_iter();
        let tokens = tokens.filter(|it| matches!(it, Question::Tokens(..))).collect();
        let take = |hand: Hand| hand.label(mailbox.clone(), None);
        if self.insist(Change::take("unlabel", &[subject]), take).await.is_some() {
            self.probe(tokens);
        }
        self.leave_it().await;
        let give = |hand: Hand| hand.label(mailbox.clone(), Some(label));
        self.insist(Change::give("label", &[subject]), give).await;
    }

    /// The owner consents, which revives the account, or makes it anew with its label.
    async fn consent_again(&mut self, account: usize) {
        let of = self.game.stage().accounts[account].clone();
        let app = self.game.stage().apps[of.app].id.clone();
        let _open = Arc::clone(&self.game.turns.apps[of.app]).read_owned().await;
        let consent = |hand: Hand| hand.consent(app.clone(), of.mailbox.to_string(), of.label);
        // A new account has its label, and that counts from here on.
        self.insist(Change::give("consent", &[of.subject]), consent).await;
    }

    /// The account's id for people, as the audit has it.
    async fn learn_name(&mut self, account: usize) {
        let (mailbox, subject) = self.named(account);
        let read = |hand: Hand| hand.account(mailbox.clone());
        let mut told = Told::Open;
        while !matches!(told, Told::Done(_) | Told::Refused(_)) && !self.game.is_hopeless() {
            told = self.attempt(Change::give("look", &[]), read).await.0;
        }
        if let Told::Done(found) = told {
            let id = found.name.rsplit('/').next().unwrap_or_default().to_owned();
            self.game.stage().names.insert(id, subject);
        }
    }

    fn named(&self, account: usize) -> (String, Subject) {
        let of = &self.game.stage().accounts[account];
        (of.mailbox.to_string(), of.subject)
    }

    /// What can be asked about an account: its token, a login, renewals.
    fn about(&mut self, account: usize, subject: Subject) -> Vec<Question> {
        let dice = &mut self.dice;
        let mut stage = self.game.stage();
        let mut questions = renewals(&mut stage, subject);
        let service = pick(&stage.services, dice).and_then(|it| it.now.clone());
        questions.extend(service.map(|it| stage.token(&it, &[account])));
        let adapter = pick(&stage.adapters, dice).and_then(|it| it.now.clone());
        questions.extend(adapter.and_then(|it| stage.login(&it, account, dice)));
        questions
    }
}
