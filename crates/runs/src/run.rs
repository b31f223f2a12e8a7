//! One run: what is known of it for good, and what only this process knows.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use towline_protocol::TopicName;

use crate::moment::Moment;
use crate::scope::{Actor, Scope};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its events are taken.
    Running,
    /// It was resumed and has not shown a sign of life yet. Its events are taken.
    Resuming,
    /// Nothing of it is taken but its acknowledgement and its terminal event.
    Stopped,
    /// It ended by its terminal event.
    Ended,
    /// Its lease ran out.
    Lost,
}

impl RunState {
    /// All, in the order of a life.
    pub const ALL: [Self; 5] = [Self::Running, Self::Resuming, Self::Stopped, Self::Ended, Self::Lost];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Resuming => "resuming",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
            Self::Lost => "lost",
        }
    }

    /// Whether its events are taken.
    #[must_use]
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Resuming)
    }

    /// Whether nothing will come any more.
    #[must_use]
    pub fn over(self) -> bool {
        matches!(self, Self::Ended | Self::Lost)
    }
}

/// What is known of a run, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Its id.
    pub run_id: Box<str>,
    /// Whose run it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Box<str>>,
    /// The conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<Box<str>>,
    /// The organisation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<Box<str>>,
    /// Which kind of agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<Box<str>>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
    /// Who began it.
    pub begun_by: Actor,
    /// When, Unix milliseconds.
    pub began_at_ms: u64,
    /// Where its events went, at most [`crate::TOPICS_MAX`].
    pub topics: Vec<TopicName>,
    /// It is lost when nothing was heard of it for this long.
    pub lease_ms: u64,
    /// Where it stands.
    pub state: RunState,
    /// How it was stopped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<RunStop>,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<RunEnd>,
}

/// How a run was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStop {
    /// By a stop of what.
    pub scope: Scope,
    /// Who stopped it.
    pub by: Actor,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The id of the event that says so, the same on all topics.
    pub notice_id: Box<str>,
    /// No resumption follows: it was stopped by itself or with its thread, or never acknowledged.
    pub is_final: bool,
    /// The brakes that hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<Scope>,
    /// When it acknowledged, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at_ms: Option<u64>,
    /// The id of the acknowledging event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement_id: Option<Box<str>>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// The terminal event's type; `run.lost` if the lease ran out.
    pub outcome: Box<str>,
    /// The terminal event's id.
    pub event_id: Box<str>,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// A run in memory.
#[derive(Debug)]
pub(crate) struct Run {
    pub facts: RunFacts,
    /// When something was heard of it, uptime in milliseconds. Atomic, so that an event of a running run needs no exclusive access.
    seen_ms: AtomicU64,
    /// What the log holds may be older than `facts`: written again with the next occasion.
    pub dirty: bool,
    /// Which record of the state topic holds it.
    pub saved: u64,
    /// Differs after each change, so that a failed append undoes only what nobody has built upon.
    pub revision: u64,
}

impl Run {
    pub fn new(facts: RunFacts, now: Moment) -> Self {
        Self { facts, seen_ms: AtomicU64::new(now.uptime_ms()), dirty: false, saved: 0, revision: 0 }
    }

    /// Something was heard of it.
    pub fn seen(&self, now: Moment) {
        self.seen_ms.store(now.uptime_ms(), Ordering::Relaxed);
    }

    /// Whether nothing was heard of it for its lease.
    pub fn lease_is_over(&self, now: Moment) -> bool {
        now.uptime_ms().saturating_sub(self.seen_ms.load(Ordering::Relaxed)) > self.facts.lease_ms
    }

    /// When the lease runs out, in Unix milliseconds.
    pub fn lease_ends_at_ms(&self, now: Moment) -> u64 {
        let silent = now.uptime_ms().saturating_sub(self.seen_ms.load(Ordering::Relaxed));
        (now.unix_ms + self.facts.lease_ms).saturating_sub(silent)
    }

    /// Whether its silence counts: it runs, or it should have answered a stop.
    pub fn has_lease(&self) -> bool {
        self.facts.state.runs() || self.unanswered()
    }

    /// Whether it is stopped and has not acknowledged that.
    pub fn unanswered(&self) -> bool {
        self.facts.state == RunState::Stopped && self.facts.stop.as_ref().is_some_and(|stop| stop.acknowledged_at_ms.is_none())
    }

    /// When it came to the state in which nothing more is expected of it, if it has.
    pub fn concluded_at_ms(&self) -> Option<u64> {
        match (&self.facts.end, &self.facts.stop) {
            (Some(end), _) => Some(end.at_ms),
            (None, Some(stop)) if stop.is_final => Some(stop.at_ms),
            _ => None,
        }
    }

    /// Whether a brake on `scope` covers it.
    pub fn belongs_to(&self, scope: &Scope) -> bool {
        let facts = &self.facts;
        match scope {
            Scope::Run(id) => facts.run_id == *id,
            Scope::User(id) => facts.user_id.as_ref() == Some(id),
            Scope::Org(id) => facts.org_id.as_ref() == Some(id),
            Scope::Thread(id) => {
                facts.thread_id.as_ref() == Some(id)
                    || facts.topics.iter().any(|topic| topic.as_str().strip_prefix("thread:") == Some(id))
            }
        }
    }
}
