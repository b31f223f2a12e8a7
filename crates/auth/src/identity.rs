//! Who is connected, and what that one may do. Kept once per connection, so it is small.

use std::fmt;
use std::sync::Arc;

use towline_protocol::{TopicName, TopicPattern};

use crate::grant::Grants;
use crate::jwks::KeyMark;

/// Someone who proved who they are (or, in development, said so).
///
/// Costs 112 bytes plus its texts; what it may do is shared with all identities under the same rules.
pub struct Identity {
    /// The token's `sub`, or the service's name: 1 to [`crate::SUBJECT_BYTES_MAX`] bytes that may stand in a topic name.
    pub subject: Box<str>,
    /// The organisation, if the token names one.
    pub org: Option<Box<str>>,
    /// What kind of identity this is.
    pub kind: IdentityKind,
    /// From this Unix time in milliseconds on it is nobody any more. None: it does not end by itself.
    pub expires_at_ms: Option<u64>,
    /// The token's `jti`.
    pub token_id: Option<Box<str>>,
    /// The token's `iat`, Unix milliseconds.
    pub issued_at_ms: Option<u64>,
    /// The published key that its token was signed with.
    pub(crate) signed_by: Option<KeyMark>,
    pub(crate) grants: Arc<Grants>,
    /// What the application added when it was asked about this user.
    pub(crate) added: Option<Arc<Grants>>,
}

/// What an identity stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// A person, proven by a token.
    User,
    /// A service, proven by its key.
    Service,
    /// Somebody in development mode, not proven at all.
    Anonymous,
}

impl Identity {
    /// Whether it may watch a topic: its own `user:{sub}` and `inbox:{sub}`, `org:{org}`, and what rules, claims or its role grant.
    #[must_use]
    pub fn may_subscribe(&self, topic: &TopicName) -> bool {
        if topic.is_internal() && self.kind != IdentityKind::Service {
            return false;
        }
        let name = topic.as_str();
        self.owns(topic)
            || self.grants.subscribe(name, self)
            || self.added.as_ref().is_some_and(|added| added.subscribe(name, self))
    }

    /// Whether a topic is its own, `user:{sub}`, `inbox:{sub}` or `org:{org}`, which nobody else decides about.
    #[must_use]
    pub fn owns(&self, topic: &TopicName) -> bool {
        let (kind, rest) = topic.as_str().split_once(':').unwrap_or((topic.as_str(), ""));
        match kind {
            // What it has said to the application is its own too.
            "user" | "inbox" => self.kind != IdentityKind::Service && rest == &*self.subject,
            "org" => self.org.as_deref().is_some_and(|org| org == rest),
            _ => false,
        }
    }

    /// The same identity that may also watch what these patterns name, and nothing that was added before.
    #[must_use]
    pub fn with_added(&self, subscribe: &[TopicPattern]) -> Self {
        let added = (!subscribe.is_empty()).then(|| Arc::new(Grants::from_patterns(subscribe, &[])));
        Self {
            subject: self.subject.clone(),
            org: self.org.clone(),
            token_id: self.token_id.clone(),
            grants: Arc::clone(&self.grants),
            added,
            ..*self
        }
    }

    /// Whether it may publish on a topic: only what its role, its token or a rule grants. Nobody may by default.
    #[must_use]
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        self.grants.publish(topic.as_str(), self)
    }

    /// `user:{sub}`; a service has none.
    #[must_use]
    pub fn own_topic(&self) -> Option<TopicName> {
        match self.kind {
            IdentityKind::User | IdentityKind::Anonymous => TopicName::of_user(&self.subject).ok(),
            IdentityKind::Service => None,
        }
    }

    /// Whether it has ended at a Unix time in milliseconds.
    #[must_use]
    pub fn expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|end| now_ms >= end)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.subject)
            .field("org", &self.org)
            .field("kind", &self.kind)
            .field("expires_at_ms", &self.expires_at_ms)
            .finish_non_exhaustive()
    }
}
