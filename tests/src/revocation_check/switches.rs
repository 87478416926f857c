//! Apps switched off and on, and single sessions ended.
//!
//! Next: [`super::rounds`].

use std::sync::Arc;

use rand::RngExt;

use super::desk::{Change, Desk};
use super::game::When;
use super::hand::Hand;
use super::history::{Kind, Place};
use super::passwords::renewals;
use super::stage::{Question, pick};

impl Desk {
    pub(super) async fn disable_an_app(&mut self) {
        let one = |desk: &mut Self| {
            let number = desk.dice.random_range(0..desk.game.turns.apps.len());
            let turn = Arc::clone(&desk.game.turns.apps[number]).try_write_owned().ok()?;
            Some((number, turn))
        };
        let Some((number, _turn)) = self.turn(one).await else { return };
        let app = self.game.stage().apps[number].clone();
        let questions = self.of_app(number);
        let disable = |hand: Hand| hand.switch_app(app.id.clone(), true);
        if self.insist(Change::take("switch off", &[app.subject]), disable).await.is_some() {
            self.probe(questions);
        }
        self.leave_it().await;
        let enable = |hand: Hand| hand.switch_app(app.id.clone(), false);
        self.insist(Change::give("switch on", &[app.subject]), enable).await;
    }

    pub(super) async fn end_a_session(&mut self) {
        let one = |desk: &mut Self| desk.game.stage().sessions.pop_back();
        let Some(mut session) = self.turn(one).await else { return };
        let subject = self.game.made(Kind::Session, &session.id, When::start());
        session.on[Place::Session as usize] = subject;
        let id = session.id.to_string();
        let end = |hand: Hand| hand.end_session(id.clone());
        if self.insist(Change::take("end", &[subject]), end).await.is_some() {
            self.probe(vec![Question::Renew(session)]);
        }
    }

    /// What can be asked of an app's accounts.
    fn of_app(&mut self, app: usize) -> Vec<Question> {
        let dice = &mut self.dice;
        let mut stage = self.game.stage();
        let subject = stage.apps[app].subject;
        let mut questions = renewals(&mut stage, subject);
        let accounts = (0..stage.accounts.len()).filter(|at| stage.accounts[*at].app == app);
        let accounts: Vec<usize> = accounts.collect();
        let Some(&account) = pick(&accounts, dice) else { return questions };
        let service = pick(&stage.services, dice).and_then(|it| it.now.clone());
        questions.extend(service.map(|it| stage.token(&it, &[account])));
        let adapter = pick(&stage.adapters, dice).and_then(|it| it.now.clone());
        questions.extend(adapter.and_then(|it| stage.login(&it, account, dice)));
        questions
    }
}
