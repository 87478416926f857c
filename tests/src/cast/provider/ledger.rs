//! The book of tokens: issues them, rotates them, revokes them and never forgets one.
//!
//! Pure but for its dice; it is told the time and knows no HTTP. Invariant: a token string occurs once, and a record is
//! only ever added to. The rules of each [`Rotation`] live in [`Ledger::refresh`] alone. Next: [`super::token`].

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::record::{Kind, Reuse, TokenRecord};
use super::settings::{ProviderSettings, Rotation};

/// Who gets tokens for what.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The mailbox that consented.
    pub user: String,
    /// The app.
    pub client: String,
    /// Space-separated scopes.
    pub scope: String,
}

/// What a successful exchange hands out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The access token's record.
    pub access: TokenRecord,
    /// The refresh token, if the answer carries one.
    pub refresh: Option<TokenRecord>,
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Never issued, or not of this kind.
    Unknown,
    /// Past its end.
    Expired,
    /// Revoked.
    Revoked,
    /// Replaced by a rotation that does not put up with reuse; the family is dead now.
    Reused,
    /// Issued to another app.
    ForeignClient,
    /// Wants scopes that were not granted.
    Scope,
    /// Belongs to another mailbox.
    ForeignUser,
}

/// The book.
#[derive(Debug)]
pub struct Ledger {
    records: Vec<TokenRecord>,
    by_token: HashMap<String, usize>,
    /// Ids of each mailbox's tokens, by its address in lower case.
    by_user: HashMap<String, Vec<usize>>,
    /// Ids of each family's tokens.
    families: Vec<Vec<usize>>,
    reuse: Vec<Reuse>,
    reuse_by_user: HashMap<String, u64>,
    dice: StdRng,
}

impl Ledger {
    /// An empty book; `seed` makes its tokens repeatable.
    pub fn new(seed: Option<u64>) -> Self {
        Self {
            records: Vec::new(),
            by_token: HashMap::new(),
            by_user: HashMap::new(),
            families: Vec::new(),
            reuse: Vec::new(),
            reuse_by_user: HashMap::new(),
            dice: seed.map_or_else(rand::make_rng, StdRng::seed_from_u64),
        }
    }

    /// Issues the first pair of a new family.
    pub fn open(&mut self, grant: &Grant, settings: &ProviderSettings, now: i64) -> Issued {
        let family = self.families.len();
        self.families.push(Vec::new());
        let from = Origin { family, parent: None, generation: 0 };
        let refresh = self.issue(Kind::Refresh, grant, from, settings, now);
        let access = self.issue(Kind::Access, grant, from, settings, now);
        Issued { access, refresh: Some(refresh) }
    }

    /// Takes over the whole of another book, as its snapshot lists it. What was done with its tokens there is not counted.
    pub fn adopt(&mut self, book: Vec<TokenRecord>) {
        let (ids, families) = (self.records.len(), self.families.len());
        for theirs in book {
            let record = TokenRecord {
                id: self.records.len(),
                family: families + theirs.family,
                parent: theirs.parent.map(|parent| ids + parent),
                presented: 0,
                accepted: 0,
                max_concurrent: 0,
                ..theirs
            };
            self.enter(record);
        }
    }

    /// Buys an access token with a refresh token, by the rotation in force now.
    ///
    /// # Errors
    /// The [`Refusal`]; a reuse that a rotation does not put up with also revokes the whole family.
    pub fn refresh(
        &mut self,
        token: &str,
        client: &str,
        scope: Option<&str>,
        settings: &ProviderSettings,
        now: i64,
    ) -> Result<Issued, Refusal> {
        let id = self.present(token, Kind::Refresh).ok_or(Refusal::Unknown)?;
        let old = self.records[id].clone();
        if old.client != client {
            return Err(Refusal::ForeignClient);
        }
        let rotation = settings.rotation_of(client);
        self.note_reuse(&old, rotation, now)?;
        alive(&old, now)?;
        let scope = narrowed(&old.scope, scope).ok_or(Refusal::Scope)?;
        self.records[id].accepted += 1;
        let full = Grant { user: old.user.clone(), client: old.client.clone(), scope: old.scope };
        let from = Origin { family: old.family, parent: Some(id), generation: old.generation + 1 };
        let refresh = (rotation != Rotation::None).then(|| {
            self.records[id].superseded_ms.get_or_insert(now);
            self.issue(Kind::Refresh, &full, from, settings, now)
        });
        let access = self.issue(Kind::Access, &Grant { scope, ..full }, from, settings, now);
        Ok(Issued { access, refresh })
    }

    /// Whether `token` is an access token that opens the mailbox of `user` (of anyone, if `None`).
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn check_access(
        &mut self,
        token: &str,
        user: Option<&str>,
        now: i64,
    ) -> Result<TokenRecord, Refusal> {
        let id = self.present(token, Kind::Access).ok_or(Refusal::Unknown)?;
        alive(&self.records[id], now)?;
        if user.is_some_and(|user| !user.eq_ignore_ascii_case(&self.records[id].user)) {
            return Err(Refusal::ForeignUser);
        }
        self.records[id].accepted += 1;
        Ok(self.records[id].clone())
    }

    /// Revokes one token; a refresh token takes its family with it (RFC 7009 section 2.1).
    pub fn revoke(&mut self, token: &str, client: &str, now: i64) {
        let Some(found) = self.find(token).filter(|record| record.client == client).cloned() else {
            return;
        };
        match found.kind {
            Kind::Access => self.revoke_ids(now, &[found.id]),
            Kind::Refresh => self.revoke_family(found.family, now),
        };
    }

    /// Revokes all live tokens of a family and says how many there were.
    pub fn revoke_family(&mut self, family: usize, now: i64) -> usize {
        let ids = self.families.get(family).cloned().unwrap_or_default();
        self.revoke_ids(now, &ids)
    }

    /// Revokes all live tokens of a mailbox and says how many there were.
    pub fn revoke_user(&mut self, user: &str, now: i64) -> usize {
        let ids = self.ids_of(user).to_vec();
        self.revoke_ids(now, &ids)
    }

    /// Revokes all live tokens that `dead` picks and says how many there were.
    pub fn revoke_where(&mut self, now: i64, dead: impl Fn(&TokenRecord) -> bool) -> usize {
        let live =
            self.records.iter_mut().filter(|record| record.revoked_ms.is_none() && dead(record));
        live.map(|record| record.revoked_ms = Some(now)).count()
    }

    /// All tokens of a mailbox, oldest first.
    pub fn of_user(&self, user: &str) -> impl DoubleEndedIterator<Item = &TokenRecord> {
        self.ids_of(user).iter().map(|&id| &self.records[id])
    }

    /// Every mailbox that was ever issued a token, in lower case.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.by_user.keys().map(String::as_str)
    }

    /// A mailbox's newest refresh token that is live and not replaced.
    pub fn current_refresh(&self, user: &str, now: i64) -> Option<&TokenRecord> {
        let current = |record: &&TokenRecord| {
            record.kind == Kind::Refresh && record.superseded_ms.is_none() && record.is_live(now)
        };
        self.of_user(user).rev().find(current)
    }

    /// Remembers that the answer with these tokens was handed to the socket.
    pub fn note_delivered(&mut self, ids: &[usize]) {
        for &id in ids {
            if let Some(record) = self.records.get_mut(id) {
                record.delivered = true;
            }
        }
    }

    /// The record of a token.
    pub fn find(&self, token: &str) -> Option<&TokenRecord> {
        self.by_token.get(token).map(|&id| &self.records[id])
    }

    /// Remembers how many refreshes with `token` were in flight at one time.
    pub fn note_concurrent(&mut self, token: &str, in_flight: u32) {
        if let Some(&id) = self.by_token.get(token) {
            let record = &mut self.records[id];
            record.max_concurrent = record.max_concurrent.max(in_flight);
        }
    }

    /// Every token ever issued, by id.
    pub fn records(&self) -> &[TokenRecord] {
        &self.records
    }

    /// How many reuses there were of a mailbox's tokens.
    pub fn reuse_of(&self, user: &str) -> u64 {
        self.reuse_by_user.get(&user.to_ascii_lowercase()).copied().unwrap_or(0)
    }

    /// Every reuse there was.
    pub fn reuse(&self) -> &[Reuse] {
        &self.reuse
    }

    fn ids_of(&self, user: &str) -> &[usize] {
        self.by_user.get(&user.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }

    fn revoke_ids(&mut self, now: i64, ids: &[usize]) -> usize {
        let mut revoked = 0;
        for &id in ids {
            let record = &mut self.records[id];
            revoked += usize::from(record.revoked_ms.is_none());
            record.revoked_ms.get_or_insert(now);
        }
        revoked
    }

    fn present(&mut self, token: &str, kind: Kind) -> Option<usize> {
        let id = *self.by_token.get(token)?;
        self.records[id].presented += 1;
        (self.records[id].kind == kind).then_some(id)
    }

    fn note_reuse(
        &mut self,
        old: &TokenRecord,
        rotation: Rotation,
        now: i64,
    ) -> Result<(), Refusal> {
        let Some(since) = old.superseded_ms else { return Ok(()) };
        let killed = match rotation {
            Rotation::None | Rotation::Replace => false,
            Rotation::Grace { seconds } => {
                now >= since.saturating_add(seconds.saturating_mul(1000))
            }
            Rotation::Strict => true,
        };
        let (token_id, family, user) = (old.id, old.family, old.user.clone());
        *self.reuse_by_user.entry(user.to_ascii_lowercase()).or_default() += 1;
        self.reuse.push(Reuse { at_ms: now, token_id, family, user, killed });
        if killed {
            self.revoke_family(family, now);
            return Err(Refusal::Reused);
        }
        Ok(())
    }

    fn issue(
        &mut self,
        kind: Kind,
        grant: &Grant,
        from: Origin,
        settings: &ProviderSettings,
        now: i64,
    ) -> TokenRecord {
        let (prefix, life_s) = match kind {
            Kind::Access => (&settings.access_prefix, Some(settings.access_life_s)),
            Kind::Refresh => (&settings.refresh_prefix, settings.refresh_life_s),
        };
        let token = format!("{prefix}{:032x}", self.dice.random::<u128>());
        let record = TokenRecord {
            id: self.records.len(),
            token,
            kind,
            user: grant.user.clone(),
            client: grant.client.clone(),
            scope: grant.scope.clone(),
            family: from.family,
            parent: from.parent,
            generation: from.generation,
            issued_ms: now,
            expires_ms: life_s.map(|life| now.saturating_add(life.saturating_mul(1000))),
            revoked_ms: None,
            superseded_ms: None,
            presented: 0,
            accepted: 0,
            max_concurrent: 0,
            delivered: false,
        };
        self.enter(record.clone());
        record
    }

    /// Writes a record into the book, under all its names.
    fn enter(&mut self, record: TokenRecord) {
        if self.families.len() <= record.family {
            self.families.resize_with(record.family + 1, Vec::new);
        }
        self.families[record.family].push(record.id);
        self.by_user.entry(record.user.to_ascii_lowercase()).or_default().push(record.id);
        self.by_token.insert(record.token.clone(), record.id);
        self.records.push(record);
    }
}

#[derive(Clone, Copy)]
struct Origin {
    family: usize,
    parent: Option<usize>,
    generation: u32,
}

fn alive(record: &TokenRecord, now: i64) -> Result<(), Refusal> {
    match record {
        record if record.revoked_ms.is_some() => Err(Refusal::Revoked),
        record if !record.is_live(now) => Err(Refusal::Expired),
        _ => Ok(()),
    }
}

/// The scopes of a refreshed access token: all, or the part that was asked for (RFC 6749 section 6).
fn narrowed(granted: &str, asked: Option<&str>) -> Option<String> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Some(granted.to_owned());
    };
    let all = |scope: &str| granted.split(' ').any(|one| one == scope);
    asked.split(' ').all(all).then(|| asked.to_owned())
}
