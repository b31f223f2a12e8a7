//! The client against servers that do what a test tells them, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;
mod publishing;
mod reconnection;
mod refusal;
mod slow_consumer;
