//! Whose request it is, as far as addresses say: the peer of the connection, or the client behind proxies that are trusted.
//!
//! A header is believed only as far as trusted machines wrote it: `X-Forwarded-For` is read from the right, where each proxy appends
//! the address that it was called from, up to the first address that is no trusted proxy. What stands to the left of that came
//! from the client, who may write what it likes.

mod block;
mod forwarded;
mod network;

use std::net::IpAddr;

use http::HeaderMap;

pub use block::AddressBlock;
pub use forwarded::ForwardedHeader;
pub use network::Networks;

/// The proxies in front of the server, and the header in which they name their clients.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Networks,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Believes the machines in `networks`, and of what they send only `header`: a proxy passes on the other one as the client sent it.
    #[must_use]
    pub fn new(networks: Networks, header: ForwardedHeader) -> Self {
        Self { networks, header }
    }

    /// Whether what this machine says about its clients is believed.
    #[must_use]
    pub fn is_trusted(&self, peer: IpAddr) -> bool {
        self.networks.contain(peer)
    }

    /// Where a request really comes from: the peer, or if that is a trusted proxy, the right-most address in its header that is
    /// none. The peer again if the header is missing or cannot be read that far; the left-most address if all are trusted.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.is_trusted(peer) {
            return peer;
        }
        let mut client = peer;
        for entry in self.header.backwards(headers) {
            let Some(address) = entry else { return peer };
            client = address.to_canonical();
            if !self.is_trusted(client) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::config::Value;

    fn client(header: ForwardedHeader, peer: &str, lines: &[(&str, &str)]) -> String {
        let proxies = TrustedProxies::new(Networks::read("10.0.0.0/8, 2001:db8:1::/48, 192.0.2.7").unwrap(), header);
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        proxies.client_address(peer.parse().unwrap(), &headers).to_string()
    }

    fn by_x_forwarded_for(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        client(ForwardedHeader::XForwardedFor, peer, &lines)
    }

    #[test]
    fn a_stranger_is_who_it_is_whatever_it_says() {
        for lines in [&["10.0.0.1"][..], &["8.8.8.8"], &["8.8.8.8, 10.0.0.1", "10.0.0.2"], &["nonsense"], &[]] {
            assert_eq!(by_x_forwarded_for("203.0.113.5", lines), "203.0.113.5", "{lines:?}");
        }
    }

    #[test]
    fn behind_a_proxy_the_right_most_stranger_is_the_client() {
        for (lines, expected) in [
            (&["198.51.100.1"][..], "198.51.100.1"),
            // What the client wrote itself stands on the left and counts for nothing.
            (&["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
            (&["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            (&["garbage', \"x, 198.51.100.1"], "198.51.100.1"),
            (&["198.51.100.1, 10.1.2.3, 192.0.2.7"], "198.51.100.1"),
            (&["198.51.100.1, 10.1.2.3", " 2001:db8:1::9 "], "198.51.100.1"),
            // With ports, as some proxies write them.
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["[2001:db8:2::1]:4711"], "2001:db8:2::1"),
            (&["2001:db8:2::1"], "2001:db8:2::1"),
            (&["::ffff:198.51.100.1"], "198.51.100.1"),
            (&["198.51.100.1,, ,10.0.0.9,"], "198.51.100.1"),
            // A client inside the trusted networks.
            (&["10.9.9.9, 10.0.0.2"], "10.9.9.9"),
            // What a proxy appended cannot be read: its own address is the only one that is certain.
            (&["198.51.100.1, unknown"], "10.0.0.1"),
            (&["198.51.100.1, 10.0.0.2, 300.1.1.1"], "10.0.0.1"),
            (&["198.51.100.1 10.0.0.2"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(by_x_forwarded_for("10.0.0.1", lines), expected, "{lines:?}");
        }
        assert_eq!(by_x_forwarded_for("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1", "a mapped peer is the same machine");
    }

    #[test]
    fn the_standard_header_is_read_the_same_way() {
        for (lines, expected) in [
            (&["for=198.51.100.1"][..], "198.51.100.1"),
            (&["for=1.1.1.1, For=\"198.51.100.1:80\";proto=https;by=10.0.0.1"], "198.51.100.1"),
            (&["for=198.51.100.1, for=\"[2001:db8:1::2]:443\""], "198.51.100.1"),
            (&["proto=https;for=\"[2001:db8:2::1]\""], "2001:db8:2::1"),
            // A quote that the client left open does not swallow what the proxy appended.
            (&["for=\"1.1.1.1, for=198.51.100.1"], "198.51.100.1"),
            (&["for=\"1.1.1.1", "for=198.51.100.1"], "198.51.100.1"),
            (&["for=198.51.100.1, for=_hidden"], "10.0.0.1"),
            (&["for=198.51.100.1, for=unknown"], "10.0.0.1"),
            (&["for=198.51.100.1, proto=https"], "10.0.0.1"),
            (&["for=198.51.100.1;for=1.1.1.1"], "10.0.0.1"),
            (&["for=\"198.51.100.1"], "10.0.0.1"),
            (&["for=\"198.51.\\100.1\""], "10.0.0.1"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn only_the_header_that_the_proxies_write_is_read() {
        let both = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=203.0.113.9")];
        assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &both), "198.51.100.1");
        assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &both), "203.0.113.9");
    }
}
