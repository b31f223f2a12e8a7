//! What counts as one address for limits.

use std::net::IpAddr;

/// The addresses that one customer has: a single IPv4 address, or an IPv6 /64, within which anybody may change address with every
/// connection (RFC 4291 section 2.5.4, RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressBlock {
    /// One IPv4 address.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
}

impl AddressBlock {
    /// The block of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_counts_per_64_bits_and_ipv4_per_address() {
        let block = |address: &str| AddressBlock::of(address.parse().unwrap());
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_eq!(block("192.0.2.1"), block("::ffff:192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_ne!(block("0.0.0.1"), block("::1"));
    }
}
