//! Consents on their way.
//!
//! Never the plain `state`, ticket or code: they are looked up by keyed hash. Invariant: every step is one statement that
//! names the step before it, so of two callbacks with the same `state` one finds nothing. Next: `service` walks the
//! steps, `http` shows them.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::{Error, Result};
use super::page::{Page, PageRequest};
use super::row::{Cells, json_map, row};
use crate::clock::Time;
use crate::domain::consent::{Consent, ConsentMode, ConsentState};
use crate::domain::ids::{AccountId, AppId, ConsentId, Mailbox, ProjectId, ResourceId};
use crate::domain::secret::Sealed;

row!(ConsentRow, consent_columns {
    id: Vec<u8>, project: String, name: String, app: Vec<u8>, account: Option<Vec<u8>>, account_name: String,
    labels: String, mode: String, state: String, expected_mailbox: Option<String>, requester: String,
    return_uri: String, redirect_uri: String, ticket_hash: Vec<u8>, state_hash: Vec<u8>, cookie_hash: Vec<u8>,
    finish_hash: Vec<u8>, verifier: Option<Vec<u8>>, nonce: Option<Vec<u8>>, answer: Option<Vec<u8>>,
    failure: String, created_by: String, created_at: i64, expires_at: i64,
});

statements! {
    CONSENT = concat!("select ", consent_columns!(), " from consents where id = $1");
    CONSENT_BY_NAME = concat!("select ", consent_columns!(), " from consents where project = $1 and name = $2");
    CONSENT_BY_TICKET = concat!("select ", consent_columns!(), " from consents
        where ticket_hash = $1 and length(ticket_hash) > 0");
    CONSENT_BY_STATE = concat!("select ", consent_columns!(), " from consents
        where state_hash = $1 and length(state_hash) > 0");
    OPEN_CONSENTS = concat!("select ", consent_columns!(), " from consents where project = $1 and name > $2
        and state in ('open', 'claimed', 'pending') and expires_at > $3 order by name limit $4");
    INSERT_CONSENT = concat!("insert into consents (", consent_columns!(), ") values ($1, $2, $3, $4, $5, $6, $7,
        $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)");
    CLAIM_CONSENT = concat!("update consents set state = 'claimed'
        where state_hash = $1 and length(state_hash) > 0 and state = 'open' and expires_at > $2
        returning ", consent_columns!());
    UPDATE_CONSENT = "update consents set account = $3, state = $4, redirect_uri = $5, ticket_hash = $6,
        state_hash = $7, cookie_hash = $8, finish_hash = $9, verifier = $10, nonce = $11, answer = $12,
        failure = $13, expires_at = $14 where id = $1 and state = $2";
    FORGET_CONSENTS = "delete from consents where expires_at < $1";
}

impl Conn {
    /// One, by row.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the row cannot be understood; else as every read.
    pub async fn consent(&mut self, id: ConsentId) -> Result<Option<Consent>> {
        maybe!(self, CONSENT => ConsentRow; id.bytes().to_vec())?.map(ConsentRow::read).transpose()
    }

    /// One, by the id people use.
    ///
    /// # Errors
    /// As [`consent`](Self::consent).
    pub async fn consent_by_name(
        &mut self,
        project: &ProjectId,
        name: &ResourceId,
    ) -> Result<Option<Consent>> {
        let row = maybe!(self, CONSENT_BY_NAME => ConsentRow; project.as_str(); name.as_str())?;
        row.map(ConsentRow::read).transpose()
    }

    /// The one whose link carries the secret with this keyed hash.
    ///
    /// # Errors
    /// As [`consent`](Self::consent).
    pub async fn consent_by_ticket(&mut self, hash: &[u8]) -> Result<Option<Consent>> {
        maybe!(self, CONSENT_BY_TICKET => ConsentRow; hash)?.map(ConsentRow::read).transpose()
    }

    /// The one that sent the browser away with this `state`, whatever became of it since.
    ///
    /// # Errors
    /// As [`consent`](Self::consent).
    pub async fn consent_by_state(&mut self, hash: &[u8]) -> Result<Option<Consent>> {
        maybe!(self, CONSENT_BY_STATE => ConsentRow; hash)?.map(ConsentRow::read).transpose()
    }

    /// Those of a project that something can still come of at `now`, by name.
    ///
    /// # Errors
    /// As [`consent`](Self::consent).
    pub async fn open_consents(
        &mut self,
        project: &ProjectId,
        now: Time,
        page: &PageRequest,
    ) -> Result<Page<Consent>> {
        let rows = all!(self, OPEN_CONSENTS => ConsentRow; project.as_str(); page.after(); now.millis();
            page.limit())?;
        let consents = rows.into_iter().map(ConsentRow::read).collect::<Result<Vec<_>>>()?;
        Ok(page.page(consents, |consent| consent.name.to_string()))
    }
}

impl Tx {
    /// Starts one.
    ///
    /// # Errors
    /// [`Error::Conflict`] if name, ticket or state is taken, [`Error::Dangling`] without its app or account.
    pub async fn insert_consent(&mut self, it: &Consent) -> Result<()> {
        run!(self, INSERT_CONSENT; it.id.bytes().to_vec(); it.project.as_str(); it.name.as_str();
            it.app.bytes().to_vec(); it.account.map(|id| id.bytes().to_vec()); it.account_name.as_str();
            json_map(&it.labels); it.mode.as_str(); it.state.as_str();
            it.expected_mailbox.as_ref().map(Mailbox::as_str); it.requester.as_str(); it.return_uri.as_str();
            it.redirect_uri.as_str(); it.ticket_hash.as_slice(); it.state_hash.as_slice();
            it.cookie_hash.as_slice(); it.finish_hash.as_slice(); bytes(&it.verifier); bytes(&it.nonce);
            bytes(&it.answer); it.failure.as_str(); it.created_by.as_str(); it.created_at.millis();
            it.expires_at.millis())
        .map(drop)
    }

    /// Takes the one consent that waits for this `state`, and marks it so that no other callback can.
    ///
    /// `None` if there is none, it was used, cancelled or has ended by `now`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the row cannot be understood; else as every write.
    pub async fn claim_consent(&mut self, state_hash: &[u8], now: Time) -> Result<Option<Consent>> {
        let row = maybe!(self, CLAIM_CONSENT => ConsentRow; state_hash; now.millis())?;
        row.map(ConsentRow::read).transpose()
    }

    /// The next step: writes what changes on the way, if the consent is still in the state `from`.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is not: another step came first.
    pub async fn move_consent(&mut self, it: &Consent, from: ConsentState) -> Result<()> {
        let moved = run!(self, UPDATE_CONSENT; it.id.bytes().to_vec(); from.as_str();
            it.account.map(|id| id.bytes().to_vec()); it.state.as_str(); it.redirect_uri.as_str();
            it.ticket_hash.as_slice(); it.state_hash.as_slice(); it.cookie_hash.as_slice();
            it.finish_hash.as_slice(); bytes(&it.verifier); bytes(&it.nonce); bytes(&it.answer);
            it.failure.as_str(); it.expires_at.millis())?;
        if moved == 1 { Ok(()) } else { Err(Error::Stale { what: "consents" }) }
    }

    /// Forgets consents that ended by themselves before `time`, with the answers they may hold.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_consents(&mut self, time: Time) -> Result<u64> {
        run!(self, FORGET_CONSENTS; time.millis())
    }
}

fn bytes(sealed: &Option<Sealed>) -> Option<&[u8]> {
    sealed.as_ref().map(Sealed::as_bytes)
}

impl ConsentRow {
    fn read(self) -> Result<Consent> {
        let at = Cells::of("consents", &self.id);
        let mailbox = |text: &str| Mailbox::parse(text).ok();
        let account = |id: &Vec<u8>| at.id("account", id, AccountId::from_bytes);
        let expected = self.expected_mailbox.as_ref();
        Ok(Consent {
            id: at.id("id", &self.id, ConsentId::from_bytes)?,
            project: at.text("project", &self.project, |text| ProjectId::parse(text).ok())?,
            name: at.text("name", &self.name, |text| ResourceId::parse(text).ok())?,
            app: at.id("app", &self.app, AppId::from_bytes)?,
            account: self.account.as_ref().map(account).transpose()?,
            account_name: self.account_name,
            labels: at.json("labels", &self.labels)?,
            mode: at.text("mode", &self.mode, ConsentMode::parse)?,
            state: at.text("state", &self.state, ConsentState::parse)?,
            expected_mailbox: expected
                .map(|text| at.text("expected_mailbox", text, mailbox))
                .transpose()?,
            requester: self.requester,
            return_uri: self.return_uri,
            redirect_uri: self.redirect_uri,
            ticket_hash: self.ticket_hash,
            state_hash: self.state_hash,
            cookie_hash: self.cookie_hash,
            finish_hash: self.finish_hash,
            verifier: self.verifier.map(Sealed::from_bytes),
            nonce: self.nonce.map(Sealed::from_bytes),
            answer: self.answer.map(Sealed::from_bytes),
            failure: self.failure,
            created_by: self.created_by,
            created_at: Time::from_millis(self.created_at),
            expires_at: Time::from_millis(self.expires_at),
        })
    }
}
