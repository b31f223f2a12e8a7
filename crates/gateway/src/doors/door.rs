//! The doors themselves: plain data.

use towline_protocol::Dialect;

/// A route with its own message dialect.
#[derive(Debug)]
pub struct Door {
    /// In metrics and logs.
    pub name: &'static str,
    /// The route's pattern.
    pub path: &'static str,
    /// How messages look.
    pub dialect: Dialect,
    /// The subprotocol that a client must offer, and gets back.
    pub subprotocol: Option<&'static str>,
    /// Whether the server introduces itself and says `caught_up`, or sends nothing but events, answers and gaps.
    pub talks: bool,
    /// How a quiet connection is kept alive.
    pub heartbeat: Heartbeat,
}

/// How a quiet connection is kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// A ping control frame, which every WebSocket library answers by itself, and a `ping` message that a page's code can see.
    FrameAndMessage,
    /// A ping control frame.
    Frame,
    /// A comment; nothing is expected back.
    Comment,
}

/// One of `doors` (of the same route): the first that the client offers, or the only one if it asks for no subprotocol.
pub fn choose(doors: &'static [&'static Door], offered: &[&str]) -> Option<&'static Door> {
    if let [only] = doors
        && only.subprotocol.is_none()
    {
        return Some(only);
    }
    offered.iter().find_map(|name| doors.iter().copied().find(|door| door.subprotocol == Some(*name)))
}

/// `towline.v1` on `/ws`.
pub static NATIVE: Door = Door {
    name: "native",
    path: "/ws",
    dialect: Dialect::Native,
    subprotocol: Some("towline.v1"),
    talks: true,
    heartbeat: Heartbeat::FrameAndMessage,
};

/// The same in MessagePack: another subprotocol of the same door.
pub static NATIVE_BINARY: Door = Door {
    name: "native",
    path: "/ws",
    dialect: Dialect::NativeBinary,
    subprotocol: Some("towline.v1+msgpack"),
    talks: true,
    heartbeat: Heartbeat::FrameAndMessage,
};

/// What `/ws` speaks.
pub static NATIVES: [&Door; 2] = [&NATIVE, &NATIVE_BINARY];

/// The agent activity feed of one user.
pub static FEED: Door = Door {
    name: "feed",
    path: "/api/v1/ws/agents/{user_id}",
    dialect: Dialect::Feed,
    subprotocol: None,
    talks: false,
    heartbeat: Heartbeat::Frame,
};

/// What the feed's route speaks.
pub static FEEDS: [&Door; 1] = [&FEED];

/// Server-Sent Events, for clients without WebSocket.
pub static SSE: Door = Door {
    name: "sse",
    path: "/api/v1/stream",
    dialect: Dialect::Sse,
    subprotocol: None,
    talks: true,
    heartbeat: Heartbeat::Comment,
};
