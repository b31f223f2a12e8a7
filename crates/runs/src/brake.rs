//! One engaged brake.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scope::{Actor, Scope};

/// Where a brake stands. One that is released altogether is forgotten: `running`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrakeState {
    /// Not engaged: agents run.
    Running,
    /// Engaged; some runs have not acknowledged yet.
    Pausing,
    /// Engaged; all runs have acknowledged or ended.
    Paused,
    /// Engaged; some runs have not acknowledged in time. Nothing of them is taken all the same.
    Partial,
    /// Released; some resumed runs have not shown a sign of life yet.
    Resuming,
}

impl BrakeState {
    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Partial => "partial",
            Self::Resuming => "resuming",
        }
    }

    /// Whether new runs are refused.
    #[must_use]
    pub fn engaged(self) -> bool {
        matches!(self, Self::Pausing | Self::Paused | Self::Partial)
    }
}

/// A brake as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrakeFacts {
    pub scope: Scope,
    pub state: BrakeState,
    pub by: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    pub activated_at_ms: u64,
    /// How many of its runs have acknowledged or ended.
    pub obeyed: u64,
}

/// A brake in memory.
#[derive(Debug)]
pub(crate) struct Brake {
    pub facts: BrakeFacts,
    /// The runs that it holds and that have not ended.
    pub held: BTreeSet<Box<str>>,
    /// Those of which something is awaited: an acknowledgement, or a sign of life after the release.
    pub awaited: BTreeSet<Box<str>>,
    /// Until when (uptime).
    pub deadline: Duration,
    /// A resumption is on its way to the log.
    pub releasing: bool,
    pub dirty: bool,
    pub saved: u64,
    pub revision: u64,
}

impl Brake {
    pub fn new(facts: BrakeFacts, deadline: Duration) -> Self {
        let (held, awaited) = (BTreeSet::new(), BTreeSet::new());
        Self { facts, held, awaited, deadline, releasing: false, dirty: false, saved: 0, revision: 0 }
    }
}
