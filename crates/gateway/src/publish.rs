//! Publishing, the same for REST and sockets: check each item, ask whether its topic is allowed, append what is left in one call.
//!
//! It knows no HTTP and no frames. The two steps are apart because the first borrows the request's text and the second outlives it.

use std::future::Future;

use towline_auth::Identity;
use towline_log::{AppendError, Appended, EventLog};
use towline_protocol::message::StoredAt;
use towline_protocol::{ErrorBody, ErrorCode, EventLimits, NewEvent, PublishItem, PublishResult, Refusal, TopicName};

/// Items that were looked at: those that may be appended, and why the others may not.
#[derive(Debug, Default)]
pub struct Prepared {
    events: Vec<NewEvent>,
    /// One per item, in the order given.
    slots: Vec<Slot>,
}

#[derive(Debug)]
enum Slot {
    /// The next of `events`.
    Event {
        id: Box<str>,
        topic: TopicName,
    },
    Refused {
        id: Option<String>,
        error: ErrorBody,
    },
}

impl Prepared {
    /// How many items there are, refused ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many items may be appended.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.events.len()
    }

    /// Bytes that wait to be appended.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.events.iter().map(NewEvent::body_bytes).sum()
    }

    /// Adds an item that could not be read, or the next one after those already prepared.
    pub fn push(&mut self, identity: &Identity, item: Result<PublishItem<'_>, Refusal>, limits: &EventLimits) {
        let given = item.as_ref().ok().and_then(|item| item.id.as_deref()).map(shown_id);
        match item.and_then(|item| check(identity, &item, limits)) {
            Ok(event) => self.push_event(event),
            Err(refusal) => self.slots.push(Slot::Refused { id: given, error: refusal.into() }),
        }
    }
}

impl Prepared {
    /// The events that may be appended.
    #[must_use]
    pub fn events(&self) -> &[NewEvent] {
        &self.events
    }

    /// Adds an event that was checked and authorised, or that is the gateway's own.
    pub(crate) fn push_event(&mut self, event: NewEvent) {
        self.slots.push(Slot::Event { id: event.id.clone(), topic: event.topic.clone() });
        self.events.push(event);
    }
}

/// Checks items and authorises each one's topic.
pub fn prepare<'a>(
    identity: &Identity,
    items: impl Iterator<Item = Result<PublishItem<'a>, Refusal>>,
    limits: &EventLimits,
) -> Prepared {
    let mut prepared = Prepared::default();
    items.for_each(|item| prepared.push(identity, item, limits));
    prepared
}

fn check(identity: &Identity, item: &PublishItem<'_>, limits: &EventLimits) -> Result<NewEvent, Refusal> {
    // The topic first: who may not publish there learns nothing about what else is wrong, and costs nothing more.
    let topic = TopicName::new(&item.topic).map_err(|error| Refusal::new(ErrorCode::InvalidTopic, error.to_string()))?;
    if !identity.may_publish(&topic) {
        return Err(Refusal::new(
            ErrorCode::Forbidden,
            format!("{:?} may not publish to {topic}: it takes a service key or a token with a publish grant", identity.subject),
        ));
    }
    if topic.is_gateways_own() {
        return Err(Refusal::new(
            ErrorCode::Forbidden,
            format!("nobody publishes to {topic}: only the server itself writes there"),
        ));
    }
    NewEvent::accept(item, limits)
}

/// A publisher's id as it is echoed in a refusal: it may be anything, so it is cut.
fn shown_id(id: &str) -> String {
    id.chars().take(towline_protocol::event::EVENT_ID_BYTES_MAX).collect()
}

/// Appends what was accepted in one call of the log and gives one result per item, in the order given. With `atomic`, one refused item
/// keeps all others from being stored.
///
/// The append begins when this function is called, not when the future is first polled, so that calls made one after another are
/// stored in that order. Dropping the future stops waiting; the events may still be stored.
pub fn store(log: &dyn EventLog, prepared: Prepared, atomic: bool) -> impl Future<Output = Vec<PublishResult>> + Send + use<> {
    let Prepared { events, slots } = prepared;
    let held_back = atomic && events.len() < slots.len();
    let append = if held_back || events.is_empty() { None } else { Some(log.append(events)) };
    async move {
        let missing = if held_back {
            let message = "another item of this atomic request was refused, so nothing was stored";
            ErrorBody::new(ErrorCode::NotAttempted, message)
        } else {
            ErrorBody::new(ErrorCode::Internal, "the log gave no answer for this event")
        };
        let appended = match append {
            Some(append) => append.await,
            None => Ok(Vec::new()),
        };
        let (positions, missing) = match appended {
            Ok(appended) => (appended, missing),
            Err(error) => (Vec::new(), append_error(&error)),
        };
        results(slots, &mut positions.into_iter(), &missing)
    }
}

/// Appends what several requests brought in one call of the log: they share its cost, and its fate if the log refuses.
/// One list of results per request, in the order given. Otherwise as [`store`].
pub fn store_together(
    log: &dyn EventLog,
    requests: Vec<Prepared>,
) -> impl Future<Output = Vec<Vec<PublishResult>>> + Send + use<> {
    let mut together = Vec::with_capacity(requests.iter().map(Prepared::accepted).sum());
    let mut slots = Vec::with_capacity(requests.len());
    for request in requests {
        together.extend(request.events);
        slots.push(request.slots);
    }
    let append = if together.is_empty() { None } else { Some(log.append(together)) };
    async move {
        let appended = match append {
            Some(append) => append.await,
            None => Ok(Vec::new()),
        };
        let (positions, missing) = match appended {
            Ok(appended) => (appended, ErrorBody::new(ErrorCode::Internal, "the log gave no answer for this event")),
            Err(error) => (Vec::new(), append_error(&error)),
        };
        let mut positions = positions.into_iter();
        slots.into_iter().map(|slots| results(slots, &mut positions, &missing)).collect()
    }
}

/// One result per slot; accepted ones take the next position, or `missing` where there is none.
fn results(slots: Vec<Slot>, positions: &mut std::vec::IntoIter<Appended>, missing: &ErrorBody) -> Vec<PublishResult> {
    let result = |slot| match slot {
        Slot::Refused { id, error } => PublishResult::Refused { id, error },
        Slot::Event { id, topic } => match positions.next() {
            None => PublishResult::Refused { id: Some(id.into()), error: missing.clone() },
            Some(at) => {
                let stored = StoredAt {
                    id: id.into(),
                    topic: topic.as_str().to_owned(),
                    epoch: at.position.epoch,
                    offset: at.position.offset,
                    ts: at.ts_ms as f64 / 1000.0,
                };
                if at.duplicate { PublishResult::Duplicate(stored) } else { PublishResult::Stored(stored) }
            }
        },
    };
    slots.into_iter().map(result).collect()
}

/// What a refused append means for the publisher. The device's own words stay in the server's log.
fn append_error(error: &AppendError) -> ErrorBody {
    match error {
        AppendError::Full => {
            ErrorBody::new(ErrorCode::StorageFull, "the server's disk is full; nothing was stored; try again later")
        }
        AppendError::Busy => {
            ErrorBody::new(ErrorCode::Unavailable, "too many appends are waiting; nothing was stored; try again soon")
        }
        AppendError::Closed => {
            ErrorBody::new(ErrorCode::Unavailable, "the server is shutting down; publish again after it is back")
        }
        AppendError::Invalid(why) => ErrorBody::new(ErrorCode::TooLarge, format!("the log cannot take this: {why}")),
        AppendError::Failed(why) => {
            tracing::error!(%why, "an append failed");
            ErrorBody::new(ErrorCode::StorageFailed, "the server's storage failed; nothing was acknowledged; try again later")
        }
    }
}

/// How many results there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Stored.
    pub stored: u64,
    /// Known before.
    pub duplicates: u64,
    /// Not stored.
    pub refused: u64,
}

impl Tally {
    /// Adds results.
    pub fn add(&mut self, results: &[PublishResult]) {
        for result in results {
            match result {
                PublishResult::Stored(_) => self.stored += 1,
                PublishResult::Duplicate(_) => self.duplicates += 1,
                PublishResult::Refused { .. } => self.refused += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use towline_auth::{AuthConfig, AuthMode, Authenticator};
    use towline_clock::Clock;
    use towline_log::{Appended, Bounds, Follower, Health, LogFuture, LogStats, Page, Read, ReadError};
    use towline_protocol::{Epoch, Position};

    use super::*;

    /// Answers every append the same way and remembers what it was given.
    struct Scripted {
        answer: Result<(), AppendError>,
        given: Mutex<Vec<Vec<String>>>,
    }

    impl Scripted {
        fn new(answer: Result<(), AppendError>) -> Self {
            Self { answer, given: Mutex::default() }
        }
    }

    impl EventLog for Scripted {
        fn append(&self, events: Vec<NewEvent>) -> LogFuture<Result<Vec<Appended>, AppendError>> {
            self.given.lock().push(events.iter().map(|event| event.id.to_string()).collect());
            let at = |offset| Appended { position: Position { epoch: Epoch(1), offset }, ts_ms: 1_500, duplicate: offset == 2 };
            let answer = self.answer.clone().map(|()| (1..=events.len() as u64).map(at).collect());
            Box::pin(async { answer })
        }

        fn read(&self, _: Read) -> LogFuture<Result<Page, ReadError>> {
            Box::pin(async { Err(ReadError::Failed("nothing to read".into())) })
        }

        fn bounds(&self, _: &TopicName) -> LogFuture<Result<Bounds, ReadError>> {
            Box::pin(async { Err(ReadError::Failed("nothing to read".into())) })
        }

        fn follow(&self, _: &TopicName, _: Arc<dyn Follower>) -> LogFuture<Result<Position, ReadError>> {
            Box::pin(async { Err(ReadError::Failed("nothing to follow".into())) })
        }

        fn unfollow(&self, _: &TopicName) {}

        fn health(&self) -> Health {
            Health::Ready
        }

        fn stats(&self) -> LogStats {
            LogStats::default()
        }

        fn close(&self) -> LogFuture<()> {
            Box::pin(async {})
        }
    }

    fn identity() -> Arc<Identity> {
        let config = AuthConfig { mode: AuthMode::Development, ..AuthConfig::default() };
        Authenticator::new(config, Clock::manual(0)).unwrap().development_identity("u").unwrap()
    }

    fn prepared(items: &[&str]) -> Prepared {
        let identity = identity();
        let mut prepared = Prepared::default();
        for text in items {
            let item = serde_json::from_str(text).map_err(|error| Refusal::new(ErrorCode::InvalidFormat, error.to_string()));
            prepared.push(&identity, item, &EventLimits::default());
        }
        prepared
    }

    const GOOD: &str = r#"{"topic":"a","type":"x","id":"good"}"#;
    const ALSO: &str = r#"{"topic":"b","type":"x","id":"also"}"#;
    const BAD: &str = r#"{"topic":"a","type":"","id":"bad"}"#;

    #[tokio::test]
    async fn results_keep_the_order_of_the_items_and_one_append_has_them_all() {
        let log = Scripted::new(Ok(()));
        let results = store(&log, prepared(&[BAD, GOOD, "{}", ALSO]), false).await;
        assert_eq!(*log.given.lock(), [["good", "also"]]);
        assert!(
            matches!(&results[0], PublishResult::Refused { id: Some(id), error } if id == "bad" && error.code == ErrorCode::InvalidFormat)
        );
        assert!(
            matches!(&results[1], PublishResult::Stored(at) if at.id == "good" && at.topic == "a" && at.offset == 1 && at.ts == 1.5)
        );
        assert!(matches!(&results[2], PublishResult::Refused { id: None, .. }));
        assert!(matches!(&results[3], PublishResult::Duplicate(at) if at.id == "also" && at.offset == 2));
    }

    #[tokio::test]
    async fn an_append_begins_when_it_is_asked_for() {
        let log = Scripted::new(Ok(()));
        let first = store(&log, prepared(&[GOOD]), false);
        let second = store(&log, prepared(&[ALSO]), false);
        assert_eq!(*log.given.lock(), [["good"], ["also"]]);
        drop((first, second));
    }

    #[tokio::test]
    async fn nothing_reaches_the_log_of_an_atomic_request_with_a_refused_item() {
        let log = Scripted::new(Ok(()));
        let results = store(&log, prepared(&[GOOD, BAD]), true).await;
        assert!(log.given.lock().is_empty());
        assert!(matches!(&results[0], PublishResult::Refused { error, .. } if error.code == ErrorCode::NotAttempted));
        assert_eq!(store(&log, prepared(&[]), true).await, []);
        assert!(log.given.lock().is_empty());
    }

    #[tokio::test]
    async fn a_refused_append_is_every_items_refusal_and_hides_the_devices_words() {
        for (error, code) in [
            (AppendError::Full, ErrorCode::StorageFull),
            (AppendError::Busy, ErrorCode::Unavailable),
            (AppendError::Closed, ErrorCode::Unavailable),
            (AppendError::Invalid("larger than a segment".into()), ErrorCode::TooLarge),
            (AppendError::Failed("EIO on /secret/path".into()), ErrorCode::StorageFailed),
        ] {
            let log = Scripted::new(Err(error));
            let results = store(&log, prepared(&[GOOD, ALSO]), false).await;
            assert_eq!(results.len(), 2);
            for result in results {
                let PublishResult::Refused { id: Some(_), error } = result else { panic!("{result:?}") };
                assert_eq!(error.code, code);
                assert!(!error.message.contains("/secret/path"));
            }
        }
    }
}
