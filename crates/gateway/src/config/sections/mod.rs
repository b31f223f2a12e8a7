//! The sections of the configuration, one file each: plain values with their defaults, and their rows of the table of settings.

pub(super) mod addresses;
pub(super) mod admin;
pub(super) mod auth;
pub(super) mod authorization;
pub(super) mod drain;
pub(super) mod events;
pub(super) mod identity_headers;
pub(super) mod log;
pub(super) mod logging;
pub(super) mod origins;
pub(super) mod proxies;
pub(super) mod publish;
pub(super) mod rest;
pub(super) mod runs;
pub(super) mod sockets;
pub(super) mod tickets;
pub(super) mod tls;
pub(super) mod users;
pub(super) mod webhook;

/// Where the server runs; a few defaults and warnings depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// On a developer's machine.
    #[default]
    Development,
    /// A rehearsal.
    Staging,
    /// For real.
    Production,
}
