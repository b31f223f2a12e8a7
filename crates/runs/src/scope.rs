//! Whom a stop is for, and who gave it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towline_protocol::TopicName;
use towline_protocol::topic::TopicError;

/// What a stop or a brake covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Scope {
    /// One run.
    Run(Box<str>),
    /// All runs of a thread.
    Thread(Box<str>),
    /// All runs of a user: the emergency brake.
    User(Box<str>),
    /// All runs of an organisation.
    Org(Box<str>),
}

impl Scope {
    /// All kinds, as [`Scope::kind`] says them.
    pub const KINDS: [&'static str; 4] = ["run", "thread", "user", "org"];

    /// Its kind in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Thread(_) => "thread",
            Self::User(_) => "user",
            Self::Org(_) => "org",
        }
    }

    /// Which one.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Run(id) | Self::Thread(id) | Self::User(id) | Self::Org(id) => id,
        }
    }

    /// The topic whose publish grant allows to stop this, beyond services and owners: `control:{kind}:{id}`.
    ///
    /// # Errors
    /// The id has characters that a topic may not have.
    pub fn grant_topic(&self) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("control:{}:{}", self.kind(), self.id()))
    }

    /// Where a brake's transitions are told: `user:{id}` or `org:{id}`.
    pub(crate) fn home(&self) -> Option<TopicName> {
        TopicName::new(&format!("{}:{}", self.kind(), self.id())).ok()
    }
}

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    User,
    /// A service.
    Service,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// What they are.
    pub kind: ActorKind,
    /// Their id, or the service's name.
    pub id: Box<str>,
}
