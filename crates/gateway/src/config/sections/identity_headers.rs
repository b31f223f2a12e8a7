//! Identities in headers, from proxies that are trusted.

use crate::config::setting::Setting;
use crate::http::HeaderStyle;

/// Whether trusted proxies say who their clients are.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdentityHeaderSettings {
    /// Off by default: a proxy that passes these headers on as clients send them would let everybody be anybody.
    pub enabled: bool,
    /// Which names. Best only those that the proxy sets: it may pass on the others as the client wrote them.
    pub style: HeaderStyle,
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new(
            "identity_headers.enabled",
            |c| &mut c.identity_headers.enabled,
            "take identities from headers of the proxies in proxies.trusted",
        ),
        Setting::new("identity_headers.style", |c| &mut c.identity_headers.style, "which headers: all, plain or api-gateway"),
    ]
}
