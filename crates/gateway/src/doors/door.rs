//! The doors themselves: plain data.

use towline_auth::extract::is_token_protocol;
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
    /// What it does with the subprotocols that a client offers.
    pub subprotocol: Subprotocol,
    /// Whether the server introduces itself and says `caught_up`, or sends nothing but events, answers and gaps.
    pub talks: bool,
    /// How a quiet connection is kept alive.
    pub heartbeat: Heartbeat,
}

/// What a door does with the subprotocols that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subprotocol {
    /// None is known, none is chosen.
    Unused,
    /// The first that is not a token is chosen: its name says nothing to this door, but a browser that offered some must get one back.
    FirstOffered,
    /// This one has to be offered, and is chosen.
    Required(&'static str),
}

impl Subprotocol {
    /// The one that has to be offered.
    pub fn required(self) -> Option<&'static str> {
        match self {
            Self::Required(name) => Some(name),
            Self::Unused | Self::FirstOffered => None,
        }
    }
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

/// The longest subprotocol that is given back without being known here.
const PROTOCOL_BYTES_MAX: usize = 64;

/// One of `doors` (of the same route), and the subprotocol that its client gets back. A token in the disguise of one is never chosen.
pub fn choose<'a>(doors: &'static [&'static Door], offered: &[&'a str]) -> Option<(&'static Door, Option<&'a str>)> {
    if let [only] = doors {
        let echoed = |name: &&str| !is_token_protocol(name) && name.len() <= PROTOCOL_BYTES_MAX;
        match only.subprotocol {
            Subprotocol::Unused => return Some((only, None)),
            Subprotocol::FirstOffered => return Some((only, offered.iter().copied().find(echoed))),
            Subprotocol::Required(_) => {}
        }
    }
    offered.iter().find_map(|name| {
        let door = doors.iter().copied().find(|door| door.subprotocol.required() == Some(*name))?;
        Some((door, door.subprotocol.required()))
    })
}

/// `towline.v1` on `/ws`.
pub static NATIVE: Door = Door {
    name: "native",
    path: "/ws",
    dialect: Dialect::Native,
    subprotocol: Subprotocol::Required("towline.v1"),
    talks: true,
    heartbeat: Heartbeat::FrameAndMessage,
};

/// The same in MessagePack: another subprotocol of the same door.
pub static NATIVE_BINARY: Door = Door {
    name: "native",
    path: "/ws",
    dialect: Dialect::NativeBinary,
    subprotocol: Subprotocol::Required("towline.v1+msgpack"),
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
    subprotocol: Subprotocol::Unused,
    talks: false,
    heartbeat: Heartbeat::Frame,
};

/// What the feed's route speaks.
pub static FEEDS: [&Door; 1] = [&FEED];

/// The topic hub.
pub static HUB: Door = Door {
    name: "hub",
    path: "/api/ws",
    dialect: Dialect::Hub,
    subprotocol: Subprotocol::FirstOffered,
    talks: true,
    heartbeat: Heartbeat::FrameAndMessage,
};

/// What the hub's route speaks.
pub static HUBS: [&Door; 1] = [&HUB];

/// The chat platform's unified socket: on the native door's path, for clients that do not ask for the native protocol.
pub static UNIFIED: Door = Door {
    name: "unified",
    path: NATIVE.path,
    dialect: Dialect::Unified,
    subprotocol: Subprotocol::FirstOffered,
    talks: true,
    heartbeat: Heartbeat::FrameAndMessage,
};

/// What `/ws` speaks to them.
pub static UNIFIEDS: [&Door; 1] = [&UNIFIED];

/// Server-Sent Events, for clients without WebSocket.
pub static SSE: Door = Door {
    name: "sse",
    path: "/api/v1/stream",
    dialect: Dialect::Sse,
    subprotocol: Subprotocol::Unused,
    talks: true,
    heartbeat: Heartbeat::Comment,
};

/// All doors, each once whatever encodings it has.
pub static ALL: [&Door; 5] = [&NATIVE, &FEED, &HUB, &UNIFIED, &SSE];
