//! Limits per address.

use crate::config::Value as _;
use crate::config::setting::Setting;
use crate::peers::Networks;

/// Limits per address: of the peer, or of the client that a trusted proxy names. IPv6 counts per /64. Generous enough for an office or a
/// mobile network behind one address; a proxy that is not named in `proxies.trusted` looks like one client and will meet them.
#[derive(Debug, Clone)]
pub struct AddressSettings {
    /// Handshakes on doors in a second, on average; more are answered with 429.
    pub handshakes_per_second_max: Option<u32>,
    /// Handshakes at once, for all who come back together after a restart.
    pub handshakes_burst: u32,
    /// Connections at once, of all kinds; more are answered with 429.
    pub connections_max: Option<u32>,
    /// Connections at once that have not finished a request; more are dropped at accept.
    pub handshakes_pending_max: Option<u32>,
    /// Where these limits do not hold. By default this machine: a developer, a load test, a proxy that nobody has named yet.
    pub exempt: Networks,
}

impl Default for AddressSettings {
    fn default() -> Self {
        Self {
            handshakes_per_second_max: Some(20),
            handshakes_burst: 400,
            connections_max: Some(2_000),
            handshakes_pending_max: Some(128),
            exempt: Networks::read("127.0.0.0/8, ::1").unwrap_or_default(),
        }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged_or_none(
            "addresses.handshakes_per_second_max",
            (1, 1_000_000),
            |c| &mut c.addresses.handshakes_per_second_max,
            "handshakes of one address in a second; none: no limit",
        ),
        Setting::ranged(
            "addresses.handshakes_burst",
            (1, 1_000_000),
            |c| &mut c.addresses.handshakes_burst,
            "handshakes of one address at once",
        ),
        Setting::ranged_or_none(
            "addresses.connections_max",
            (1, 1_000_000),
            |c| &mut c.addresses.connections_max,
            "connections of one address at once; none: no limit",
        ),
        Setting::ranged_or_none(
            "addresses.handshakes_pending_max",
            (1, 1_000_000),
            |c| &mut c.addresses.handshakes_pending_max,
            "connections of one address that have asked nothing yet; none: no limit",
        ),
        Setting::new("addresses.exempt", |c| &mut c.addresses.exempt, "networks without limits per address"),
    ]
}
