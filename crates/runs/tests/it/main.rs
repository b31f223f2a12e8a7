//! The state machine, through its public face only: decisions, what is said, and what a restart makes of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod braking;
mod interleavings;
mod leases;
mod memory;
mod world;
