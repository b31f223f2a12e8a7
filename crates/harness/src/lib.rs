//! A test harness for gateways and for applications on them: a gateway in process, tokens, sockets that expect, faults, a clock to turn.
//!
//! Everything runs for real: the server, its log on disk, HTTP and WebSockets over loopback. Whatever an expectation does not find, it
//! ends the test with the whole transcript of the connection. Nothing here decides by time; time-outs are bounds for failure.
//!
//! ```
//! use serde_json::json;
//! use towline_harness::{Gateway, PATIENCE};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let gateway = Gateway::start().await;
//! let mut alice = gateway.connect("alice").await;
//! alice.subscribe(json!(["user:alice"])).await;
//!
//! let stored = gateway.publish("user:alice", "agent.step_completed", json!({"step": 1})).await;
//!
//! let packet = alice.expect("agent.step_completed", PATIENCE).await;
//! assert_eq!(packet["data"]["step"], 1);
//! assert_eq!(packet.id(), stored.id);
//! # }
//! ```
//!
//! A test that needs more says it to the builder, and turns the clock itself:
//!
//! ```
//! use std::time::Duration;
//! use towline_harness::{Gateway, PATIENCE};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let patient = Duration::from_secs(600);
//! let gateway = Gateway::builder().config(move |config| config.sockets.idle_timeout = patient).manual_clock().start().await;
//! let token = gateway.token("alice").ttl(Duration::from_secs(120)).mint();
//! let mut alice = gateway.connect_with(token).await;
//!
//! gateway.clock().advance(Duration::from_secs(90));
//! alice.expect("auth_expiring", PATIENCE).await;
//! gateway.clock().advance(Duration::from_secs(60));
//! assert_eq!(alice.expect_close(PATIENCE).await.0, 4401);
//! # }
//! ```
//!
//! Not here: load (that is `bench`), and anything that a production build would need.

mod authority;
mod binary;
mod continuity;
mod endpoint;
mod faulty_log;
mod gateway;
mod handshake;
mod memory_log;
mod packet;
mod patience;
mod raw_socket;
mod receiver;
mod socket;
mod sse_reader;
mod token;
mod transcript;
mod wire;

pub use authority::{Authority, CertificateRequest, Certified};
pub use binary::Binary;
pub use continuity::{Continuity, is_envelope};
pub use endpoint::{Endpoint, JWT_SECRET, PAGE, SERVICE_KEY};
pub use faulty_log::{Faults, FaultyLog};
pub use gateway::{Gateway, GatewayBuilder};
pub use handshake::{Handshake, Refused};
pub use memory_log::MemoryLog;
pub use packet::Packet;
pub use patience::{PATIENCE, eventually};
pub use raw_socket::{RawFrame, RawResponse, RawSocket, client_frame};
pub use receiver::{Call, Receiver, Reply};
pub use socket::Socket;
pub use sse_reader::SseReader;
pub use token::Token;
pub use towline_auth::testing::{Answer, TestIssuer};
pub use towline_clock::Clock;
pub use transcript::Transcript;
