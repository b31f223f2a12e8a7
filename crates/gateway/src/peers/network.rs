//! Networks as operators write them: `10.0.0.0/8, 2001:db8::/32, 192.0.2.7`.

use std::net::IpAddr;
use std::str::FromStr;

use crate::config::Value;

/// A list of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// A network: all addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    /// Its first address.
    base: IpAddr,
    prefix: u8,
}

impl Networks {
    /// Whether an address is in one of them. An IPv4 address is the same when it comes mapped into IPv6.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| first_address(address, network.prefix) == Some(network.base))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is the whole Internet.
    #[must_use]
    pub fn contain_everybody(&self) -> bool {
        self.0.iter().any(|network| network.prefix == 0)
    }
}

impl FromStr for Networks {
    type Err = String;

    /// As [`Value::read`], for code.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text).ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }
}

impl Value for Networks {
    const EXPECTED: &'static str = "addresses or networks such as 10.0.0.0/8 or 2001:db8::7, separated by commas";

    fn read(text: &str) -> Option<Self> {
        Vec::read(text).map(Self)
    }

    fn read_list(texts: &[String]) -> Option<Self> {
        Vec::read_list(texts).map(Self)
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl Value for Network {
    const EXPECTED: &'static str = "an address or a network";

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address = address.parse::<IpAddr>().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let mut prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse::<u8>().ok()?,
            Some(_) => return None,
            None => bits,
        };
        if prefix > bits {
            return None;
        }
        let canonical = address.to_canonical();
        if canonical.is_ipv4() && address.is_ipv6() {
            prefix = prefix.checked_sub(96)?;
        }
        Some(Self { base: first_address(canonical, prefix)?, prefix })
    }

    fn show(&self) -> String {
        format!("{}/{}", self.base, self.prefix)
    }
}

/// An address with all bits behind the prefix cleared; `None` if it has fewer bits than the prefix.
fn first_address(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let behind = 32_u32.checked_sub(u32::from(prefix))?;
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Some(IpAddr::V4((address.to_bits() & mask).into()))
        }
        IpAddr::V6(address) => {
            let behind = 128_u32.checked_sub(u32::from(prefix))?;
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Some(IpAddr::V6((address.to_bits() & mask).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_with_its_bits() {
        let networks = Networks::read("10.0.0.0/8, 192.0.2.7, 2001:db8::/33, ::ffff:172.16.0.0/108, 198.51.100.128/25").unwrap();
        for inside in
            ["10.0.0.0", "10.255.255.255", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8:7fff::1", "172.31.0.1", "198.51.100.200"]
        {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["11.0.0.0", "9.255.255.255", "192.0.2.8", "2001:db8:8000::", "172.32.0.0", "198.51.100.127", "::", "::1", "::a00:1"]
        {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        assert!(Networks::read("0.0.0.0/0").unwrap().contain_everybody());
        assert!(!Networks::read("0.0.0.0/0").unwrap().contain("::1".parse().unwrap()), "IPv6 is another Internet");
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "example.com",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/8/8",
            "::ffff:0.0.0.0/95",
        ] {
            assert_eq!(Networks::read(bad), None, "{bad}");
        }
        let shown = Networks::read("10.1.2.3/8,2001:DB8::1").unwrap().show();
        assert_eq!(shown, "10.0.0.0/8,2001:db8::1/128");
        assert_eq!(Networks::read("none"), Some(Networks::default()));
    }
}
