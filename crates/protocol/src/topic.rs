//! Topic names and the patterns that configuration and grants use to name many of them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where events go: `user:42`, `thread:abc`, `system`. Cheap to clone.
///
/// Valid: 1 to [`TopicName::BYTES_MAX`] bytes out of `A-Z a-z 0-9 _ - . : @ | + = / ~`. Excluded on purpose: white space and `,`
/// (list separators), `*` and `>` (wildcards of brokers), `$` (server-only names such as [`TopicName::CONNECTION`]). The only names with
/// a `*` are the fan-in topics ([`TopicName::all_inboxes`], [`TopicName::all_controls`]).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// Why a topic name or pattern was refused, in words a caller can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The name is empty.
    #[error("a topic name may not be empty")]
    Empty,
    /// The name is too long.
    #[error("a topic name may have at most 200 bytes, this one has {0}")]
    TooLong(usize),
    /// A byte outside the allowed set.
    #[error("a topic name may not contain {0:?}; allowed are letters, digits and _ - . : @ | + = / ~")]
    BadCharacter(char),
    /// A wildcard that is not the last character of a pattern.
    #[error("in a topic pattern `*` may stand only at the end")]
    WildcardInside,
}

impl TopicName {
    /// The longest name in bytes. It stands in every record on disk and every frame, so it is kept short.
    pub const BYTES_MAX: usize = 200;
    /// The topic of server messages that belong to the connection and not to a log (B1 wants a topic on every packet).
    pub const CONNECTION: &'static str = "$connection";

    /// Kinds of topics of which the gateway keeps a fan-in topic beside: what it appends to `inbox:42` stands in `inbox:*` too, so that
    /// one cursor follows them all.
    const FAN_INS: [&'static str; 2] = ["inbox:*", "control:*"];
    /// Names with this prefix hold the gateway's own state: nobody else publishes there.
    const INTERNAL_PREFIX: &'static str = "towline:";
    /// Kinds of topics in which only the gateway writes, because what stands there was checked by it.
    const GATEWAYS_OWN: [&'static str; 4] = ["inbox", "control", "dead-letter", "audit"];

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`TopicError`] says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        if name.is_empty() {
            return Err(TopicError::Empty);
        }
        if name.len() > Self::BYTES_MAX {
            return Err(TopicError::TooLong(name.len()));
        }
        match name.chars().find(|c| !allowed(*c)) {
            Some(_) if Self::FAN_INS.contains(&name) => Ok(Self(name.into())),
            Some(bad) => Err(TopicError::BadCharacter(bad)),
            None => Ok(Self(name.into())),
        }
    }

    /// The topic that belongs to a user: `user:{id}`.
    ///
    /// # Errors
    /// [`TopicError`] if the id has characters that a topic may not have.
    pub fn of_user(id: &str) -> Result<Self, TopicError> {
        Self::new(&format!("user:{id}"))
    }

    /// The topic that holds what all inboxes hold: `inbox:*`.
    #[must_use]
    pub fn all_inboxes() -> Self {
        Self(Self::FAN_INS[0].into())
    }

    /// The topic that holds what all control topics hold: `control:*`.
    #[must_use]
    pub fn all_controls() -> Self {
        Self(Self::FAN_INS[1].into())
    }

    /// A topic of the gateway's own state: `towline:{name}`.
    ///
    /// # Errors
    /// [`TopicError`] if the name has characters that a topic may not have.
    pub fn internal(name: &str) -> Result<Self, TopicError> {
        Self::new(&format!("{}{name}", Self::INTERNAL_PREFIX))
    }

    /// Whether it holds the gateway's own state: services may read it, nobody else.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with(Self::INTERNAL_PREFIX)
    }

    /// Whether only the gateway may write here, whatever a grant says.
    #[must_use]
    pub fn is_gateways_own(&self) -> bool {
        self.is_internal() || Self::GATEWAYS_OWN.contains(&self.kind())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `:` (the whole name if there is none).
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '@' | '|' | '+' | '=' | '/' | '~')
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for TopicName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Names one topic (`system`), all topics with a prefix (`thread:*`), or every topic (`*`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPattern {
    prefix: Box<str>,
    open: bool,
}

impl TopicPattern {
    /// Reads a pattern: a topic name, optionally ending in `*`, which matches any rest of at least one character.
    ///
    /// # Errors
    /// [`TopicError`] says which rule the pattern breaks.
    pub fn new(pattern: &str) -> Result<Self, TopicError> {
        let (prefix, open) = match pattern.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (pattern, false),
        };
        if prefix.contains('*') {
            return Err(TopicError::WildcardInside);
        }
        if !(open && prefix.is_empty()) {
            TopicName::new(prefix)?;
        }
        Ok(Self { prefix: prefix.into(), open })
    }

    /// Whether `topic` is one of those named.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        match topic.strip_prefix(&*self.prefix) {
            Some(rest) => self.open != rest.is_empty(),
            None => false,
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, if self.open { "*" } else { "" })
    }
}

impl<'de> Deserialize<'de> for TopicPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for TopicPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for good in ["system", "user:user_2abc", "user:auth0|123", "ops:events", "a/b", "user:x@example.com"] {
            assert_eq!(TopicName::new(good).unwrap().as_str(), good);
        }
        assert_eq!(TopicName::new(""), Err(TopicError::Empty));
        assert_eq!(TopicName::new(&"x".repeat(201)), Err(TopicError::TooLong(201)));
        for (bad, c) in [("a b", ' '), ("a,b", ','), ("a*", '*'), ("$connection", '$'), ("é", 'é'), ("a\n", '\n')] {
            assert_eq!(TopicName::new(bad), Err(TopicError::BadCharacter(c)));
        }
        assert_eq!(TopicName::new("user:42").unwrap().kind(), "user");
    }

    #[test]
    fn the_gateways_own_topics_are_known_and_fan_ins_are_the_only_names_with_a_star() {
        assert_eq!(TopicName::new("inbox:*"), Ok(TopicName::all_inboxes()));
        assert_eq!(TopicName::new("control:*"), Ok(TopicName::all_controls()));
        for bad in ["inbox:*:*", "inbox:*a", "user:*", "*"] {
            assert_eq!(TopicName::new(bad), Err(TopicError::BadCharacter('*')), "{bad}");
        }
        for own in ["inbox:*", "inbox:42", "control:run-1", "towline:runs", "dead-letter:webhook", "audit", "inbox"] {
            assert!(TopicName::new(own).unwrap().is_gateways_own(), "{own}");
        }
        for free in ["user:42", "inboxes:42", "towline", "run:towline:x", "system"] {
            assert!(!TopicName::new(free).unwrap().is_gateways_own(), "{free}");
        }
        assert_eq!(TopicName::internal("runs").unwrap().as_str(), "towline:runs");
    }

    #[test]
    fn patterns_match_by_prefix_and_never_the_bare_prefix() {
        let threads = TopicPattern::new("thread:*").unwrap();
        assert!(threads.matches("thread:1") && !threads.matches("thread:") && !threads.matches("threads:1"));
        let exact = TopicPattern::new("system").unwrap();
        assert!(exact.matches("system") && !exact.matches("system:x"));
        assert!(TopicPattern::new("*").unwrap().matches("anything"));
        assert_eq!(TopicPattern::new("a*b"), Err(TopicError::WildcardInside));
        assert_eq!(TopicPattern::new(""), Err(TopicError::Empty));
        assert_eq!(threads.to_string(), "thread:*");
    }
}
