//! Attempts to refresh: written before the provider is called, closed after.
//!
//! Never removed while open, but by the answer it was for. Invariant: an attempt that is open after its broker died means a refresh token that may have
//! been spent; and that it could be written proves the store can keep the answer. Next: `service/refresh`.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::Result;
use super::row::{Cells, millis, row, time};
use crate::clock::Time;
use crate::domain::grant::Attempt;
use crate::domain::ids::{AccountId, AttemptId};

row!(AttemptRow, attempt_columns {
    id: Vec<u8>, account: Vec<u8>, audience: String, generation: i64, owner: String, started_at: i64,
    ended_at: Option<i64>, outcome: String, code: String,
});

statements! {
    ATTEMPTS = concat!("select ", attempt_columns!(), " from refresh_attempts
        where account = $1 order by started_at desc, id desc limit $2");
    IS_OPEN = "select cast(case when ended_at is null then 1 else 0 end as bigint) from refresh_attempts
        where id = $1";
    MOVE_DOUBTS = "update refresh_attempts set generation = $3 where account = $1 and generation = $2
        and outcome in ('', 'lost') and (ended_at is null or started_at >= $4)";
    FORGET_ATTEMPT = "delete from refresh_attempts where id = $1";
    OPEN_ATTEMPTS = concat!("select ", attempt_columns!(), " from refresh_attempts
        where ended_at is null order by started_at, id limit 1000");
    BEGIN_ATTEMPT = concat!("insert into refresh_attempts (", attempt_columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    END_ATTEMPT = "update refresh_attempts set ended_at = $2, outcome = $3, code = $4
        where id = $1 and ended_at is null";
    FORGET_DOUBTS = "delete from refresh_attempts where account = $1 and outcome in ('', 'lost')";
    FORGET_ATTEMPTS = "delete from refresh_attempts where started_at < $1 and ended_at is not null";
}

impl Conn {
    /// The newest attempts of an account that did not work, newest first.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if the row cannot be understood; else as every read.
    pub async fn attempts(&mut self, account: AccountId, limit: i64) -> Result<Vec<Attempt>> {
        let rows = all!(self, ATTEMPTS => AttemptRow; account.bytes().to_vec(); limit)?;
        rows.into_iter().map(AttemptRow::read).collect()
    }

    /// Whether an attempt is open; `None` if it worked, or its account is gone.
    ///
    /// # Errors
    /// As every read.
    pub async fn is_open_attempt(&mut self, attempt: AttemptId) -> Result<Option<bool>> {
        let row = maybe!(self, IS_OPEN => (i64,); attempt.bytes().to_vec())?;
        Ok(row.map(|(open,)| open == 1))
    }

    /// The oldest 1000 attempts that did not end. At start these are the tokens in doubt.
    ///
    /// # Errors
    /// As [`attempts`](Self::attempts).
    pub async fn open_attempts(&mut self) -> Result<Vec<Attempt>> {
        all!(self, OPEN_ATTEMPTS => AttemptRow)?.into_iter().map(AttemptRow::read).collect()
    }
}

impl Tx {
    /// Writes an attempt down. To be committed before the provider is called.
    ///
    /// # Errors
    /// [`Error::Dangling`](super::Error::Dangling) without its account.
    pub async fn begin_attempt(&mut self, attempt: &Attempt) -> Result<()> {
        run!(self, BEGIN_ATTEMPT; attempt.id.bytes().to_vec(); attempt.account.bytes().to_vec();
            attempt.audience.as_str(); attempt.generation; attempt.owner.as_str(); attempt.started_at.millis();
            millis(attempt.ended_at); attempt.outcome.as_str(); attempt.code.as_str())
        .map(drop)
    }

    /// Closes it. False if it was closed already.
    ///
    /// # Errors
    /// As every write.
    pub async fn end_attempt(
        &mut self,
        attempt: AttemptId,
        at: Time,
        outcome: &str,
        code: &str,
    ) -> Result<bool> {
        let id = attempt.bytes().to_vec();
        Ok(run!(self, END_ATTEMPT; id; at.millis(); outcome; code)? == 1)
    }

    /// The token of generation `from` goes on under the number `to`: so do the attempts at it that are open, and those that
    /// were lost since `since`.
    ///
    /// # Errors
    /// As every write.
    pub async fn move_doubts(
        &mut self,
        account: AccountId,
        (from, to): (i64, i64),
        since: Time,
    ) -> Result<()> {
        run!(self, MOVE_DOUBTS; account.bytes().to_vec(); from; to; since.millis()).map(drop)
    }

    /// Forgets an attempt that worked: the generation it brought tells of it.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_attempt(&mut self, attempt: AttemptId) -> Result<()> {
        run!(self, FORGET_ATTEMPT; attempt.bytes().to_vec()).map(drop)
    }

    /// Forgets what was in doubt about an account whose grants are given back.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_doubts(&mut self, account: AccountId) -> Result<()> {
        run!(self, FORGET_DOUBTS; account.bytes().to_vec()).map(drop)
    }

    /// Forgets closed attempts that began before `time`.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_attempts(&mut self, time: Time) -> Result<u64> {
        run!(self, FORGET_ATTEMPTS; time.millis())
    }
}

impl AttemptRow {
    fn read(self) -> Result<Attempt> {
        let at = Cells::of("refresh_attempts", &self.id);
        Ok(Attempt {
            id: at.id("id", &self.id, AttemptId::from_bytes)?,
            account: at.id("account", &self.account, AccountId::from_bytes)?,
            audience: self.audience,
            generation: self.generation,
            owner: self.owner,
            started_at: Time::from_millis(self.started_at),
            ended_at: time(self.ended_at),
            outcome: self.outcome,
            code: self.code,
        })
    }
}
