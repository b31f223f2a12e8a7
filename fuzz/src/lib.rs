//! One function per decoder of outside bytes: it takes any bytes and panics only on a bug. Beyond "does not crash", each states what must
//! hold of what was accepted.
//!
//! `tests/brief.rs` runs all of them on every test run, with a seeded mutator on stable Rust; `libfuzzer/` runs one of them guided by
//! coverage, for as long as wanted. Both start from `corpus/<target>/`, to which the input of every bug found is added.

pub mod auth;
pub mod handshake;
pub mod log;
mod memory_files;
pub mod origin;
pub mod protocol;
pub mod recovery;
pub mod webhook;
pub mod websocket;

/// A fuzz target. Takes any bytes; panics only on a bug.
pub type Target = fn(&[u8]);

/// Every target under the name that its corpus folder has.
pub const TARGETS: &[(&str, Target)] = &[
    ("websocket_server", websocket::server),
    ("websocket_client", websocket::client),
    ("websocket_compressed", websocket::compressed),
    ("handshake", handshake::headers),
    ("origin", origin::origin),
    ("origin_pattern", origin::origin_pattern),
    ("forwarded", origin::forwarded),
    ("topic", protocol::topic),
    ("position", protocol::position),
    ("cursor", protocol::cursor),
    ("timestamp", protocol::timestamp),
    ("publish_item", protocol::publish_item),
    ("client_message", protocol::client_message),
    ("binary_message", protocol::binary_message),
    ("inbox_message", protocol::inbox_message),
    ("places", auth::places),
    ("token", auth::token),
    ("claims", auth::claims),
    ("authorization_answer", auth::authorization_answer),
    ("certificate", auth::certificate),
    ("record", log::record),
    ("checkpoint", log::checkpoint),
    ("segment_header", log::segment_header),
    ("recovery", recovery::recovery),
    ("retry_after", webhook::retry_after),
];
