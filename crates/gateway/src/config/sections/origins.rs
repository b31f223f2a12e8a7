//! Which web pages may use the server.

use crate::config::setting::Meaning::Same;
use crate::config::setting::Setting;

/// Which web pages may use the server. Development adds the pages of this machine.
#[derive(Debug, Clone)]
pub struct OriginSettings {
    /// Origins (`https://app.example.com`), or all one label below a name (`https://*.example.com`).
    pub allowed: Vec<String>,
    /// More of them where `environment` is staging, so that staging and production can share a file.
    pub staging: Vec<String>,
    /// Whether pages of these origins may read REST answers: CORS headers, and answers to pre-flight requests.
    pub cors: bool,
}

impl Default for OriginSettings {
    fn default() -> Self {
        Self { allowed: Vec::new(), staging: Vec::new(), cors: true }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new(
            "origins.allowed",
            |c| &mut c.origins.allowed,
            "web origins that may connect: https://app.example.com, https://*.example.com",
        )
        .alias("WEBSOCKET_ALLOWED_ORIGINS", Same),
        Setting::new("origins.staging", |c| &mut c.origins.staging, "more of them where environment is staging"),
        Setting::new("origins.cors", |c| &mut c.origins.cors, "CORS on REST for the pages that may connect")
            .alias("WEBSOCKET_ENABLE_CORS", Same),
    ]
}
