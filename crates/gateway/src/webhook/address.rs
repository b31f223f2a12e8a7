//! Which addresses are the public internet's, and which lead to where only insiders should get.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address lies outside of the public internet: this machine, private and shared networks, link-local ones (with the clouds'
/// metadata services), documentation, benchmarks, multicast, reserved ranges; also where such an IPv4 address hides in an IPv6 one.
///
/// Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates).
#[must_use]
pub fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4_is_internal(v4),
        IpAddr::V6(v6) => v6_is_internal(v6),
    }
}

fn v4_is_internal(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    match a {
        // This network, private, loopback, multicast and everything reserved above it, the broadcast included.
        0 | 10 | 127 | 224.. => true,
        // Shared address space of carriers (RFC 6598); Alibaba's metadata service is 100.100.100.200.
        100 => (64..128).contains(&b),
        // Link-local; the metadata services of AWS, Google and Azure are 169.254.169.254.
        169 => b == 254,
        172 => (16..32).contains(&b),
        // Protocol assignments, documentation, the former 6to4 relays, private.
        192 => {
            (b == 0 && (c == 0 || c == 2))
                || (b == 88 && c == 99)
                || b == 168
                || (b == 31 && c == 196)
                || (b == 52 && c == 193)
                || (b == 175 && c == 48)
        }
        // Benchmarks, documentation.
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        // Azure's platform services, which answer virtual machines only.
        168 => address == Ipv4Addr::new(168, 63, 129, 16),
        _ => false,
    }
}

fn v6_is_internal(address: Ipv6Addr) -> bool {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = address.segments();
    let low = v4(s6, s7);
    match s0 {
        0 => match (s1, s2, s3, s4, s5) {
            // `::`, `::1`, IPv4-compatible (deprecated), IPv4-mapped, and the translated form of RFC 2765.
            (0, 0, 0, 0, 0) | (0, 0, 0, 0xffff, 0) => true,
            (0, 0, 0, 0, 0xffff) => v4_is_internal(low),
            // Nothing else below 64:ff9b is in use.
            _ => true,
        },
        // NAT64: the well-known prefix carries an IPv4 address at its end; the local one (RFC 8215) leads inside.
        0x64 if s1 == 0xff9b => match (s2, s3, s4, s5) {
            (0, 0, 0, 0) => v4_is_internal(low),
            _ => true,
        },
        0x2001 => match s1 {
            // Teredo hides the client's address with all bits turned, and its server's as it is.
            0 => v4_is_internal(v4(!s6, !s7)) || v4_is_internal(v4(s2, s3)),
            // Further protocol assignments (2001::/23), documentation.
            1..0x200 | 0xdb8 => true,
            _ => false,
        },
        // 6to4 carries an IPv4 address behind its prefix.
        0x2002 => v4_is_internal(v4(s1, s2)),
        // Documentation (RFC 9637), where only the first 20 bits count.
        0x3fff => s1 < 0x1000,
        // What is not global unicast (2000::/3): unique local (AWS's metadata service is fd00:ec2::254), link-local, site-local, multicast,
        // discard-only, segment routing, and everything not assigned yet.
        other => !(0x2000..0x4000).contains(&other),
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // proves: C9
    #[test]
    fn inner_addresses_are_known_in_every_disguise() {
        for inner in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::7f00:1",
            "::10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "64:ff9b:1:7f00:0:100::",
            "100::1",
            "2001:db8::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:a9fe:a9fe::",
            "2001:0:7f00:1::",
            "2001:0:808:808::80ff:fffe",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd12:3456::1",
            "fe80::1",
            "fe80::a9fe:a9fe",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "4000::1",
            "1::1",
        ] {
            assert!(is_internal(inner.parse().unwrap()), "{inner}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.1",
            "203.0.114.1",
            "223.255.255.255",
            "168.63.129.17",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:200::1",
            "3fff:1000::1",
        ] {
            assert!(!is_internal(public.parse().unwrap()), "{public}");
        }
    }

    proptest! {
        /// Wherever an inner IPv4 address is embedded, the IPv6 address around it is inner too.
        #[test]
        fn no_embedding_hides_an_inner_address(bits: u32) {
            let inner = Ipv4Addr::from(bits);
            let [high, low] = [(bits >> 16) as u16, bits as u16];
            let embedded = [
                inner.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0, !high, !low),
                Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0x0808, !0x0808),
            ];
            for address in embedded {
                prop_assert_eq!(is_internal(address.into()), is_internal(inner.into()), "{} in {}", inner, address);
            }
        }
    }
}
