//! Who may see, begin and stop what.

use towline_auth::Identity;
use towline_protocol::{ErrorCode, TopicName};
use towline_runs::Scope;

use crate::http::failure::Failure;
use crate::runs::Speaker;
use crate::shared::Shared;

/// Somebody who asks about runs.
pub(super) struct Asker<'a> {
    shared: &'a Shared,
    identity: &'a Identity,
    pub speaker: Speaker,
}

impl<'a> Asker<'a> {
    pub fn new(shared: &'a Shared, identity: &'a Identity) -> Self {
        Self { shared, identity, speaker: Speaker::of(identity) }
    }

    /// The user that they are, if they are one.
    pub fn user(&self) -> Option<&str> {
        (self.speaker.actor.kind == towline_runs::ActorKind::User).then_some(&*self.speaker.actor.id)
    }

    /// A run that they may know of.
    ///
    /// # Errors
    /// 404, whether it is not there or not theirs.
    pub fn known(&self, run_id: &str) -> Result<(), Failure> {
        let unknown =
            || Failure::new(ErrorCode::NotFound, "there is no such run, or it is not yours; ended runs are forgotten in time");
        let theirs = self.shared.runs.read(|registry, _| registry.owners(run_id).map(|owners| self.speaker.owns(owners)));
        match theirs {
            Some(true) => Ok(()),
            Some(false) if self.speaker.trusted || self.granted(&Scope::Run(run_id.into())) => Ok(()),
            _ => Err(unknown()),
        }
    }

    /// Whether they may do this with a scope: services, the user themself, and whoever may publish on `control:{kind}:{id}`.
    pub fn may_control(&self, scope: &Scope) -> Result<(), Failure> {
        let own = matches!(scope, Scope::User(id) if self.user() == Some(&**id));
        if own || self.speaker.trusted || self.granted(scope) {
            return Ok(());
        }
        let (kind, id) = (scope.kind(), scope.id());
        Err(Failure::new(
            ErrorCode::Forbidden,
            format!("this takes the {kind} themself, a service, or a publish grant on control:{kind}:{id}"),
        ))
    }

    /// Whether a rule or a claim grants it.
    pub fn granted(&self, scope: &Scope) -> bool {
        scope.grant_topic().is_ok_and(|topic| self.identity.may_publish(&topic))
    }

    pub fn may_publish(&self, topic: &TopicName) -> bool {
        self.identity.may_publish(topic)
    }
}

/// A name out of a path that can be a part of a topic's.
pub(super) fn named(kind: &str, id: &str) -> Result<Box<str>, Failure> {
    TopicName::new(&format!("{kind}:{id}"))
        .map_err(|why| Failure::new(ErrorCode::InvalidFormat, format!("the {kind}'s id: {why}")))?;
    Ok(id.into())
}
