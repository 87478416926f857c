//! How an account's refreshes stand, and what is to be said about it, for the wire.
//!
//! Never a secret: generations go without their tokens. Next: `domain/chart.rs` and `domain/diagnosis.rs`.

use tokenbroker_proto::v1;

use super::convert::{proto_span, timestamp};
use crate::domain::app::Rotation;
use crate::domain::chart::Chart;
use crate::domain::diagnosis::{Finding, Severity};
use crate::domain::grant::Attempt;
use crate::domain::refresh::Generation;

/// What is known of an account's refreshes.
pub(super) fn pack(chart: &Chart) -> v1::RefreshState {
    let state = &chart.state;
    let in_doubt = chart.in_doubt_since();
    let owner = chart.held_by();
    let rotation = chart.rules.as_ref().map(|rules| rules.rotation);
    v1::RefreshState {
        due_time: state.due_at.map(timestamp),
        not_before_time: chart.not_before().map(timestamp),
        failures: state.failures,
        class: state.class.clone(),
        code: state.code.clone(),
        attempt_time: state.tried_at.map(timestamp),
        in_doubt: in_doubt.is_some(),
        in_doubt_since_time: in_doubt.map(timestamp),
        lease_owner: owner.unwrap_or_default().to_owned(),
        lease_remaining: owner.map(|_| proto_span(state.lease.left)),
        rotation: proto_rotation(rotation).into(),
        grant_end_time: chart.grant_ends_at().map(timestamp),
        warm: chart.is_warm(),
        generations: chart.ledger.generations.iter().map(|it| generation(chart, it)).collect(),
        attempts: chart.attempts.iter().map(attempt).collect(),
    }
}

fn generation(chart: &Chart, of: &Generation) -> v1::GrantGeneration {
    v1::GrantGeneration {
        generation: of.number,
        parent: of.parent,
        receive_time: Some(timestamp(of.received_at)),
        proven: chart.proven.contains(&of.number),
        refusals: u32::try_from(of.refusals).unwrap_or(u32::MAX),
        carried: of.carried,
        end_time: of.ends_at.map(timestamp),
        in_doubt: chart.unanswered(of.number).is_some(),
    }
}

fn attempt(of: &Attempt) -> v1::RefreshAttempt {
    v1::RefreshAttempt {
        start_time: Some(timestamp(of.started_at)),
        end_time: of.ended_at.map(timestamp),
        audience: of.audience.clone(),
        generation: of.generation,
        outcome: of.outcome.clone(),
        code: of.code.clone(),
        owner: of.owner.clone(),
    }
}

/// One finding.
pub(super) fn pack_finding(finding: Finding) -> v1::Finding {
    let severity = match finding.severity {
        Severity::Ok => v1::FindingSeverity::Ok,
        Severity::Notice => v1::FindingSeverity::Notice,
        Severity::Warning => v1::FindingSeverity::Warning,
        Severity::Error => v1::FindingSeverity::Error,
    };
    v1::Finding {
        severity: severity.into(),
        text: finding.text,
        remedy: finding.remedy,
        next_time: finding.next.map(timestamp),
    }
}

/// What a refresh does to the refresh token.
pub(super) const fn proto_rotation(rotation: Option<Rotation>) -> v1::Rotation {
    match rotation {
        None => v1::Rotation::Unspecified,
        Some(Rotation::None) => v1::Rotation::None,
        Some(Rotation::Replace) => v1::Rotation::Replace,
        Some(Rotation::Grace) => v1::Rotation::Grace,
        Some(Rotation::Strict) => v1::Rotation::Strict,
    }
}
