//! The gateway: configuration, doors, REST, and the wiring between them. The crates below know nothing of HTTP or of each other.

pub mod api;
mod authorization;
pub mod config;
pub mod doors;
pub mod http;
pub mod inbox;
pub mod limits;
mod line_rate;
pub mod logging;
pub mod metrics;
mod newcomer;
pub mod offer;
pub mod origins;
pub mod peers;
pub mod publish;
mod revocations;
pub mod runs;
pub mod server;
pub mod shared;
pub mod tls;
pub mod webhook;

pub use authorization::Publisher;
pub use config::Config;
pub use metrics::Metrics;
pub use server::{Server, StartError};
pub use shared::Shared;
