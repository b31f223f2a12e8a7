//! Looking again: whether somebody who was let in may still be here, and still follow what they follow.
//!
//! Revocations are looked at within a second. Everything else, which costs more, once per `auth.recheck_interval` and connection, at times that
//! are spread over it. The work is done by a task; the connection goes on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use towline_auth::{AuthError, Identity};
use towline_protocol::{CloseCode, Dialect, ErrorBody, ErrorCode, ServerMessage, TopicName};
use towline_sockets::Io;

use super::gate::{Gate, Note};
use super::session::Session;
use crate::shared::Shared;

/// While the application says nothing, it is asked this often within the interval; then those about whom it says nothing have to go.
const ATTEMPTS_MAX: u8 = 10;

/// What a look at a connection brought.
pub struct Recheck {
    /// Who was looked at: a fresh token may have come meanwhile.
    looked_at: Arc<Identity>,
    result: Result<Found, AuthError>,
}

/// Somebody who may be here.
struct Found {
    /// The same, with what the application adds now.
    identity: Arc<Identity>,
    /// Topics that the application does not allow any more.
    refused: Vec<TopicName>,
    /// It said nothing about some.
    unanswered: bool,
}

impl Found {
    async fn look(shared: &Shared, identity: Arc<Identity>, asked: &[TopicName]) -> Result<Self, AuthError> {
        shared.auth.recheck(&identity).await?;
        let identity = shared.admit(identity).await?;
        let (mut refused, mut unanswered) = (Vec::new(), false);
        for topic in asked {
            match shared.may_read(&identity, topic).await {
                Ok(()) => {}
                Err(error) if error.code == ErrorCode::Forbidden => refused.push(topic.clone()),
                Err(_) => unanswered = true,
            }
        }
        Ok(Self { identity, refused, unanswered })
    }
}

impl Gate {
    /// True if the connection was closed, because its identity was revoked.
    pub(super) fn revoked(&mut self, io: &mut Io<'_>, session: &mut Session) -> bool {
        let revocations = self.shared.auth.revocations();
        let changes = revocations.changes();
        if session.revocations_seen == changes {
            return false;
        }
        session.revocations_seen = changes;
        let revoked = session.identity.as_ref().is_some_and(|identity| revocations.revokes(identity));
        if revoked {
            self.shared.metrics.access.revoked("connection");
            self.close(io, CloseCode::Unauthorized, AuthError::Revoked.close_reason());
        }
        revoked
    }

    /// The first look comes after half the interval at the earliest, so that those who came together are not looked at together.
    pub(super) fn plan_first_recheck(&self, session: &mut Session) {
        let interval = self.shared.config.auth.recheck_interval;
        session.recheck_at_s = self.uptime_s_in(interval.mul_f64(0.5 + fastrand::f64() / 2.0));
        session.unanswered = 0;
    }

    /// A fresh token may be of another organisation, and what the application said was about the former one.
    pub(super) fn plan_recheck_of_fresh(&self, session: &mut Session) {
        self.plan_first_recheck(session);
        if self.shared.delegation.is_some() {
            session.recheck_at_s = self.uptime_s_in(Duration::ZERO);
        }
    }

    fn uptime_s_in(&self, later: Duration) -> u32 {
        (self.shared.clock.uptime() + later).as_secs() as u32
    }

    pub(super) fn recheck_if_due(&mut self, io: &mut Io<'_>, session: &mut Session) {
        // A subscribe or auth under way is looked at when it is done.
        if session.awaiting || self.uptime_s_in(Duration::ZERO) < session.recheck_at_s {
            return;
        }
        let Some(identity) = session.identity.clone() else { return };
        session.recheck_at_s = self.uptime_s_in(self.shared.config.auth.recheck_interval);
        let asked: Vec<TopicName> =
            self.followed(session).map(|(_, name)| name).filter(|name| self.shared.asks_about(&identity, name)).collect();
        let (shared, mailbox, connection) = (Arc::clone(&self.shared), self.mailbox.clone(), io.id());
        self.runtime.spawn(async move {
            let result = Found::look(&shared, Arc::clone(&identity), &asked).await;
            mailbox.note(Note::Rechecked(connection, Recheck { looked_at: identity, result }));
        });
    }

    pub(super) fn rechecked(&mut self, io: &mut Io<'_>, session: &mut Session, recheck: Recheck) {
        if !session.identity.as_ref().is_some_and(|identity| Arc::ptr_eq(identity, &recheck.looked_at)) {
            return;
        }
        let (refused, unanswered) = match recheck.result {
            Ok(Found { identity, refused, unanswered }) => {
                session.identity = Some(identity);
                (refused, unanswered)
            }
            Err(AuthError::Undecided) => (Vec::new(), true),
            Err(error) => {
                self.shared.metrics.access.recheck("closed");
                return self.close(io, error.close_code(), error.close_reason());
            }
        };
        let mut lost = self.topics_lost(session);
        lost.extend(self.followed(session).filter(|(_, name)| refused.contains(name)));
        if unanswered && self.wait_for_the_application(session) {
            self.shared.metrics.access.recheck("closed");
            return self.close(io, CloseCode::TryLater, AuthError::Undecided.close_reason());
        }
        let outcome = match (unanswered, lost.is_empty()) {
            (true, _) => "unanswered",
            (false, true) => "kept",
            (false, false) => "dropped",
        };
        self.shared.metrics.access.recheck(outcome);
        if !unanswered {
            session.unanswered = 0;
        }
        self.take_topics(io, session, lost, "you are no longer allowed", None);
    }

    /// Plans another attempt soon; true if there were enough.
    fn wait_for_the_application(&self, session: &mut Session) -> bool {
        session.unanswered += 1;
        session.recheck_at_s = self.uptime_s_in(self.shared.config.auth.recheck_interval / u32::from(ATTEMPTS_MAX));
        session.unanswered >= ATTEMPTS_MAX
    }

    fn followed(&self, session: &Session) -> impl Iterator<Item = (u32, TopicName)> {
        let named = |number: u32| Some((number, self.topics.get(number)?.name().clone()));
        session.subscriptions.iter().filter_map(move |subscription| named(subscription.topic))
    }

    /// What a session follows and its identity does not allow. What the application decides about is not among it.
    pub(super) fn topics_lost(&self, session: &Session) -> Vec<(u32, TopicName)> {
        let Some(identity) = &session.identity else { return Vec::new() };
        let lost = |name: &TopicName| !self.shared.asks_about(identity, name) && !self.shared.may_subscribe(identity, name);
        self.followed(session).filter(|(_, name)| lost(name)).collect()
    }

    /// Ends subscriptions that are no longer allowed, and says so.
    pub(super) fn take_topics(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        lost: Vec<(u32, TopicName)>,
        why: &str,
        id: Option<&str>,
    ) {
        let any = !lost.is_empty();
        for (number, name) in lost {
            self.unseat(session, number);
            let error = ErrorBody::new(ErrorCode::Forbidden, format!("{why} {name}; it is no longer followed"));
            self.say(io, session.door, &ServerMessage::Error(error), id);
        }
        // Such a connection cannot ask for anything else.
        let only_listens = !session.door.talks || session.door.dialect == Dialect::Sse;
        if any && session.subscriptions.is_empty() && only_listens {
            self.close(io, CloseCode::Forbidden, "you are no longer allowed to follow this");
        }
    }
}
