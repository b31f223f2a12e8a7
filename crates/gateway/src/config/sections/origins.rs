//! Which web pages may connect.

use crate::config::setting::Meaning::Same;
use crate::config::setting::Setting;

/// Which web pages may connect. Read and kept; the policy itself is not enforced yet.
#[derive(Debug, Clone, Default)]
pub struct OriginSettings {
    /// Exact origins (`https://app.example.com`).
    pub allowed: Vec<String>,
    /// Whether REST answers carry CORS headers.
    pub cors: bool,
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new("origins.allowed", |c| &mut c.origins.allowed, "web origins that may connect (kept, not enforced yet)")
            .alias("WEBSOCKET_ALLOWED_ORIGINS", Same),
        Setting::new("origins.cors", |c| &mut c.origins.cors, "CORS headers on REST (kept, not sent yet)")
            .alias("WEBSOCKET_ENABLE_CORS", Same),
    ]
}
