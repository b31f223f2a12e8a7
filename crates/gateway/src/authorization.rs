//! Who may follow and publish what: the identity's own grants, and the application's say where configuration leaves it to it.
//!
//! A reactor thread never waits for the application: it hears at once what is granted, what is refused, and what is to be asked first; asking
//! is a task's work.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use towline_auth::{Action, AskError, AuthError, Delegation, Identity, Question};
use towline_protocol::message::TopicRefusal;
use towline_protocol::{ErrorBody, ErrorCode, Refusal, TopicName};

use crate::publish::Prepared;
use crate::shared::Shared;

/// Questions of one request that are on their way at once.
const ASKED_AT_ONCE: usize = 8;

/// What is known about somebody's right without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Granted,
    Refused,
    /// The application decides, and has not been asked yet.
    ToBeAsked,
}

impl Right {
    fn of(granted: bool) -> Self {
        if granted { Self::Granted } else { Self::Refused }
    }
}

/// Somebody who publishes, with whoever decides about that.
#[derive(Clone, Copy)]
pub struct Publisher<'a> {
    /// Who.
    pub identity: &'a Identity,
    delegation: Option<&'a Delegation>,
}

impl<'a> Publisher<'a> {
    /// Somebody about whom nobody is asked.
    #[must_use]
    pub fn undelegated(identity: &'a Identity) -> Self {
        Self { identity, delegation: None }
    }

    pub(crate) fn right(&self, topic: &TopicName) -> Right {
        let delegated = delegated(self.delegation, self.identity, Action::Publish, topic);
        delegated.unwrap_or_else(|| Right::of(self.identity.may_publish(topic)))
    }
}

/// What the application said, if it is the one to decide.
fn delegated(delegation: Option<&Delegation>, identity: &Identity, action: Action, topic: &TopicName) -> Option<Right> {
    let delegation = delegation.filter(|delegation| delegation.decides(identity, action, topic))?;
    let known = delegation.known(&Question::about(action, identity, topic));
    Some(known.map_or(Right::ToBeAsked, |answer| Right::of(answer.allow)))
}

impl Shared {
    /// Somebody who publishes here.
    pub fn publisher<'a>(&'a self, identity: &'a Identity) -> Publisher<'a> {
        Publisher { identity, delegation: self.delegation.as_ref() }
    }

    /// Whether somebody may follow a topic, or read it back.
    pub(crate) fn right_to_read(&self, identity: &Identity, topic: &TopicName) -> Right {
        let delegated = delegated(self.delegation.as_ref(), identity, Action::Subscribe, topic);
        delegated.unwrap_or_else(|| Right::of(self.may_subscribe(identity, topic)))
    }

    /// Whether it is the application that decides who follows a topic.
    pub(crate) fn asks_about(&self, identity: &Identity, topic: &TopicName) -> bool {
        self.delegation.as_ref().is_some_and(|delegation| delegation.decides(identity, Action::Subscribe, topic))
    }

    /// The same as [`Self::right_to_read`], asking if need be.
    ///
    /// # Errors
    /// FORBIDDEN, or UNAVAILABLE while the application says nothing.
    pub(crate) async fn may_read(&self, identity: &Identity, topic: &TopicName) -> Result<(), ErrorBody> {
        match self.right_to_read(identity, topic) {
            Right::Granted => Ok(()),
            Right::Refused => Err(not_allowed(identity, topic)),
            Right::ToBeAsked => match self.ask(Action::Subscribe, identity, topic).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(not_allowed(identity, topic)),
                Err(error) => Err(undecided(topic, error).into()),
            },
        }
    }

    /// Which of these topics may be followed, in their order. The others are appended to `refused`.
    pub(crate) async fn readable_of<T>(
        &self,
        identity: &Identity,
        topics: Vec<(TopicName, T)>,
        refused: &mut Vec<TopicRefusal>,
    ) -> Vec<(TopicName, T)> {
        let asked = stream::iter(topics).map(async |(topic, with)| {
            let may = self.may_read(identity, &topic).await;
            (topic, with, may)
        });
        let answers: Vec<_> = asked.buffered(ASKED_AT_ONCE).collect().await;
        let mut readable = Vec::with_capacity(answers.len());
        for (topic, with, may) in answers {
            match may {
                Ok(()) => readable.push((topic, with)),
                Err(ErrorBody { code, message, .. }) => {
                    self.metrics.error(code);
                    refused.push(TopicRefusal { topic: topic.to_string(), code, message });
                }
            }
        }
        readable
    }

    /// Asks about what was left open when events were prepared.
    pub(crate) async fn settle(&self, identity: &Identity, prepared: &mut Prepared) {
        let topics = prepared.undecided();
        if topics.is_empty() {
            return;
        }
        let asked = stream::iter(topics).map(async |topic| {
            let answer = self.ask(Action::Publish, identity, &topic).await;
            (topic, answer)
        });
        let answers: Vec<_> = asked.buffered(ASKED_AT_ONCE).collect().await;
        prepared.decide(|topic| match answers.iter().find(|(other, _)| other == topic) {
            Some((_, Ok(true))) => Ok(()),
            Some((_, Ok(false))) => {
                let message = format!("the application does not let {:?} publish to {topic}", identity.subject);
                Err(Refusal::new(ErrorCode::Forbidden, message))
            }
            Some((_, Err(error))) => Err(undecided(topic, *error)),
            None => Err(undecided(topic, AskError::Abandoned)),
        });
    }

    /// Asks the application whether a user may be here, if it is to be asked.
    ///
    /// # Errors
    /// [`AuthError::Barred`], [`AuthError::Undecided`].
    pub(crate) async fn admit(&self, identity: Arc<Identity>) -> Result<Arc<Identity>, AuthError> {
        match &self.delegation {
            Some(delegation) => delegation.admit(identity).await,
            None => Ok(identity),
        }
    }

    async fn ask(&self, action: Action, identity: &Identity, topic: &TopicName) -> Result<bool, AskError> {
        match &self.delegation {
            Some(delegation) => Ok(delegation.ask(&Question::about(action, identity, topic)).await?.allow),
            None => Err(AskError::Abandoned),
        }
    }
}

fn not_allowed(identity: &Identity, topic: &TopicName) -> ErrorBody {
    ErrorBody::new(ErrorCode::Forbidden, format!("{:?} may not read {topic}", identity.subject))
}

fn undecided(topic: &TopicName, error: AskError) -> Refusal {
    // What exactly is wrong with the application is its operators' business, and in the server's log.
    tracing::debug!(%error, "nobody says whether a topic is allowed");
    Refusal::new(ErrorCode::Unavailable, format!("the application does not say whether {topic} is allowed; try again later"))
}
