//! The systems under measurement: how each is found, configured, started and spoken to.
//!
//! Everything a scenario needs to know about a system is a [`Dialect`]; scenarios do not ask which system they measure.

pub mod install;
pub mod nats;
pub mod nchan;
pub mod redis;
pub mod towline;

use std::net::SocketAddr;

use anyhow::Result;
use base64::Engine as _;

use crate::bench::Bench;
use crate::loader::{Opening, Outbox};
use crate::server::Server;

/// A running system.
pub struct System {
    /// Shown in the tables.
    pub name: String,
    /// Where its WebSockets are.
    pub address: SocketAddr,
    /// How to speak to it.
    pub dialect: Box<dyn Dialect>,
    /// Its processes.
    pub server: Server,
}

/// How a system is subscribed to and published on over WebSocket. Topics are given as `kind:name`; each dialect spells them its way.
pub trait Dialect {
    /// A connection of user `who` that subscribes to these topics, at most four.
    fn subscriber(&self, who: usize, topics: &[String]) -> Opening;
    /// A connection that publishes on this topic.
    fn publisher(&self, topic: &str) -> Opening;
    /// Publishes one JSON payload from a connection opened by [`Dialect::publisher`] for the same topic.
    fn publish(&self, topic: &str, payload: &[u8], outbox: &mut Outbox<'_>);
}

/// A WebSocket upgrade request; `headers` are further whole lines.
fn upgrade(address: SocketAddr, path: &str, subprotocol: Option<&str>, headers: &str) -> Vec<u8> {
    let key = base64::engine::general_purpose::STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n{subprotocol}{headers}\r\n"
    )
    .into_bytes()
}

/// The systems that are compared over WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The gateway.
    Towline,
    /// nchan with so many nginx workers.
    Nchan { workers: usize },
    /// The nats-server that Debian packages.
    NatsOfDebian,
    /// The current nats-server.
    NatsOfPypi,
}

impl Kind {
    /// What stands in the tables when it could not be started.
    pub fn label(self) -> String {
        match self {
            Self::Towline => "Towline".into(),
            Self::Nchan { workers } => format!("nchan, nginx workers: {workers}"),
            Self::NatsOfDebian => "NATS (Debian)".into(),
            Self::NatsOfPypi => "NATS (current)".into(),
        }
    }

    /// Starts it in a fresh directory.
    pub fn start(self, bench: &Bench) -> Result<System> {
        let (clock, directory) = (&bench.clock, bench.directory()?);
        match self {
            Self::Towline => towline::start(clock, bench.towline()?, directory, &[]),
            Self::Nchan { workers } => nchan::start(clock, bench.nginx()?, directory, workers),
            Self::NatsOfDebian => nats::start(clock, bench.nats_of_debian()?, directory),
            Self::NatsOfPypi => nats::start(clock, bench.nats_of_pypi()?, directory),
        }
    }
}
