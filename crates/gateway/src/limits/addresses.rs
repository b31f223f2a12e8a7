//! Limits per address, against one machine that takes the place of all: handshakes, connections, and connections that say nothing.
//!
//! What is open is counted exactly, in a table that holds an entry only as long as something of that address is open, and so is bounded
//! by the limits of the whole server. What is past (handshakes) is counted by [`Rate`]. Neither can be made to forget.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use towline_protocol::{ErrorBody, ErrorCode};

use super::rate::Rate;
use crate::config::{AddressSettings, ProxySettings};
use crate::peers::{AddressBlock, Networks, TrustedProxies};

/// Nobody knows when a connection of the address ends; a pause that keeps the noise down.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What each address has, and may.
#[derive(Debug)]
pub struct AddressLimits {
    proxies: TrustedProxies,
    exempt: Networks,
    connections_max: u32,
    pending_max: u32,
    handshakes: Option<Rate>,
    open: Mutex<HashMap<AddressBlock, Count>>,
}

/// What of an address is open now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    connections: u32,
    pending: u32,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A connection, until it ends.
    Connection,
    /// A connection that has not said yet what it wants.
    Pending,
}

/// Counts something of an address as long as it lives.
#[derive(Debug)]
pub struct AddressPlace {
    limits: Arc<AddressLimits>,
    block: AddressBlock,
    kind: Kind,
}

/// A connection that was accepted. Its parts are `None` for peers without limits: trusted proxies, and exempt networks.
#[derive(Debug)]
pub struct Arrived {
    /// To be kept until the connection's first request.
    pub pending: Option<AddressPlace>,
    /// To be kept until its end.
    pub place: Option<AddressPlace>,
    /// The address has too many: what this one asks is refused, whatever it is.
    pub one_too_many: bool,
}

impl AddressLimits {
    /// Nobody is here.
    #[must_use]
    pub fn new(settings: &AddressSettings, proxies: &ProxySettings) -> Self {
        Self {
            proxies: proxies.trusted_proxies(),
            exempt: settings.exempt.clone(),
            connections_max: settings.connections_max.unwrap_or(u32::MAX),
            pending_max: settings.handshakes_pending_max.unwrap_or(u32::MAX),
            handshakes: settings.handshakes_per_second_max.map(|most| Rate::new(most, settings.handshakes_burst)),
            open: Mutex::default(),
        }
    }

    /// Takes a connection that was just accepted; `None` if its address has too many already that say nothing, and this one is to be
    /// dropped without a word.
    pub fn arrive(self: &Arc<Self>, peer: IpAddr) -> Option<Arrived> {
        if self.is_exempt(peer) {
            return Some(Arrived { pending: None, place: None, one_too_many: false });
        }
        let pending = self.count(peer, Kind::Pending)?;
        let place = self.count(peer, Kind::Connection);
        Some(Arrived { pending: Some(pending), one_too_many: place.is_none(), place })
    }

    /// Takes a handshake on a door at an uptime. Where the client is not the peer, because a proxy speaks for it, its connection is
    /// counted from here on by the place.
    ///
    /// # Errors
    /// `TOO_MANY_CONNECTIONS`, with the time to wait.
    pub fn shake_hands(
        self: &Arc<Self>,
        peer: IpAddr,
        client: IpAddr,
        now: Duration,
    ) -> Result<Option<AddressPlace>, (&'static str, ErrorBody)> {
        if self.is_exempt(client) {
            return Ok(None);
        }
        if let Some(handshakes) = &self.handshakes {
            handshakes.take(AddressBlock::of(client), 1, now).map_err(|wait| {
                let error =
                    ErrorBody::new(ErrorCode::TooManyConnections, "your address opens connections too fast; try again later");
                ("address_rate", error.retry_after(wait))
            })?;
        }
        if client == peer.to_canonical() {
            return Ok(None);
        }
        self.count(client, Kind::Connection).map(Some).ok_or_else(|| ("address_connections", Self::too_many()))
    }

    /// Why a connection is refused that is one too many.
    #[must_use]
    pub fn too_many() -> ErrorBody {
        ErrorBody::new(ErrorCode::TooManyConnections, "your address has as many connections open as it may; close some first")
            .retry_after(RETRY_AFTER)
    }

    /// How many addresses have something open.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.open.lock().len()
    }

    /// A proxy is many clients, and who is exempt is not counted either.
    fn is_exempt(&self, address: IpAddr) -> bool {
        self.proxies.is_trusted(address) || self.exempt.contain(address)
    }

    fn count(self: &Arc<Self>, address: IpAddr, kind: Kind) -> Option<AddressPlace> {
        let block = AddressBlock::of(address);
        let mut open = self.open.lock();
        let count = open.get(&block).copied().unwrap_or_default();
        let counted = match kind {
            Kind::Connection if count.connections < self.connections_max => Count { connections: count.connections + 1, ..count },
            Kind::Pending if count.pending < self.pending_max => Count { pending: count.pending + 1, ..count },
            _ => return None,
        };
        open.insert(block, counted);
        Some(AddressPlace { limits: Arc::clone(self), block, kind })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock();
        let Some(count) = open.get_mut(&self.block) else { return };
        match self.kind {
            Kind::Connection => count.connections -= 1,
            Kind::Pending => count.pending -= 1,
        }
        if *count == Count::default() {
            open.remove(&self.block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Value;

    fn limits(connections: u32, pending: u32) -> Arc<AddressLimits> {
        let settings = AddressSettings {
            connections_max: Some(connections),
            handshakes_pending_max: Some(pending),
            handshakes_per_second_max: Some(1),
            handshakes_burst: 2,
            exempt: Networks::read("127.0.0.0/8").unwrap(),
        };
        let proxies = ProxySettings { trusted: Networks::read("10.0.0.1").unwrap(), ..ProxySettings::default() };
        Arc::new(AddressLimits::new(&settings, &proxies))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_counted_is_what_is_open() {
        let limits = limits(2, 3);
        let here = address("192.0.2.1");
        let mut first = limits.arrive(here).unwrap();
        let second = limits.arrive(here).unwrap();
        let third = limits.arrive(here).unwrap();
        assert!(!first.one_too_many && !second.one_too_many && third.one_too_many);
        assert!(limits.arrive(here).is_none(), "three say nothing yet");
        assert!(limits.arrive(address("192.0.2.2")).is_some_and(|other| !other.one_too_many));
        first.pending = None;
        assert!(limits.arrive(here).is_some_and(|fourth| fourth.one_too_many));
        drop(second);
        assert!(limits.arrive(here).is_some_and(|fifth| !fifth.one_too_many));
        drop((first, third));
        assert_eq!(limits.addresses(), 0);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let limits = limits(1, 10);
        let _first = limits.arrive(address("2001:db8::1")).unwrap();
        assert!(limits.arrive(address("2001:db8::2")).unwrap().one_too_many);
        assert!(!limits.arrive(address("2001:db8:0:1::1")).unwrap().one_too_many);
    }

    #[test]
    fn behind_a_proxy_each_client_is_counted_and_the_proxy_is_not() {
        let limits = limits(1, 1);
        let (proxy, client) = (address("10.0.0.1"), address("192.0.2.1"));
        let arrived: Vec<_> = (0..10).map(|_| limits.arrive(proxy).unwrap()).collect();
        assert!(arrived.iter().all(|one| !one.one_too_many && one.place.is_none()));
        let place = limits.shake_hands(proxy, client, Duration::ZERO).unwrap();
        assert!(place.is_some());
        assert_eq!(limits.shake_hands(proxy, client, Duration::ZERO).unwrap_err().0, "address_connections");
        let (reason, error) = limits.shake_hands(proxy, client, Duration::ZERO).unwrap_err();
        assert_eq!((reason, error.code, error.retry_after_ms), ("address_rate", ErrorCode::TooManyConnections, Some(1_000)));
        assert!(limits.shake_hands(proxy, address("192.0.2.2"), Duration::ZERO).unwrap().is_some());
        // A proxy that names nobody speaks for itself, and this machine has no limits.
        for _ in 0..10 {
            assert!(limits.shake_hands(proxy, proxy, Duration::ZERO).unwrap().is_none());
            assert!(limits.shake_hands(proxy, address("127.0.0.1"), Duration::ZERO).unwrap().is_none());
        }
        drop(place);
        assert_eq!(limits.addresses(), 0);
    }
}
