//! Asking the application: whether a user may be here at all, and whether they may watch or publish a topic that configuration leaves to it.
//!
//! The application is another machine's program: slow, down, wrong. So a question is asked once however many wait for its answer, answers
//! are kept for a while, calls are bounded in time and number for all users and for each, and after failures in a row nobody is asked for
//! a while. Whatever goes wrong, the answer is not yes.

mod answer;
mod breaker;
mod cache;
mod call;
mod config;
mod flight;
mod question;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use towline_clock::Clock;
use towline_protocol::TopicName;

pub use answer::{Answer, AnswerError};
pub use call::AskError;
pub use config::DelegationConfig;
pub use question::{Action, Question};

use crate::config::AuthConfigError;
use crate::error::AuthError;
use crate::identity::{Identity, IdentityKind};
use call::Caller;
use flight::State;

/// The application's say in who may do what. Cheap to clone; clones share answers.
#[derive(Clone)]
pub struct Delegation(Arc<Inner>);

struct Inner {
    config: DelegationConfig,
    caller: Caller,
    clock: Clock,
    /// Calls under way.
    calls: Arc<Semaphore>,
    state: Mutex<State>,
}

/// How the application has answered, for operators. Counters only ever grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DelegationStats {
    /// Calls that said yes.
    pub allowed_total: u64,
    /// Calls that said no.
    pub refused_total: u64,
    /// Questions that a kept answer settled.
    pub cached_total: u64,
    /// Calls that took too long.
    pub timeouts_total: u64,
    /// Calls that failed otherwise, or whose answer was none.
    pub failures_total: u64,
    /// Questions that were not asked, because too many were waiting.
    pub busy_total: u64,
    /// Questions that were not asked, because calls had failed in a row.
    pub paused_total: u64,
    /// Answers kept now.
    pub answers: u64,
    /// Whether nobody is asked for a while, because calls failed in a row.
    pub paused: bool,
}

impl Delegation {
    /// Prepares to ask. Asks nothing yet.
    ///
    /// # Errors
    /// Every problem that the configuration has.
    pub fn new(config: DelegationConfig, clock: Clock) -> Result<Self, AuthConfigError> {
        let caller = config.check()?;
        Ok(Self(Arc::new(Inner {
            calls: Arc::new(Semaphore::new(config.calls_max)),
            state: Mutex::new(State::new(config.answers_max)),
            config,
            caller,
            clock,
        })))
    }

    /// Whether this is the application's to say. Never for services, for a user's own topics, and for those that only the server writes.
    #[must_use]
    pub fn decides(&self, identity: &Identity, action: Action, topic: &TopicName) -> bool {
        let patterns = match action {
            Action::Connect => return self.0.config.connect && identity.kind != IdentityKind::Service,
            Action::Subscribe => &self.0.config.subscribe,
            Action::Publish => &self.0.config.publish,
        };
        identity.kind != IdentityKind::Service
            && patterns.iter().any(|pattern| pattern.matches(topic.as_str()))
            && !topic.is_gateways_own()
            && !(action == Action::Subscribe && identity.owns(topic))
    }

    /// Whether the application is asked about everybody who connects.
    #[must_use]
    pub fn decides_connections(&self) -> bool {
        self.0.config.connect
    }

    /// The answer, if it is known.
    #[must_use]
    pub fn known(&self, question: &Question<'_>) -> Option<Answer> {
        self.0.state.lock().known(&question.key(), self.0.clock.uptime())
    }

    /// The answer: a kept one, or the application's. Takes at most twice `timeout`.
    ///
    /// Cancellation safe: a call under way goes on for the others, and its answer is kept.
    ///
    /// # Errors
    /// [`AskError`]: there is no answer, so it is not yes. Later there may be one.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Answer, AskError> {
        flight::ask(&self.0, question).await
    }

    /// Asks whether a user may be here, if the application wants to be asked; the identity that comes back may watch what it added.
    ///
    /// # Errors
    /// [`AuthError::Barred`] if the application says no, [`AuthError::Undecided`] if it says nothing.
    pub async fn admit(&self, identity: Arc<Identity>) -> Result<Arc<Identity>, AuthError> {
        if !self.0.config.connect || identity.kind == IdentityKind::Service {
            return Ok(identity);
        }
        match self.ask(&Question::connect(&identity)).await {
            Ok(Answer { allow: false, .. }) => Err(AuthError::Barred),
            Ok(answer) if answer.topics.is_empty() && identity.added.is_none() => Ok(identity),
            Ok(answer) => Ok(Arc::new(identity.with_added(&answer.topics))),
            Err(_) => Err(AuthError::Undecided),
        }
    }

    /// How it goes.
    #[must_use]
    pub fn stats(&self) -> DelegationStats {
        self.0.state.lock().stats(self.0.clock.uptime())
    }
}

impl fmt::Debug for Delegation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delegation").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
