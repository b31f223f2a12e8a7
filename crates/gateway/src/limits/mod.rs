//! How much one user, one address and one publisher may do, so that nobody takes what is there for all.
//!
//! Every table here is bounded, and none forgets somebody's count because others came: see each for how.

mod addresses;
mod messages;
mod rate;
mod users;

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use towline_auth::{Identity, IdentityKind};
use towline_protocol::{ErrorBody, ErrorCode};

pub use addresses::{AddressLimits, AddressPlace, Arrived};
pub use messages::MessageRate;
pub use rate::Rate;
pub use users::{Opened, UserConnection, UserConnections};

use crate::config::Config;

/// The limits of one server, and what has been used of them.
#[derive(Debug)]
pub struct Limits {
    /// The connections of each address.
    pub addresses: Arc<AddressLimits>,
    /// The connections of each user.
    pub users: UserConnections<UserConnection>,
    messages: MessageRate,
    /// Published events by who publishes them, if they have a limit.
    publishes: Option<Rate>,
}

impl Limits {
    /// Nothing used yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            addresses: Arc::new(AddressLimits::new(&config.addresses, &config.proxies)),
            users: UserConnections::new(config.users.connections_max),
            messages: MessageRate::new(config.users.messages_per_minute_max),
            publishes: config.publish.events_per_second_max.map(|most| Rate::new(most, config.publish.events_burst)),
        }
    }

    /// Whether a user may open one more event stream. A WebSocket one too many costs the oldest connection, whose client is told by
    /// a close code not to come back. A stream has no close codes, and a browser opens one that ended again by itself: streams that
    /// push each other out would do so for ever, and only an error status makes a browser give up.
    ///
    /// # Errors
    /// `TOO_MANY_CONNECTIONS`.
    pub fn stream(&self, identity: &Identity) -> Result<(), ErrorBody> {
        if identity.kind == IdentityKind::Service || !self.users.is_full(&identity.subject) {
            return Ok(());
        }
        Err(ErrorBody::new(ErrorCode::TooManyConnections, "you have as many connections open as you may; close one first"))
    }

    /// Takes a request of so many events. Whoever may publish anything now may publish all of them, and waits longer afterwards.
    ///
    /// # Errors
    /// `RATE_LIMITED` with the time to wait; then nothing was taken.
    pub fn publish(&self, identity: &Identity, events: usize, now: Duration) -> Result<(), ErrorBody> {
        let Some(publishes) = &self.publishes else { return Ok(()) };
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        publishes
            .take(publisher(identity), events, now)
            .map_err(|wait| too_fast("you publish more events a second than you may".to_owned(), wait))
    }

    /// Takes events of a stream, and says how long to wait before the next ones: a stream is not refused but read more slowly.
    pub fn publish_streamed(&self, identity: &Identity, events: usize, now: Duration) -> Duration {
        let Some(publishes) = &self.publishes else { return Duration::ZERO };
        publishes.charge(publisher(identity), u32::try_from(events).unwrap_or(u32::MAX), now)
    }

    /// Takes one message of a user, whatever way it came. Services have their own limit, by events.
    ///
    /// # Errors
    /// `RATE_LIMITED` with the time to wait; then nothing was taken.
    pub fn message(&self, identity: &Identity, now: Duration) -> Result<(), ErrorBody> {
        if identity.kind == IdentityKind::Service {
            return Ok(());
        }
        self.messages.take(&identity.subject, now).map_err(|wait| {
            let most = self.messages.per_minute_max();
            too_fast(format!("you may send {most} messages a minute, over all your connections"), wait)
        })
    }
}

/// A service and a user may have the same name.
fn publisher(identity: &Identity) -> impl Hash + '_ {
    (identity.kind, &*identity.subject)
}

/// The refusal of something that may be tried again after a while.
fn too_fast(what: String, wait: Duration) -> ErrorBody {
    ErrorBody::new(ErrorCode::RateLimited, format!("{what}; try again in {:.1} s", wait.as_secs_f64())).retry_after(wait)
}
