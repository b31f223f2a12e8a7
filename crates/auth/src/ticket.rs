//! One-time tickets: what a browser puts into an address instead of its token, because addresses end in access logs.
//!
//! A ticket is 256 random bits; only its hash is kept. It stands for the identity that asked for it, from one origin, for a short while,
//! once. Nobody without a credential can make one, so the table is grown by users only, and each of them has a share.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use parking_lot::Mutex;
use towline_clock::Clock;

use crate::identity::Identity;
use crate::service_key::sha256;

/// 256 bits: nobody guesses one, however many are tried.
const RANDOM_BYTES: usize = 32;
/// A ticket has 43 characters; what is much longer is not even hashed.
const TEXT_BYTES_MAX: usize = 64;

type Hash = [u8; SHA256_OUTPUT_LEN];

/// How long tickets live and how many there may be.
#[derive(Debug, Clone)]
pub struct TicketPolicy {
    /// How long one may be used. Default 30 s.
    pub lifetime: Duration,
    /// Tickets of one user at once; a further one ends the oldest. Default 10.
    pub per_user_max: usize,
    /// Tickets at once, about 300 bytes each; then no further ones are issued. Default 100,000.
    pub total_max: usize,
}

impl Default for TicketPolicy {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(30), per_user_max: 10, total_max: 100_000 }
    }
}

/// A ticket for whoever asked for it.
pub struct IssuedTicket {
    /// Its text, base64url. It exists here and with its holder only.
    pub text: String,
    /// From this Unix time in milliseconds on it is worth nothing.
    pub expires_at_ms: u64,
}

impl fmt::Debug for IssuedTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedTicket").field("expires_at_ms", &self.expires_at_ms).finish_non_exhaustive()
    }
}

/// Why no ticket was issued. Both pass: try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// `total_max` tickets are out.
    #[error("too many tickets are waiting to be used")]
    Full,
    /// The system gives no random bytes.
    #[error("no random bytes can be had")]
    Random,
}

/// Why a ticket was not taken: for metrics. Its holder hears the same text for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TicketFault {
    /// Never issued, or forgotten.
    Unknown,
    /// It was used before.
    Used,
    /// It was not used in time.
    Expired,
    /// It came from another origin than it was issued to. It is used up by that.
    Origin,
}

impl TicketFault {
    /// As a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Origin => "origin",
        }
    }
}

/// The tickets that are out.
pub struct Tickets {
    policy: TicketPolicy,
    clock: Clock,
    state: Mutex<State>,
}

/// Numbers grow, and all tickets live equally long, so the lowest number ends first.
#[derive(Default)]
struct State {
    next: u64,
    tickets: BTreeMap<u64, Ticket>,
    by_hash: HashMap<Hash, u64>,
    /// Each user's tickets, oldest first; at most `per_user_max`.
    by_user: HashMap<Box<str>, VecDeque<u64>>,
}

struct Ticket {
    hash: Hash,
    subject: Box<str>,
    /// Taken by whoever redeems it. The rest stays until it would have ended, to tell a used ticket from an unknown one.
    identity: Option<Arc<Identity>>,
    origin: Option<Box<str>>,
    /// By the clock's uptime.
    ends: Duration,
}

impl State {
    fn remove(&mut self, number: u64) {
        let Some(ticket) = self.tickets.remove(&number) else { return };
        self.by_hash.remove(&ticket.hash);
        if let Some(numbers) = self.by_user.get_mut(&ticket.subject) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_user.remove(&ticket.subject);
            }
        }
    }

    fn forget_ended(&mut self, now: Duration) {
        while let Some((&number, oldest)) = self.tickets.first_key_value()
            && now >= oldest.ends
        {
            self.remove(number);
        }
    }
}

impl Tickets {
    /// None is out yet.
    #[must_use]
    pub fn new(policy: TicketPolicy, clock: Clock) -> Self {
        Self { policy, clock, state: Mutex::default() }
    }

    /// Makes a ticket for somebody who was authenticated, to be used from `origin` (None: by a client that sends no `Origin`).
    ///
    /// # Errors
    /// [`IssueError`] if there is no room for one.
    pub fn issue(&self, identity: &Arc<Identity>, origin: Option<&str>) -> Result<IssuedTicket, IssueError> {
        let mut random = [0; RANDOM_BYTES];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| IssueError::Random)?;
        let text = URL_SAFE_NO_PAD.encode(random);
        let hash = sha256(&text);
        let now = self.clock.uptime();
        let mut state = self.state.lock();
        let state = &mut *state;
        state.forget_ended(now);
        while let Some(numbers) = state.by_user.get(&identity.subject)
            && numbers.len() >= self.policy.per_user_max
            && let Some(oldest) = numbers.front().copied()
        {
            state.remove(oldest);
        }
        if state.tickets.len() >= self.policy.total_max {
            return Err(IssueError::Full);
        }
        let number = state.next;
        state.next += 1;
        let ticket = Ticket {
            hash,
            subject: identity.subject.clone(),
            identity: Some(Arc::clone(identity)),
            origin: origin.map(Into::into),
            ends: now + self.policy.lifetime,
        };
        state.tickets.insert(number, ticket);
        state.by_hash.insert(hash, number);
        state.by_user.entry_ref(&*identity.subject).or_default().push_back(number);
        let lifetime_ms = u64::try_from(self.policy.lifetime.as_millis()).unwrap_or(u64::MAX);
        Ok(IssuedTicket { text, expires_at_ms: self.clock.unix_ms().saturating_add(lifetime_ms) })
    }

    /// Uses a ticket up: of many that try at once, one gets the identity. Whether that identity still stands is the caller's to ask.
    ///
    /// # Errors
    /// [`TicketFault`]: for counting, not for telling.
    pub fn redeem(&self, text: &str, origin: Option<&str>) -> Result<Arc<Identity>, TicketFault> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TicketFault::Unknown);
        }
        let hash = sha256(text);
        let now = self.clock.uptime();
        let mut state = self.state.lock();
        let number = state.by_hash.get(&hash).copied().ok_or(TicketFault::Unknown)?;
        let ticket = state.tickets.get_mut(&number).ok_or(TicketFault::Unknown)?;
        if now >= ticket.ends {
            return Err(TicketFault::Expired);
        }
        // Whoever shows it elsewhere has stolen it: it is worth nothing from then on, to anybody.
        let identity = ticket.identity.take().ok_or(TicketFault::Used)?;
        if ticket.origin.as_deref() == origin { Ok(identity) } else { Err(TicketFault::Origin) }
    }

    /// How many are remembered, used ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().tickets.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("policy", &self.policy).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{AuthConfig, AuthMode, Authenticator};

    const APP: Option<&str> = Some("https://app.example.com");

    fn who(name: &str) -> Arc<Identity> {
        let config = AuthConfig { mode: AuthMode::Development, ..AuthConfig::default() };
        Authenticator::new(config, Clock::manual(0)).unwrap().development_identity(name).unwrap()
    }

    fn tickets(policy: TicketPolicy) -> (Tickets, Clock) {
        let clock = Clock::manual(1_800_000_000_000);
        (Tickets::new(policy, clock.clone()), clock)
    }

    fn fault(tickets: &Tickets, text: &str, origin: Option<&str>) -> Option<TicketFault> {
        tickets.redeem(text, origin).err()
    }

    // proves: C1
    #[test]
    fn a_ticket_is_good_once_from_where_it_was_issued_and_for_a_short_while() {
        let (tickets, clock) = tickets(TicketPolicy::default());
        let once = tickets.issue(&who("alice"), APP).unwrap();
        assert_eq!((once.text.len(), once.expires_at_ms), (43, 1_800_000_030_000));
        assert_eq!(&*tickets.redeem(&once.text, APP).unwrap().subject, "alice");
        assert_eq!(fault(&tickets, &once.text, APP), Some(TicketFault::Used));
        let late = tickets.issue(&who("alice"), None).unwrap();
        clock.advance(Duration::from_secs(30));
        assert_eq!(fault(&tickets, &late.text, None), Some(TicketFault::Expired));
        for unknown in ["", "x", &late.text.to_lowercase(), &"a".repeat(43), &"a".repeat(4_000)] {
            assert_eq!(fault(&tickets, unknown, None), Some(TicketFault::Unknown), "{unknown}");
        }
    }

    #[test]
    fn shown_from_elsewhere_it_is_used_up() {
        let (tickets, _) = tickets(TicketPolicy::default());
        for (issued, shown) in [(APP, Some("https://evil.example.com")), (APP, None), (None, APP), (APP, Some("null"))] {
            let ticket = tickets.issue(&who("alice"), issued).unwrap();
            assert_eq!(fault(&tickets, &ticket.text, shown), Some(TicketFault::Origin));
            assert_eq!(fault(&tickets, &ticket.text, issued), Some(TicketFault::Used));
        }
    }

    #[test]
    fn the_table_is_bounded_for_each_user_and_in_all() {
        let (tickets, clock) = tickets(TicketPolicy { per_user_max: 3, total_max: 5, ..TicketPolicy::default() });
        let mine: Vec<_> = (0..50).map(|_| tickets.issue(&who("alice"), None).unwrap().text).collect();
        assert_eq!(tickets.len(), 3);
        assert_eq!(fault(&tickets, &mine[46], None), Some(TicketFault::Unknown));
        let bobs = [tickets.issue(&who("bob"), None).unwrap(), tickets.issue(&who("bob"), None).unwrap()];
        // No room for another user, and nobody else's tickets go for it; who has tickets gets their own place again.
        assert_eq!(tickets.issue(&who("carol"), None).err(), Some(IssueError::Full));
        assert!(tickets.issue(&who("alice"), None).is_ok());
        assert!(fault(&tickets, &mine[49], None).is_none() && fault(&tickets, &bobs[0].text, None).is_none());
        clock.advance(Duration::from_secs(30));
        assert!(tickets.issue(&who("carol"), None).is_ok());
        let state = tickets.state.lock();
        assert_eq!((state.tickets.len(), state.by_user.len(), state.by_hash.len()), (1, 1, 1));
    }

    // proves: C1
    #[test]
    fn of_a_hundred_that_redeem_at_once_one_wins() {
        let (tickets, _) = tickets(TicketPolicy::default());
        for _ in 0..20 {
            let ticket = tickets.issue(&who("alice"), APP).unwrap();
            let (winners, barrier) = (AtomicUsize::new(0), std::sync::Barrier::new(100));
            std::thread::scope(|scope| {
                for _ in 0..100 {
                    scope.spawn(|| {
                        barrier.wait();
                        if tickets.redeem(&ticket.text, APP).is_ok() {
                            winners.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert_eq!(winners.load(Ordering::SeqCst), 1);
        }
    }

    #[test]
    fn neither_the_table_nor_a_ticket_prints_its_text() {
        let (tickets, _) = tickets(TicketPolicy::default());
        let ticket = tickets.issue(&who("alice"), None).unwrap();
        assert!(!format!("{ticket:?} {tickets:?}").contains(&ticket.text));
    }
}
