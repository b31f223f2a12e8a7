//! Revocations that outlive the process: each is an event of the topic `towline:revocations`, and the table that authentication asks is
//! what these events add up to.
//!
//! Events are small and operators make them, so nothing is ever trimmed of the topic, and it is folded from its beginning at every start.

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use towline_auth::{Revocation, Revocations, Revoked};
use towline_log::{AppendError, Direction, EventLog, GapReason, Read, ReadError, Record, Start};
use towline_protocol::event::new_event_id;
use towline_protocol::{NewEvent, TopicName};

/// What is read of the log at once while folding.
const PAGE_EVENTS: usize = 1_000;
const PAGE_BYTES: usize = 1 << 20;
const MADE: &str = "revocation.made";
const WITHDRAWN: &str = "revocation.withdrawn";

/// The topic that keeps them.
pub const TOPIC: &str = "towline:revocations";

/// An event's payload.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Box<str>>,
    before_ms: u64,
    at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
}

impl Entry {
    fn of(revocation: &Revocation) -> Self {
        let (token_id, user_id) = match &revocation.of {
            Revoked::Token(id) => (Some(id.clone()), None),
            Revoked::User(user) => (None, Some(user.clone())),
        };
        Self { token_id, user_id, before_ms: revocation.before_ms, at_ms: revocation.at_ms, reason: revocation.reason.clone() }
    }

    fn revocation(self) -> Option<Revocation> {
        let of = match (self.token_id, self.user_id) {
            (Some(id), None) => Revoked::Token(id),
            (None, Some(user)) => Revoked::User(user),
            _ => return None,
        };
        Some(Revocation { of, before_ms: self.before_ms, at_ms: self.at_ms, reason: self.reason })
    }
}

/// Writes revocations down before they count.
pub(crate) struct Journal {
    /// One at a time, so that the table changes in the order of the log.
    turn: Semaphore,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { turn: Semaphore::new(1) }
    }

    /// Makes a revocation durable and puts it in force.
    ///
    /// Cancellation: it may be durable without being in force until the next start; ask again.
    pub(crate) async fn add(
        &self,
        log: &dyn EventLog,
        table: &Revocations,
        revocation: Revocation,
        now_ms: u64,
    ) -> Result<(), AppendError> {
        // It is never closed.
        let _turn = self.turn.acquire().await;
        append(log, MADE, &Entry::of(&revocation)).await?;
        table.add(revocation, now_ms);
        Ok(())
    }

    /// Takes a revocation back; false if there is none.
    pub(crate) async fn withdraw(
        &self,
        log: &dyn EventLog,
        table: &Revocations,
        of: &Revoked,
        now_ms: u64,
    ) -> Result<bool, AppendError> {
        let _turn = self.turn.acquire().await;
        let entry = Entry::of(&Revocation { of: of.clone(), before_ms: 0, at_ms: now_ms, reason: None });
        append(log, WITHDRAWN, &entry).await?;
        Ok(table.withdraw(of))
    }
}

async fn append(log: &dyn EventLog, kind: &str, entry: &Entry) -> Result<(), AppendError> {
    // A plain struct always serialises.
    let data = serde_json::to_vec(entry).unwrap_or_default().into();
    let topic = TopicName::new(TOPIC).map_err(|error| AppendError::Invalid(error.to_string().into()))?;
    let event = NewEvent { topic, id: new_event_id(), kind: kind.into(), extras: Box::default(), data };
    log.append(vec![event]).await?;
    Ok(())
}

/// Puts in force what the log holds. Before anything listens: nobody is let in whom it refuses.
///
/// # Errors
/// The log cannot be read: then nobody knows who must not be let in.
pub(crate) async fn load(log: &dyn EventLog, table: &Revocations, now_ms: u64) -> Result<(), ReadError> {
    let Ok(topic) = TopicName::new(TOPIC) else { return Ok(()) };
    let mut start = Start::Earliest;
    loop {
        let read =
            Read { topic: topic.clone(), start, direction: Direction::Forward, events_max: PAGE_EVENTS, bytes_max: PAGE_BYTES };
        let page = log.read(read).await?;
        if page.gap.is_some_and(|gap| gap.reason == GapReason::Damaged) {
            tracing::error!("revocations were lost with damaged parts of the log: revoke again what must stay revoked");
        }
        page.records.iter().for_each(|record| fold(record, table, now_ms));
        start = Start::At(page.to_position());
        if page.complete {
            return Ok(());
        }
    }
}

fn fold(record: &Record, table: &Revocations, now_ms: u64) {
    let revocation = serde_json::from_slice::<Entry>(record.data()).ok().and_then(Entry::revocation);
    match (record.kind(), revocation) {
        (MADE, Some(revocation)) => {
            table.add(revocation, now_ms);
        }
        (WITHDRAWN, Some(Revocation { of, .. })) => {
            table.withdraw(&of);
        }
        _ => tracing::error!(offset = record.offset(), "an event of {TOPIC} is no revocation"),
    }
}
