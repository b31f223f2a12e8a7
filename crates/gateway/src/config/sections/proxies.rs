//! The proxies in front of the server.

use crate::config::setting::Setting;
use crate::peers::{ForwardedHeader, Networks, TrustedProxies};

/// Which machines are believed about whom they speak for.
#[derive(Debug, Clone, Default)]
pub struct ProxySettings {
    /// Where the proxies are. None by default: then every connection counts as its peer's own.
    pub trusted: Networks,
    /// The header in which they name the client's address. Only one, because a proxy passes on the other one as the client wrote it.
    pub header: ForwardedHeader,
}

impl ProxySettings {
    /// As requests are judged by it.
    #[must_use]
    pub fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.trusted.clone(), self.header)
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new("proxies.trusted", |c| &mut c.proxies.trusted, "proxies whose word about their clients counts"),
        Setting::new("proxies.header", |c| &mut c.proxies.header, "where they name the client: x-forwarded-for or forwarded"),
    ]
}
