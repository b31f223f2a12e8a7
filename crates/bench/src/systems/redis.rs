//! redis-server: streams with an fsync before every answer.

use std::net::SocketAddr;

use anyhow::Result;
use tempfile::TempDir;
use towline_clock::Clock;

use super::install::Program;
use crate::loader::{Opening, Wire};
use crate::server::{Server, accepts, free_address};

/// Starts Redis with an append-only file that is synced always. Snapshots and rewrites are off, so that they cost it nothing.
pub fn start(clock: &Clock, program: &Program, directory: TempDir) -> Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let port = address.port().to_string();
    let arguments = [
        ["--port", &port],
        ["--bind", "127.0.0.1"],
        ["--dir", "."],
        ["--appendonly", "yes"],
        ["--appendfsync", "always"],
        ["--auto-aof-rewrite-percentage", "0"],
        ["--save", ""],
        ["--daemonize", "no"],
    ];
    let server = Server::start(clock, directory, &program.path, arguments.as_flattened(), &[], || accepts(address))?;
    Ok((server, address))
}

/// A connection; Redis greets nobody.
pub fn publisher() -> Opening {
    Opening { wire: Wire::Redis, request: Vec::new(), greeting: None, ready_when: None }
}

/// `XADD bench:p{who} * d payload`.
pub fn append(who: usize, payload: &[u8]) -> Vec<u8> {
    let key = format!("bench:p{who}");
    let head = format!("*5\r\n$4\r\nXADD\r\n${}\r\n{key}\r\n$1\r\n*\r\n$1\r\nd\r\n${}\r\n", key.len(), payload.len());
    [head.as_bytes(), payload, b"\r\n"].concat()
}
