//! The gateway from outside, one module per capability. All of it runs over real sockets; the modules that need the binary say so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command_line;
mod memory_log;
mod native_door;
