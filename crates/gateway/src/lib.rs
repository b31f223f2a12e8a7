//! The gateway: configuration, doors, REST, and the wiring between them. The crates below know nothing of HTTP or of each other.

pub mod config;
pub mod metrics;
pub mod publish;
pub mod shared;

pub use config::Config;
pub use metrics::Metrics;
pub use shared::Shared;
