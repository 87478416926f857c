//! Recomputes the audit's chains, a part of them in each call.
//!
//! Never repairs. Invariants: a chain's head is read before the records up to it, so what is appended meanwhile is no fault; a
//! chain that retention shortens meanwhile is begun again at its new floor. Next: `domain/chain.rs` judges.

use crate::domain::caller::Manage;
use crate::domain::chain::{Entry, Fault, Flaw, Point, Span, Walk};
use crate::domain::checkpoint::hex;
use crate::service::{Error, Service};
use crate::store::{Conn, STRIDE};

/// Pages in one call: about a second's work.
const PAGES: usize = 100;
/// How often floors are read again that a prune moved meanwhile.
const LOOKS: usize = 5;

/// What became of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainVerdict {
    /// The chain and its ends.
    pub span: Span,
    /// How many records were recomputed.
    pub records: i64,
    /// The first bad one.
    pub fault: Option<Fault>,
}

/// What one call has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditVerdict {
    /// The chains that are done.
    pub chains: Vec<ChainVerdict>,
    /// Goes on; empty if all is done.
    pub next: String,
    /// Records recomputed.
    pub checked: i64,
    /// Records there are.
    pub total: i64,
}

/// A chain under way.
struct Course {
    span: Span,
    walk: Walk,
}

impl Service {
    /// Goes on verifying after `token`, which is empty at first.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the token is none of ours; [`Error::Unavailable`].
    pub async fn verify_audit(&self, _: &Manage, token: &str) -> Result<AuditVerdict, Error> {
        let mut conn = self.read().await?;
        let spans = conn.audit_spans().await?;
        let mut verified =
            AuditVerdict { total: spans.iter().map(size).sum(), ..AuditVerdict::default() };
        let resumed = match token {
            "" => None,
            token => Some(parse(token).ok_or_else(|| {
                Error::invalid("page_token", "use next_page_token of the last answer")
            })?),
        };
        let mut pages = PAGES;
        for span in spans {
            let walk = match &resumed {
                Some((chain, ..)) if span.chain < *chain => continue,
                Some((chain, last, taken)) if span.chain == *chain => {
                    Walk::resume(chain, last.clone(), *taken)
                }
                _ => Walk::from(&span.chain, span.floor.clone()),
            };
            let before = walk.taken();
            let mut course = Course { span, walk };
            let end = course.run(&mut conn, &mut pages).await?;
            verified.checked += course.walk.taken() - before;
            match end {
                Some(verdict) => verified.chains.push(verdict),
                None => {
                    verified.next = course.token();
                    break;
                }
            }
        }
        Ok(verified)
    }
}

impl Course {
    /// Goes on until the chain is done or the pages are used up; then `None`.
    async fn run(
        &mut self,
        conn: &mut Conn,
        pages: &mut usize,
    ) -> Result<Option<ChainVerdict>, Error> {
        let chain = self.span.chain.clone();
        loop {
            if *pages == 0 {
                return Ok(None);
            }
            *pages -= 1;
            let mut page = conn.audit_entries(&chain, self.walk.last().sequence).await?;
            let full = page.len() == STRIDE;
            let head = self.span.head.as_ref().map_or(i64::MAX, |head| head.sequence);
            page.retain(|entry: &Entry| entry.sequence <= head);
            let done = !full || page.len() < STRIDE;
            let mut fault = self.walk.take(&page);
            if fault.is_none() && !done {
                continue;
            }
            if fault.is_none() {
                fault = self.end(conn).await?;
            }
            if fault.is_some() {
                let floor = conn.audit_floor(&chain).await?;
                if floor.sequence > self.walk.last().sequence {
                    self.walk = Walk::from(&chain, floor.clone());
                    self.span.floor = floor;
                    continue;
                }
            }
            let (span, records) = (self.span.clone(), self.walk.taken());
            return Ok(Some(ChainVerdict { span, records, fault }));
        }
    }

    /// What is wrong with the end of the chain, and, for that of changes, with where the chains begin.
    async fn end(&self, conn: &mut Conn) -> Result<Option<Fault>, Error> {
        if let Some(fault) = self.walk.end(self.span.head.as_ref()) {
            return Ok(Some(fault));
        }
        // In this order: what is appended between comes after the head that is read later.
        let last = conn.audit_last(&self.span.chain).await?;
        let (head, _) = conn.audit_head(&self.span.chain).await.unwrap_or_default();
        if last.sequence > head {
            let detail = format!("the head names record {head}, and later ones exist");
            return Ok(Some(Fault { sequence: head + 1, flaw: Flaw::Head, detail }));
        }
        if !self.span.chain.is_empty() {
            return Ok(None);
        }
        let mut told = conn.floors_told().await?;
        for _ in 1..LOOKS {
            if told.is_err() {
                told = conn.floors_told().await?;
            }
        }
        let sequence = self.span.floor.sequence + 1;
        Ok(told.err().map(|detail| Fault { sequence, flaw: Flaw::Floor, detail }))
    }

    /// Where it is, for the next call. The hash in it is checked by nobody but the next record.
    fn token(&self) -> String {
        let Point { sequence, hash } = self.walk.last();
        format!("{sequence}/{}/{}/{}", hex(hash), self.walk.taken(), self.span.chain)
    }
}

fn parse(token: &str) -> Option<(String, Point, i64)> {
    let mut parts = token.splitn(4, '/');
    let sequence = parts.next()?.parse().ok()?;
    let hash = data_encoding::HEXLOWER.decode(parts.next()?.as_bytes()).ok()?;
    let taken = parts.next()?.parse().ok()?;
    let chain = parts.next().filter(|chain| !chain.contains('\0'))?;
    Some((chain.to_owned(), Point { sequence, hash }, taken))
}

fn size(span: &Span) -> i64 {
    let head = span.head.as_ref().map_or(0, |head| head.sequence);
    (head - span.floor.sequence).max(0)
}
