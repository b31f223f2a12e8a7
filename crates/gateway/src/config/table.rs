//! The table of all settings: key, range, older names, one line of help. A section's rows stand beside its values in `sections`; lists of
//! tables (`[[auth.issuers]]`, `[[auth.rules]]`, `[[log.topics]]`) are in `lists`.

use std::time::Duration;

use super::sections::{
    addresses, admin, auth, authorization, drain, events, identity_headers, log, logging, origins, proxies, publish, rest, runs,
    sockets, tickets, tls, users, webhook,
};
use super::setting::Meaning::Same;
use super::setting::Setting;

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;

pub(super) fn secs(from: u64, to: u64) -> (Duration, Duration) {
    (Duration::from_secs(from), Duration::from_secs(to))
}

pub(super) fn millis(from: u64, to: u64) -> (Duration, Duration) {
    (Duration::from_millis(from), Duration::from_millis(to))
}

/// All settings, in the order in which they are printed.
#[must_use]
pub fn settings() -> Vec<Setting> {
    let sections = [
        general(),
        auth::rows(),
        admin::rows(),
        log::rows(),
        sockets::rows(),
        events::rows(),
        rest::rows(),
        runs::rows(),
        drain::rows(),
        proxies::rows(),
        origins::rows(),
        users::rows(),
        publish::rows(),
        addresses::rows(),
        authorization::rows(),
        identity_headers::rows(),
        tickets::rows(),
        webhook::rows(),
        tls::rows(),
        logging::rows(),
    ];
    sections.into_iter().flatten().collect()
}

fn general() -> Vec<Setting> {
    vec![
        Setting::new("listen", |c| &mut c.listen, "address and port of the server"),
        Setting::new("data_dir", |c| &mut c.data_dir, "directory of the log's files"),
        Setting::new("environment", |c| &mut c.environment, "development, staging or production").alias("ENVIRONMENT", Same),
    ]
}
