//! The admin plane's door to the keys.

use tokenbroker_proto::v1;
use tokenbroker_proto::v1::key_service_server::KeyService;
use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::serve::Door;
use super::status;
use crate::domain::keeper::KeepKeys;
use crate::service::{KeyStatus, Kind, RefusedRow, Reseal, TermState, TermView};

type Answer = Result<Response<v1::KeyStatus>, Status>;

#[tonic::async_trait]
impl KeyService for Door {
    async fn get_key_status(&self, request: Request<v1::GetKeyStatusRequest>) -> Answer {
        let permit = self.keeper(&request).await?;
        self.key_status(&permit, !request.get_ref().without_counts).await
    }

    async fn rotate_key_encryption_key(
        &self,
        request: Request<v1::RotateKeyEncryptionKeyRequest>,
    ) -> Answer {
        let permit = self.keeper(&request).await?;
        status::or(self.service.rotate_kek(&permit).await)?;
        self.key_status(&permit, true).await
    }

    async fn create_key_term(&self, request: Request<v1::CreateKeyTermRequest>) -> Answer {
        let permit = self.keeper(&request).await?;
        status::or(self.service.create_key_term(&permit).await)?;
        self.key_status(&permit, true).await
    }

    async fn start_reseal(&self, request: Request<v1::StartResealRequest>) -> Answer {
        let permit = self.keeper(&request).await?;
        status::or(self.service.start_reseal(&permit).await)?;
        self.key_status(&permit, false).await
    }

    async fn remove_key_term(&self, request: Request<v1::RemoveKeyTermRequest>) -> Answer {
        let permit = self.keeper(&request).await?;
        let term = request.into_inner().term;
        status::or(self.service.remove_key_term(&permit, term).await)?;
        self.key_status(&permit, true).await
    }
}

impl Door {
    async fn key_status(&self, permit: &KeepKeys, counted: bool) -> Answer {
        let stands: KeyStatus = status::or(self.service.key_status(permit, counted).await)?;
        Ok(Response::new(v1::KeyStatus {
            key_encryption_key: stands.kek,
            next_key_encryption_key: stands.next_kek.unwrap_or_default(),
            active_term: stands.active_term,
            terms: stands.terms.into_iter().map(term).collect(),
            reseal: stands.reseal.map(reseal),
            refused_rows: stands.refused.into_iter().map(refused).collect(),
        }))
    }
}

/// A term as the contract has it.
pub(super) fn term(view: TermView) -> v1::KeyTerm {
    let TermView { term, state, uses, needs } = view;
    let state = match state {
        TermState::Active => v1::KeyTermState::Active,
        TermState::Pending => v1::KeyTermState::Pending,
        TermState::Retired => v1::KeyTermState::Retired,
    };
    let uses = uses.into_iter().map(|(kind, count)| usage(kind, count)).collect();
    v1::KeyTerm { term, state: state.into(), uses, needs }
}

/// A row that was refused as the contract has it.
pub(super) fn refused(row: RefusedRow) -> v1::RefusedRow {
    let RefusedRow { table, column, id } = row;
    v1::RefusedRow { table, column, id }
}

fn usage(kind: Kind, count: i64) -> v1::KeyUse {
    let name = format!("{}.{}", kind.table(), kind.column());
    v1::KeyUse { kind: name, count, resealable: kind.moves() }
}

fn reseal(it: Reseal) -> v1::Reseal {
    let state = match it.ended_at {
        None => v1::ResealState::Running,
        Some(_) => v1::ResealState::Done,
    };
    let rows = it.refused_rows.into_iter();
    v1::Reseal {
        state: state.into(),
        term: it.term,
        replica: it.owner,
        start_time: Some(timestamp(it.started_at)),
        end_time: it.ended_at.map(timestamp),
        total: it.total,
        done: it.done,
        refused: it.refused,
        refused_rows: rows
            .map(|(table, column, id)| v1::RefusedRow { table, column, id })
            .collect(),
    }
}
