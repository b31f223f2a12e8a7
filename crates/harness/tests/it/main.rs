//! The gateway from outside, one module per capability. All of it runs over real sockets; the modules that need the binary say so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod authentication;
mod binary_encoding;
mod brake;
mod command_line;
mod compression;
mod cors;
mod crash;
mod crowd;
mod dashboards;
mod dead_letters;
mod doors_agree;
mod draining;
mod event_stream;
mod feed_door;
mod heartbeat;
mod hostile_clients;
mod hub_door;
mod inbox;
mod ip_limits;
mod join;
mod memory_log;
mod native_door;
mod older_names;
mod operations;
mod origins;
mod publish_limits;
mod publishing;
mod rest_reading;
mod resumption;
mod revocation;
mod runs;
mod slow_readers;
mod storage_trouble;
mod tickets;
mod tls;
mod to_the_application;
mod token_expiry;
mod transcripts;
mod unified_door;
mod user_limits;
mod webhook;
