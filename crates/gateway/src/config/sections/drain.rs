//! Leaving in good order.

use std::time::Duration;

use crate::config::setting::Setting;
use crate::config::table::secs;

/// Leaving in good order.
#[derive(Debug, Clone)]
pub struct DrainSettings {
    /// Clients are told to come back at times spread over this long.
    pub window: Duration,
    /// After this long the process exits, whatever is still open.
    pub timeout: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { window: Duration::from_secs(5), timeout: Duration::from_secs(20) }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged("drain.window", secs(0, 600), |c| &mut c.drain.window, "clients come back spread over this long"),
        Setting::ranged("drain.timeout", secs(1, 3_600), |c| &mut c.drain.timeout, "the process exits after this long"),
    ]
}
