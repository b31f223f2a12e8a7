//! Who speaks for a run, in the words of the state machine.

use towline_auth::{Identity, IdentityKind};
use towline_runs::{Actor, ActorKind};

/// An identity as runs know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// Who.
    pub actor: Actor,
    /// May speak for any run: a service, or anybody in development mode.
    pub trusted: bool,
}

impl Speaker {
    /// Of an identity.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let kind = match identity.kind {
            IdentityKind::Service => ActorKind::Service,
            IdentityKind::User | IdentityKind::Anonymous => ActorKind::User,
        };
        Self { actor: Actor { kind, id: identity.subject.clone() }, trusted: identity.kind != IdentityKind::User }
    }

    /// Whether a run with this user and this beginner is theirs.
    #[must_use]
    pub fn owns(&self, (user_id, begun_by): (Option<&str>, &Actor)) -> bool {
        *begun_by == self.actor || (self.actor.kind == ActorKind::User && user_id == Some(&*self.actor.id))
    }
}
