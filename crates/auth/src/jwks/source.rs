//! One issuer's keys and when to ask for them again.
//!
//! However many connections wait, one fetch is under way per issuer, in a task of its own: a client that goes away does not
//! cancel it, so opening and dropping connections cannot make Towline ask twice. Time comes from the [`Clock`]; only the fetch's own
//! time-out is the network client's.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::watch;
use towline_clock::Clock;
use tracing::{info, warn};

use super::fetch::{FetchError, Fetcher, root_cause};
use super::key_set::{Fingerprint, KeySet, PublicKey};
use super::{JwksPolicy, KeyStats};
use crate::algorithm::SigningAlgorithm;

/// The most key ids remembered as unknown. When it is full the cool-down alone limits the fetches.
const UNKNOWN_MAX: usize = 256;

/// The keys of one configured (issuer, address); the fetcher holds the address.
pub(crate) struct KeySource {
    /// Its place among those configured.
    pub(crate) number: u16,
    /// The exact `iss`; None takes what no other source is named for.
    pub(crate) issuer: Option<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<SigningAlgorithm>,
    pub(crate) fetcher: Fetcher,
    pub(crate) policy: JwksPolicy,
    pub(crate) clock: Clock,
    pub(crate) state: Mutex<State>,
    /// How many fetches have ended; waiters watch it.
    pub(crate) landed: watch::Sender<u64>,
}

/// Times are the clock's uptime.
#[derive(Default)]
pub(crate) struct State {
    keys: Option<Loaded>,
    in_flight: bool,
    /// The last fetch failed, so an unknown key may be one that could not be learnt.
    failed: bool,
    /// No fetch starts before.
    quiet_until: Duration,
    /// Key ids that the issuer did not have, and until when that is believed.
    unknown: HashMap<Box<str>, Duration>,
    landings: u64,
    failures: u64,
}

struct Loaded {
    set: KeySet,
    at: Duration,
}

/// What is known of a key.
pub(crate) enum Lookup {
    Key(Arc<PublicKey>),
    /// The issuer does not have it.
    Unknown,
    /// It cannot be learnt now.
    Unavailable,
    /// A fetch may bring it: wait for the landing after this one with [`KeySource::fetched`], and look again.
    Fetch(u64),
}

impl KeySource {
    /// Looks for a key among those at hand, and starts a refresh in the background if they grow old.
    ///
    /// `fetched` says that a fetch was just waited for: the answer is then final, and an unknown key starts the cool-down.
    pub(crate) fn find(self: &Arc<Self>, key_id: Option<&str>, algorithm: SigningAlgorithm, fetched: bool) -> Lookup {
        let now = self.clock.uptime();
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(loaded) = state.keys.as_ref().filter(|loaded| now.saturating_sub(loaded.at) <= self.policy.stale_max) else {
            let hopeless = fetched || (!state.in_flight && now < state.quiet_until);
            return if hopeless { Lookup::Unavailable } else { Lookup::Fetch(state.landings) };
        };
        let found = loaded.set.find(key_id, algorithm).cloned();
        // Saturating: a fetch may have landed since `now` was read.
        let old = now.saturating_sub(loaded.at) >= self.policy.refresh_after;
        if old {
            self.start(state, now, None);
        }
        if let Some(key) = found {
            return Lookup::Key(key);
        }
        let name = key_id.unwrap_or_default();
        if state.unknown.get(name).is_some_and(|until| now < *until) {
            return Lookup::Unknown;
        }
        if !fetched && (state.in_flight || now >= state.quiet_until) {
            return Lookup::Fetch(state.landings);
        }
        if state.failed {
            return Lookup::Unavailable;
        }
        if fetched {
            self.note_unknown(state, name, now);
        }
        Lookup::Unknown
    }

    /// Waits until a fetch after landing number `seen` has ended, starting one if none is under way. Bounded by the fetch's time-out.
    ///
    /// Cancellation safe: the fetch goes on without the waiter.
    pub(crate) async fn fetched(self: &Arc<Self>, seen: u64, key_id: Option<&str>) {
        let mut landed = self.landed.subscribe();
        {
            let mut state = self.state.lock();
            if state.landings != seen || !self.start(&mut state, self.clock.uptime(), key_id) {
                return;
            }
        }
        // The sender lives in self, so waiting cannot fail.
        let _ = landed.wait_for(|landings| *landings != seen).await;
    }

    /// Whether a key is still published, as far as is known: while no keys can be had, nothing speaks against it. Keys that grow old are
    /// fetched anew first.
    ///
    /// Cancellation safe.
    pub(crate) async fn still_publishes(self: &Arc<Self>, key: Fingerprint) -> bool {
        let old = {
            let state = self.state.lock();
            let now = self.clock.uptime();
            let fresh = |loaded: &Loaded| now.saturating_sub(loaded.at) < self.policy.refresh_after;
            (!state.keys.as_ref().is_some_and(fresh)).then_some(state.landings)
        };
        if let Some(seen) = old {
            self.fetched(seen, None).await;
        }
        self.state.lock().keys.as_ref().is_none_or(|loaded| loaded.set.holds(key))
    }

    /// Starts a fetch, perhaps for a certain key, unless one is under way or it is too early; says whether one is under way now.
    fn start(self: &Arc<Self>, state: &mut State, now: Duration, wanted: Option<&str>) -> bool {
        if state.in_flight {
            return true;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        if now < state.quiet_until {
            return false;
        }
        state.in_flight = true;
        let flight = Flight { source: Arc::clone(self), wanted: wanted.map(Into::into), landed: false };
        runtime.spawn(flight.fly());
        true
    }

    /// The issuer was just asked and does not have this key: nobody asks again for a while.
    fn note_unknown(&self, state: &mut State, key_id: &str, now: Duration) {
        state.quiet_until = now + self.policy.cool_down;
        state.unknown.retain(|_, until| now < *until);
        if state.unknown.len() < UNKNOWN_MAX {
            state.unknown.insert(key_id.into(), now + self.policy.unknown_for);
        }
    }

    /// Adds what this source knows.
    pub(crate) fn add_stats(&self, stats: &mut KeyStats) {
        let now = self.clock.uptime();
        let state = self.state.lock();
        stats.issuers += 1;
        stats.fetches_total += state.landings;
        stats.failures_total += state.failures;
        if let Some(Loaded { set, at }) = &state.keys {
            stats.issuers_known += 1;
            stats.keys += set.len() as u64;
            stats.oldest = stats.oldest.max(now.saturating_sub(*at));
        }
    }

    fn land(&self, outcome: Result<(KeySet, usize), FetchError>, wanted: Option<&str>) {
        let now = self.clock.uptime();
        let landings = {
            let mut state = self.state.lock();
            state.in_flight = false;
            state.landings += 1;
            state.failed = outcome.is_err();
            state.failures += u64::from(outcome.is_err());
            match outcome {
                Ok((set, skipped)) => {
                    info!(host = self.fetcher.host(), keys = set.len(), skipped, "fetched an issuer's keys");
                    state.unknown.retain(|key_id, _| !set.has(key_id));
                    // Here and not by the waiter: between landing and its waking, another unknown key could start a fetch.
                    if let Some(missing) = wanted.filter(|key_id| !set.has(key_id)) {
                        self.note_unknown(&mut state, missing, now);
                    }
                    state.keys = Some(Loaded { set, at: now });
                }
                Err(error) => {
                    warn!(host = self.fetcher.host(), %error, cause = root_cause(&error), "an issuer's keys could not be fetched");
                    state.quiet_until = now + self.policy.cool_down;
                }
            }
            state.landings
        };
        self.landed.send_replace(landings);
    }
}

/// A fetch under way. Lands even if its task is dropped with the runtime, so that nobody waits for ever.
struct Flight {
    source: Arc<KeySource>,
    wanted: Option<Box<str>>,
    landed: bool,
}

impl Flight {
    async fn fly(mut self) {
        let outcome = match self.source.fetcher.fetch().await {
            Ok(body) => KeySet::parse(&body, &self.source.algorithms).map_err(FetchError::NotAKeySet),
            Err(error) => Err(error),
        };
        self.landed = true;
        self.source.land(outcome, self.wanted.as_deref());
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.source.land(Err(FetchError::Abandoned), None);
        }
    }
}
