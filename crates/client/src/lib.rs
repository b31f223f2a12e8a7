//! The Rust client: publish, watch, reconnect, resume.
//!
//! A [`Subscription`] keeps its own connection: it reconnects with back-off, resumes every topic from the last position, verifies that
//! each event follows the one before, drops repetitions, and says so when history is missing. [`Client::publish`] appends over HTTP
//! and may be repeated safely, because every event has its id before the first attempt.
//!
//! It keeps no position across restarts of the process: a consumer that needs this stores [`Event::position`] with its own work.
//!
//! ```no_run
//! use towline_client::{Client, Publish, StartRequest, Update};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:8080").user("demo").build()?;
//! client.publish([Publish::new("user:demo", "agent.started").title("Off we go")]).await?;
//!
//! let mut watching = client.subscribe([("user:demo", StartRequest::Earliest)])?;
//! while let Some(update) = watching.next().await {
//!     match update {
//!         Update::Event(event) => println!("{}: {}", event.kind, event.data_json()),
//!         Update::Gap(gap) => eprintln!("lost for good, up to {}", gap.resume_after),
//!         Update::Stopped(reason) => eprintln!("{reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
mod client;
mod error;
mod event;
mod publish;
mod runs;
mod session;
mod subscription;
mod token;
mod track;
mod update;
mod wire;

pub use backoff::Backoff;
pub use client::{Client, ClientBuilder, Encoding, Settings};
pub use error::{PublishError, SetupError};
pub use event::Event;
pub use publish::Publish;
pub use runs::{NewRun, RunError};
pub use subscription::Subscription;
pub use token::{TokenError, TokenSource};
pub use towline_protocol::{
    AfterClose, CloseCode, Epoch, ErrorBody, ErrorCode, GapCause, Offset, Position, PublishResult, Severity, StartRequest,
    StoredAt,
};
pub use update::{Gap, Hole, StopReason, Update};
