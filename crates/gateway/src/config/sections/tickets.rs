//! One-time tickets.

use std::time::Duration;

use crate::config::setting::Setting;
use crate::config::table::secs;
use towline_auth::TicketPolicy;

/// One-time tickets, which stand in an address instead of a token.
#[derive(Debug, Clone)]
pub struct TicketSettings {
    /// How long one may be used: long enough for a slow handshake, too short to be found in a log.
    pub lifetime: Duration,
    /// Tickets of one user at once: as many as tabs that a browser opens together. A further one ends the oldest.
    pub per_user_max: usize,
    /// Tickets at once, about 300 bytes each; then no further ones are issued.
    pub total_max: usize,
}

impl Default for TicketSettings {
    fn default() -> Self {
        let TicketPolicy { lifetime, per_user_max, total_max } = TicketPolicy::default();
        Self { lifetime, per_user_max, total_max }
    }
}

impl TicketSettings {
    /// As the authentication crate takes it.
    #[must_use]
    pub fn policy(&self) -> TicketPolicy {
        TicketPolicy { lifetime: self.lifetime, per_user_max: self.per_user_max, total_max: self.total_max }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged("tickets.lifetime", secs(1, 600), |c| &mut c.tickets.lifetime, "how long a one-time ticket may be used"),
        Setting::ranged(
            "tickets.per_user_max",
            (1, 1_000),
            |c| &mut c.tickets.per_user_max,
            "tickets of one user at once; a further one ends the oldest",
        ),
        Setting::ranged("tickets.total_max", (1, 10_000_000), |c| &mut c.tickets.total_max, "tickets at once"),
    ]
}
