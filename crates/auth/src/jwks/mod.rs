//! Issuers' published keys: fetched, read, kept and refreshed.

mod fetch;
mod key_set;
mod source;

use std::time::Duration;

pub(crate) use fetch::{Fetcher, root_cause};
pub(crate) use key_set::Fingerprint;
pub(crate) use source::{KeySource, Lookup};

/// Which published key a token was signed with: 10 bytes, kept with the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyMark {
    /// The issuer's place among those configured, at most 64.
    pub(crate) source: u16,
    pub(crate) key: Fingerprint,
}

/// How issuers' keys are fetched and kept. The defaults suit every issuer known to us.
#[derive(Debug, Clone)]
pub struct JwksPolicy {
    /// The whole fetch, from connecting to the last byte. Default 5 s, 1 ms to 60 s.
    pub fetch_timeout: Duration,
    /// The longest document in bytes. Default 256 KiB, at most 4 MiB.
    pub body_bytes_max: usize,
    /// Keys this old are refreshed in the background. Default 10 min.
    pub refresh_after: Duration,
    /// Keys this old are not used any more, if no refresh succeeded. Default 24 h.
    pub stale_max: Duration,
    /// After a failed fetch, or one that did not bring the key asked for, nobody is asked for this long. Default 30 s.
    pub cool_down: Duration,
    /// A key id that the issuer did not have is taken as unknown for this long, unless a refresh brings it. Default 2 min.
    pub unknown_for: Duration,
}

impl Default for JwksPolicy {
    fn default() -> Self {
        Self {
            fetch_timeout: Duration::from_secs(5),
            body_bytes_max: 256 * 1024,
            refresh_after: Duration::from_secs(10 * 60),
            stale_max: Duration::from_secs(24 * 60 * 60),
            cool_down: Duration::from_secs(30),
            unknown_for: Duration::from_secs(2 * 60),
        }
    }
}

/// How the issuers' keys are doing, over all issuers. Counters only ever grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyStats {
    /// Issuers with published keys that are configured.
    pub issuers: u64,
    /// Issuers whose keys are at hand.
    pub issuers_known: u64,
    /// Keys at hand.
    pub keys: u64,
    /// Fetches that ended, well or not.
    pub fetches_total: u64,
    /// Fetches that failed.
    pub failures_total: u64,
    /// Age of the keys that were fetched longest ago.
    pub oldest: Duration,
}

impl JwksPolicy {
    pub(crate) fn check(&self, problem: &mut impl FnMut(String, String)) {
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&self.fetch_timeout) {
            problem("jwks.fetch_timeout".to_owned(), "must lie between 1 ms and 60 s".to_owned());
        }
        if !(1..=4 * 1024 * 1024).contains(&self.body_bytes_max) {
            problem("jwks.body_bytes_max".to_owned(), "must lie between 1 byte and 4 MiB".to_owned());
        }
        if self.refresh_after >= self.stale_max {
            problem("jwks.refresh_after".to_owned(), "must be shorter than jwks.stale_max".to_owned());
        }
        if self.cool_down < Duration::from_secs(1) {
            problem("jwks.cool_down".to_owned(), "must be 1 s at least, to spare the issuer".to_owned());
        }
    }
}
