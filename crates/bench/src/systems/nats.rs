//! nats-server: core NATS over its WebSocket listener, and JetStream over plain TCP. Connections carry no identity.

use std::net::SocketAddr;

use anyhow::Result;
use tempfile::TempDir;
use towline_clock::Clock;

use super::install::Program;
use super::{Dialect, System, upgrade};
use crate::loader::{Opening, Outbox, Wire};
use crate::server::{Server, accepts, free_address};

const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1,\"lang\":\"bench\",\"version\":\"1\",\"headers\":true}\r\n";

/// Starts core NATS with a WebSocket listener, without TLS and without compression.
pub fn start(clock: &Clock, program: &Program, directory: TempDir) -> Result<System> {
    let (plain, address) = (free_address()?, free_address()?);
    let configuration = format!("listen: \"{plain}\"\nwebsocket {{ listen: \"{address}\", no_tls: true, compression: false }}\n");
    std::fs::write(directory.path().join("nats.conf"), configuration)?;
    let server = Server::start(clock, directory, &program.path, ["-c", "nats.conf"], &[], || accepts(address) && accepts(plain))?;
    Ok(System { name: format!("NATS {}", program.version), address, dialect: Box::new(Nats { address }), server })
}

/// Starts JetStream with a file store that syncs before every acknowledgement; the address is the plain TCP one.
pub fn start_jetstream(clock: &Clock, program: &Program, directory: TempDir) -> Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let configuration = format!("listen: \"{address}\"\njetstream {{ store_dir: \"store\", sync_interval: always }}\n");
    std::fs::write(directory.path().join("nats.conf"), configuration)?;
    let server = Server::start(clock, directory, &program.path, ["-c", "nats.conf"], &[], || accepts(address))?;
    Ok((server, address))
}

/// Creates a file stream over `bench.>`; ready when the answer says so.
pub fn create_stream() -> Opening {
    let body = r#"{"name":"BENCH","subjects":["bench.>"],"storage":"file","retention":"limits","num_replicas":1}"#;
    let create = format!("SUB _INBOX.create 1\r\nPUB $JS.API.STREAM.CREATE.BENCH _INBOX.create {}\r\n{body}\r\n", body.len());
    Opening {
        wire: Wire::Nats,
        request: Vec::new(),
        greeting: Some(format!("{CONNECT}{create}").into_bytes()),
        ready_when: Some(b"\"created\""),
    }
}

/// A connection that publishes to the stream and hears the acknowledgements on an inbox of its own.
pub fn stream_publisher(who: usize) -> Opening {
    Opening {
        wire: Wire::Nats,
        request: Vec::new(),
        greeting: Some(format!("{CONNECT}SUB _INBOX.p{who} 1\r\nPING\r\n").into_bytes()),
        ready_when: Some(b"PONG"),
    }
}

/// Publishes one payload to the stream and asks for its acknowledgement.
pub fn append(who: usize, payload: &[u8]) -> Vec<u8> {
    [format!("PUB bench.p{who} _INBOX.p{who} {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}

struct Nats {
    address: SocketAddr,
}

impl Nats {
    fn opening(&self, subscriptions: &str) -> Opening {
        Opening {
            wire: Wire::NatsWebSocket,
            request: upgrade(self.address, "/", None, ""),
            greeting: Some(format!("{CONNECT}{subscriptions}PING\r\n").into_bytes()),
            ready_when: Some(b"PONG"),
        }
    }
}

impl Dialect for Nats {
    fn subscriber(&self, _who: usize, topics: &[String]) -> Opening {
        let each = topics.iter().enumerate().map(|(at, topic)| format!("SUB {} {}\r\n", subject(topic), at + 1));
        self.opening(&each.collect::<String>())
    }

    fn publisher(&self, _topic: &str) -> Opening {
        self.opening("")
    }

    fn publish(&self, topic: &str, payload: &[u8], outbox: &mut Outbox<'_>) {
        outbox.send(&[format!("PUB {} {}\r\n", subject(topic), payload.len()).as_bytes(), payload, b"\r\n"].concat());
    }
}

fn subject(topic: &str) -> String {
    topic.replace(':', ".")
}
