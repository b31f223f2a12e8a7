//! The gateway itself: the release binary, with its defaults, so that topics are durable with an fsync.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use towline_clock::Clock;

use super::{Dialect, System, upgrade};
use crate::loader::{Opening, Outbox, Wire};
use crate::server::{Server, free_address};
use crate::token;

/// What publishers show.
const SERVICE_KEY: &str = "bench-service-key-0123456789abcdef";
/// What users' tokens are signed with.
const JWT_SECRET: &str = "bench-jwt-secret-0123456789abcdef0123456789abcdef";

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speech {
    /// MessagePack instead of JSON.
    pub binary: bool,
    /// With permessage-deflate.
    pub compressed: bool,
}

/// Starts the gateway; `environment` adds settings or overrides them.
pub fn start(clock: &Clock, program: &Path, directory: TempDir, environment: &[(&str, String)]) -> Result<System> {
    start_speaking(clock, program, directory, environment, Speech::default())
}

/// The same, and its subscribers speak so.
pub fn start_speaking(
    clock: &Clock,
    program: &Path,
    directory: TempDir,
    environment: &[(&str, String)],
    speech: Speech,
) -> Result<System> {
    let address = free_address()?;
    let mut settings = vec![
        ("TOWLINE_LISTEN", address.to_string()),
        ("TOWLINE_DATA_DIR", directory.path().join("data").display().to_string()),
        ("TOWLINE_SERVICE_KEYS", SERVICE_KEY.to_owned()),
        ("TOWLINE_JWT_SECRET", JWT_SECRET.to_owned()),
        // A few users stand for a crowd.
        ("TOWLINE_USERS_CONNECTIONS_MAX", "10000".to_owned()),
        ("TOWLINE_USERS_MESSAGES_PER_MINUTE_MAX", "60000".to_owned()),
    ];
    settings.extend(environment.iter().cloned());
    let server = Server::start(clock, directory, program, ["serve"], &settings, || ready(address))?;
    Ok(System { name: "Towline".into(), address, dialect: Box::new(Towline { address, clock: clock.clone(), speech }), server })
}

fn ready(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

/// A token for user `who`, as the gateway expects it.
pub fn user_token(clock: &Clock, who: usize) -> String {
    token::hs256(clock, JWT_SECRET, &user(who))
}

/// The name of user `who`; its own topic is `user:` and this.
pub fn user(who: usize) -> String {
    format!("u{who}")
}

/// A socket that shows this token and does nothing else.
pub fn handshake(address: SocketAddr, token: &str) -> Opening {
    handshake_speaking(address, token, Speech::default())
}

fn handshake_speaking(address: SocketAddr, token: &str, speech: Speech) -> Opening {
    let subprotocol = if speech.binary { "towline.v1+msgpack" } else { "towline.v1" };
    let offer = if speech.compressed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    let request = upgrade(address, &format!("/ws?token={token}"), Some(subprotocol), offer);
    Opening { wire: Wire::WebSocket, request, greeting: None, ready_when: None }
}

/// A subscriber that wants everything from the beginning of one topic.
pub fn replaying(address: SocketAddr, topic: &str) -> Opening {
    let greeting = format!(r#"{{"type":"subscribe","id":"s","data":{{"topics":[{{"topic":"{topic}","from":"earliest"}}]}}}}"#);
    Opening { greeting: Some(greeting.into_bytes()), ..handshake(address, SERVICE_KEY) }
}

/// A `ping` of the protocol.
pub const PING: &[u8] = br#"{"type":"ping","id":"h"}"#;

/// A service's socket, for publishing.
pub fn service(address: SocketAddr) -> Opening {
    handshake(address, SERVICE_KEY)
}

/// One `publish` message.
pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(r#"{{"type":"publish","id":"p","data":{{"topic":"{topic}","type":"bench.event","data":"#);
    [head.as_bytes(), payload, b"}}"].concat()
}

/// Many events for one topic as one request over HTTP.
pub fn post(address: SocketAddr, topic: &str, payloads: &[Vec<u8>]) -> Vec<u8> {
    let events: Vec<Vec<u8>> = payloads
        .iter()
        .map(|payload| [format!(r#"{{"topic":"{topic}","type":"bench.event","data":"#).as_bytes(), payload, b"}"].concat())
        .collect();
    let body = match events.as_slice() {
        [one] => one.clone(),
        many => [b"[", many.join(&b","[..]).as_slice(), b"]"].concat(),
    };
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {SERVICE_KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// A connection for [`post`].
pub fn poster() -> Opening {
    Opening { wire: Wire::Http, request: Vec::new(), greeting: None, ready_when: None }
}

struct Towline {
    address: SocketAddr,
    clock: Clock,
    speech: Speech,
}

impl Dialect for Towline {
    fn subscriber(&self, who: usize, topics: &[String]) -> Opening {
        let topics: Vec<String> = topics.iter().map(|topic| format!("\"{topic}\"")).collect();
        let greeting = format!(r#"{{"type":"subscribe","id":"s","data":{{"topics":[{}]}}}}"#, topics.join(","));
        Opening {
            greeting: Some(greeting.into_bytes()),
            ready_when: Some(b"subscribe_ack"),
            ..handshake_speaking(self.address, &user_token(&self.clock, who), self.speech)
        }
    }

    fn publisher(&self, _topic: &str) -> Opening {
        service(self.address)
    }

    fn publish(&self, topic: &str, payload: &[u8], outbox: &mut Outbox<'_>) {
        outbox.send(&publish(topic, payload));
    }
}
