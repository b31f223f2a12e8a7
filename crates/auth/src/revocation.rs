//! Credentials that ended before their time: which tokens and which users were revoked.
//!
//! A table in memory, asked at every authentication and by every open socket. Who keeps it durably is the gateway's business.

use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::identity::{Identity, IdentityKind};

/// What was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// The token with this `jti`, whoever issued it.
    Token(Box<str>),
    /// All credentials of this user that were issued before the revocation's `before_ms`.
    User(Box<str>),
}

/// One revocation. There is at most one of each token or user: a later one of a user takes the place of an earlier one, which it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Of what.
    pub of: Revoked,
    /// A user's credentials issued before this Unix time in milliseconds are refused. A token's whatever its age.
    pub before_ms: u64,
    /// When it was made, Unix milliseconds.
    pub at_ms: u64,
    /// What the operator noted; shown to operators only.
    pub reason: Option<Box<str>>,
}

/// Revocations in force. Counts the changes, so that whoever looked after the last one need not look again.
#[derive(Debug)]
pub struct Revocations {
    entries_max: usize,
    /// How long a credential can live: older revocations are of no use. None: for ever.
    lifetime_max_ms: Option<u64>,
    state: RwLock<State>,
    changes: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    tokens: HashMap<Box<str>, Revocation>,
    users: HashMap<Box<str>, Revocation>,
}

/// `entries_max` revocations are in force: withdraw some, or bound the life of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many revocations are in force")]
pub struct RevocationsFull;

impl Revocations {
    /// None is in force yet. At most `entries_max` will be, about 200 bytes each.
    #[must_use]
    pub fn new(entries_max: usize, lifetime_max_ms: Option<u64>) -> Self {
        Self { entries_max, lifetime_max_ms, state: RwLock::default(), changes: AtomicU32::new(0) }
    }

    /// Whether there is room for a revocation of this. Forgets what no credential can need any more.
    ///
    /// # Errors
    /// [`RevocationsFull`] if there is none.
    pub fn room_for(&self, of: &Revoked, now_ms: u64) -> Result<(), RevocationsFull> {
        let mut state = self.state.write();
        let replaces = match of {
            Revoked::Token(id) => state.tokens.contains_key(id),
            Revoked::User(user) => state.users.contains_key(user),
        };
        if replaces || state.len() < self.entries_max {
            return Ok(());
        }
        state.tokens.retain(|_, revocation| self.in_force(revocation, now_ms));
        state.users.retain(|_, revocation| self.in_force(revocation, now_ms));
        if state.len() < self.entries_max { Ok(()) } else { Err(RevocationsFull) }
    }

    /// Puts a revocation in force. True if it changed anything: an earlier one of the same user may cover more.
    ///
    /// It is taken even beyond `entries_max`: what is durable counts. Ask [`Self::room_for`] before it becomes so.
    pub fn add(&self, revocation: Revocation, now_ms: u64) -> bool {
        if !self.in_force(&revocation, now_ms) {
            return false;
        }
        {
            let mut state = self.state.write();
            let (table, key) = match &revocation.of {
                Revoked::Token(id) => (&mut state.tokens, id.clone()),
                Revoked::User(user) => (&mut state.users, user.clone()),
            };
            if table.get(&key).is_some_and(|known| known.before_ms >= revocation.before_ms) {
                return false;
            }
            table.insert(key, revocation);
        }
        // After the table has changed: who sees the new count also sees the entry.
        self.changes.fetch_add(1, Ordering::Release);
        true
    }

    /// Withdraws the revocation of a token or user; false if there is none.
    pub fn withdraw(&self, of: &Revoked) -> bool {
        let mut state = self.state.write();
        match of {
            Revoked::Token(id) => state.tokens.remove(id).is_some(),
            Revoked::User(user) => state.users.remove(user).is_some(),
        }
    }

    /// Whether an identity was revoked. Services are not: their keys are taken out of the configuration.
    #[must_use]
    pub fn revokes(&self, identity: &Identity) -> bool {
        if identity.kind == IdentityKind::Service || self.changes() == 0 {
            return false;
        }
        let state = self.state.read();
        let token = identity.token_id.as_deref().is_some_and(|id| state.tokens.contains_key(id));
        // What does not say when it was issued may be old.
        let before = |revocation: &Revocation| identity.issued_at_ms.is_none_or(|issued| issued < revocation.before_ms);
        token || state.users.get(&identity.subject).is_some_and(before)
    }

    /// How often revocations were added. Whoever saw this number and asked [`Self::revokes`] then need not ask again until it changes.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Those in force, oldest first.
    #[must_use]
    pub fn list(&self, now_ms: u64) -> Vec<Revocation> {
        let mut all: Vec<Revocation> = {
            let state = self.state.read();
            state.tokens.values().chain(state.users.values()).filter(|entry| self.in_force(entry, now_ms)).cloned().collect()
        };
        all.sort_by_key(|revocation| revocation.at_ms);
        all
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.read().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When a revocation is forgotten, Unix milliseconds. None: never.
    #[must_use]
    pub fn ends_at_ms(&self, revocation: &Revocation) -> Option<u64> {
        // A token that is known by its id may have been issued right before; a user's, right before `before_ms`.
        self.lifetime_max_ms.map(|lifetime| revocation.at_ms.max(revocation.before_ms).saturating_add(lifetime))
    }

    fn in_force(&self, revocation: &Revocation, now_ms: u64) -> bool {
        self.ends_at_ms(revocation).is_none_or(|end| now_ms < end)
    }
}

impl State {
    fn len(&self) -> usize {
        self.tokens.len() + self.users.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Grants;

    fn who(kind: IdentityKind, token_id: Option<&str>, issued_at_ms: Option<u64>) -> Identity {
        Identity {
            subject: "alice".into(),
            org: None,
            kind,
            expires_at_ms: None,
            token_id: token_id.map(Into::into),
            issued_at_ms,
            signed_by: None,
            grants: Grants::default().into(),
            added: None,
        }
    }

    fn user(name: &str, before_ms: u64) -> Revocation {
        Revocation { of: Revoked::User(name.into()), before_ms, at_ms: 1_000, reason: None }
    }

    fn token(id: &str) -> Revocation {
        Revocation { of: Revoked::Token(id.into()), before_ms: 1_000, at_ms: 1_000, reason: None }
    }

    #[test]
    fn a_user_is_revoked_up_to_a_time_and_a_token_altogether() {
        let table = Revocations::new(10, None);
        let old = who(IdentityKind::User, Some("t1"), Some(999));
        assert!(!table.revokes(&old));
        assert!(table.add(user("alice", 1_000), 1_000));
        assert!(table.revokes(&old));
        assert!(!table.revokes(&who(IdentityKind::User, None, Some(1_000))), "issued after");
        assert!(table.revokes(&who(IdentityKind::User, None, None)), "nobody knows when it was issued");
        assert!(!table.revokes(&who(IdentityKind::Service, None, None)), "a service is no user of that name");
        assert!(table.withdraw(&Revoked::User("alice".into())) && !table.withdraw(&Revoked::User("alice".into())));
        assert!(!table.revokes(&old));
        table.add(token("t1"), 1_000);
        assert!(table.revokes(&old) && table.revokes(&who(IdentityKind::User, Some("t1"), Some(5_000))));
        assert!(!table.revokes(&who(IdentityKind::User, Some("t2"), Some(1))));
    }

    #[test]
    fn a_later_revocation_takes_the_place_of_an_earlier_one_and_never_the_other_way_round() {
        let table = Revocations::new(10, None);
        assert!(table.add(user("alice", 5_000), 1_000) && !table.add(user("alice", 4_000), 1_000));
        assert_eq!((table.len(), table.changes()), (1, 1));
        assert!(table.add(user("alice", 6_000), 1_000));
        assert_eq!((table.list(1_000)[0].before_ms, table.changes()), (6_000, 2));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_nobody_needs() {
        let table = Revocations::new(2, Some(60_000));
        table.add(user("alice", 1_000), 1_000);
        table.add(token("t1"), 1_000);
        assert_eq!(table.room_for(&Revoked::User("bob".into()), 1_000), Err(RevocationsFull));
        assert_eq!(table.room_for(&Revoked::User("alice".into()), 1_000), Ok(()));
        assert_eq!(table.list(60_999).len(), 2);
        assert_eq!(table.room_for(&Revoked::User("bob".into()), 61_000), Ok(()));
        assert_eq!((table.len(), table.list(61_000).len()), (0, 0));
        assert!(!table.add(user("alice", 1_000), 61_000), "it has ended before it came");
    }
}
