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

/// What a look at a connection brought.
pub struct Recheck {
    /// Who was looked at: a fresh token may have come meanwhile.
    identity: Arc<Identity>,
    result: Result<(), AuthError>,
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
        let (auth, mailbox, connection) = (self.shared.auth.clone(), self.mailbox.clone(), io.id());
        self.runtime.spawn(async move {
            let result = auth.recheck(&identity).await;
            mailbox.note(Note::Rechecked(connection, Recheck { identity, result }));
        });
    }

    pub(super) fn rechecked(&mut self, io: &mut Io<'_>, session: &mut Session, recheck: Recheck) {
        if !session.identity.as_ref().is_some_and(|identity| Arc::ptr_eq(identity, &recheck.identity)) {
            return;
        }
        if let Err(error) = recheck.result {
            self.shared.metrics.access.recheck("closed");
            return self.close(io, error.close_code(), error.close_reason());
        }
        let lost = self.topics_lost(session);
        self.shared.metrics.access.recheck(if lost.is_empty() { "kept" } else { "dropped" });
        self.take_topics(io, session, lost, "you are no longer allowed", None);
    }

    /// What a session follows and its identity does not allow.
    pub(super) fn topics_lost(&self, session: &Session) -> Vec<(u32, TopicName)> {
        let Some(identity) = &session.identity else { return Vec::new() };
        let named = |number: u32| Some((number, self.topics.get(number)?.name().clone()));
        let followed = session.subscriptions.iter().filter_map(|subscription| named(subscription.topic));
        followed.filter(|(_, name)| !self.shared.may_subscribe(identity, name)).collect()
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
