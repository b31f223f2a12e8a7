//! The client against servers that do what a test tells them, over real sockets.

mod peer;
mod publishing;
mod reconnection;
mod refusal;
mod slow_consumer;
