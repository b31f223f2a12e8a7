//! Connections as operators see them. No payload and no credential.

use towline_sockets::{Ended, Io};

use super::session::{Session, State};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Everything it follows is at its head.
    Live,
    /// It is behind, within the window of its topics.
    Lagging,
    /// It reads the log.
    CatchingUp,
    /// Its socket takes nothing.
    Blocked,
    /// It was told goodbye.
    Closing,
}

/// One open connection.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct ConnectionView {
    /// As in its `welcome`.
    pub id: String,
    /// Whose it is; missing for one that is only told why it may not be here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// Through which door it came.
    pub door: &'static str,
    /// Its client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it is doing.
    pub state: ConnectionState,
    /// When it came, Unix seconds.
    pub connected_at: f64,
    /// For how many seconds nothing was heard from it.
    pub silent_seconds: f64,
    /// For how many seconds its socket has taken nothing.
    pub blocked_seconds: f64,
    /// How many topics it follows.
    pub subscriptions: usize,
    /// How many events the topic has that it has not been sent: the worst of its topics.
    pub lag_events: u64,
    /// Bytes written to it.
    pub sent_bytes: u64,
    /// Bytes read from it.
    pub received_bytes: u64,
}

/// One cursor of a connection.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct SubscriptionView {
    /// The topic.
    pub topic: String,
    /// The history it counts in.
    pub epoch: String,
    /// Everything up to here was written.
    pub after: u64,
    /// The topic's last offset.
    pub head: u64,
    /// How many events lie between.
    pub lag_events: u64,
    /// Where it is served from.
    pub state: ConnectionState,
}

/// A connection that has ended.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct ClosedView {
    /// As in its `welcome`.
    pub id: String,
    /// Whose it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Through which door it came.
    pub door: &'static str,
    /// When it ended, Unix seconds.
    pub closed_at: f64,
    /// How long it lasted.
    pub seconds: f64,
    /// The close code: 1005 where the client gave none, 1006 where the network ended it.
    pub code: u16,
    /// Who ended it: `server`, `client`, `violation` (the client broke the protocol) or `network`.
    pub by: &'static str,
    /// What the server gave as the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes written to it.
    pub sent_bytes: u64,
    /// Bytes read from it.
    pub received_bytes: u64,
}

/// Who ended a connection.
pub(super) fn ended_by(ended: Ended) -> &'static str {
    match ended {
        Ended::ByServer(_) => "server",
        Ended::ByPeer(_) => "client",
        Ended::Violation(_) => "violation",
        Ended::Lost => "network",
    }
}

/// What a connection is doing: the most remarkable of what is true.
pub(super) fn state_of(io: &Io<'_>, session: &Session) -> ConnectionState {
    let any = |state| session.subscriptions.iter().any(|subscription| subscription.state == state);
    if io.is_closing() {
        ConnectionState::Closing
    } else if io.is_blocked() {
        ConnectionState::Blocked
    } else if any(State::CatchingUp) {
        ConnectionState::CatchingUp
    } else if any(State::Lagging) {
        ConnectionState::Lagging
    } else {
        ConnectionState::Live
    }
}

impl From<State> for ConnectionState {
    fn from(state: State) -> Self {
        match state {
            State::Live => Self::Live,
            State::Lagging => Self::Lagging,
            State::CatchingUp => Self::CatchingUp,
        }
    }
}
