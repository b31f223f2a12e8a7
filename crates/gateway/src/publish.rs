//! Publishing, the same for REST and sockets: check each item, ask whether its topic is allowed, append what is left in one call.
//!
//! It knows no HTTP and no frames. The two steps are apart because the first borrows the request's text and the second outlives it.

mod undecided;

use std::future::Future;
use std::sync::Arc;

use towline_log::{AppendError, Appended};
use towline_protocol::message::StoredAt;
use towline_protocol::{ErrorBody, ErrorCode, EventLimits, NewEvent, PublishItem, PublishResult, Refusal, TopicName};

use crate::authorization::{Publisher, Right};
use crate::runs::{Runs, Speaker, Tag, Taken};

/// Items that were looked at: those that may be appended, and why the others may not.
#[derive(Debug, Default)]
pub struct Prepared {
    events: Vec<NewEvent>,
    /// One per item, in the order given.
    slots: Vec<Slot>,
    /// Which of `events` belong to runs. Most belong to none and cost nothing.
    tags: Vec<Tag>,
    /// Which of `events` nobody has decided about yet, in their order.
    undecided: Vec<usize>,
    /// Who publishes, once it matters.
    speaker: Option<Arc<Speaker>>,
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
    pub fn push(&mut self, publisher: Publisher<'_>, item: Result<PublishItem<'_>, Refusal>, limits: &EventLimits) {
        let given = item.as_ref().ok().and_then(|item| item.id.as_deref()).map(shown_id);
        match item.and_then(|item| Ok((check(publisher, &item, limits)?, item))) {
            Ok(((event, decided), item)) => {
                if let Some(run_id) = item.run_id {
                    let speaker = self.speaker.get_or_insert_with(|| Arc::new(Speaker::of(publisher.identity)));
                    self.tags.push(Tag {
                        at: self.events.len(),
                        run_id: run_id.into(),
                        agent_type: item.agent_type.map(Into::into),
                        by: Arc::clone(speaker),
                    });
                }
                if !decided {
                    self.undecided.push(self.events.len());
                }
                self.push_event(event);
            }
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
    publisher: Publisher<'_>,
    items: impl Iterator<Item = Result<PublishItem<'a>, Refusal>>,
    limits: &EventLimits,
) -> Prepared {
    let mut prepared = Prepared::default();
    items.for_each(|item| prepared.push(publisher, item, limits));
    prepared
}

/// The event, and whether it is sure that it may be published.
fn check(publisher: Publisher<'_>, item: &PublishItem<'_>, limits: &EventLimits) -> Result<(NewEvent, bool), Refusal> {
    // The topic first: who may not publish there learns nothing about what else is wrong, and costs nothing more.
    let topic = TopicName::new(&item.topic).map_err(|error| Refusal::new(ErrorCode::InvalidTopic, error.to_string()))?;
    let right = publisher.right(&topic);
    if right == Right::Refused {
        let who = &publisher.identity.subject;
        return Err(Refusal::new(
            ErrorCode::Forbidden,
            format!("{who:?} may not publish to {topic}: it takes a service key or a token with a publish grant"),
        ));
    }
    if topic.is_gateways_own() {
        return Err(Refusal::new(
            ErrorCode::Forbidden,
            format!("nobody publishes to {topic}: only the server itself writes there"),
        ));
    }
    Ok((NewEvent::accept(item, limits)?, right == Right::Granted))
}

/// A publisher's id as it is echoed in a refusal: it may be anything, so it is cut.
fn shown_id(id: &str) -> String {
    id.chars().take(towline_protocol::event::EVENT_ID_BYTES_MAX).collect()
}

/// Appends what was accepted, and what runs may still publish of it, in one call of the log and gives one result per item, in the order
/// given. With `atomic`, one refused item keeps all others from being stored.
///
/// The append begins when this function is called, not when the future is first polled, so that calls made one after another are
/// stored in that order. Dropping the future stops waiting; the events may still be stored.
pub fn store(runs: &Arc<Runs>, mut prepared: Prepared, atomic: bool) -> impl Future<Output = Vec<PublishResult>> + Send + use<> {
    prepared.refuse_undecided();
    let held_back = atomic && prepared.events.len() < prepared.slots.len();
    let Prepared { events, mut slots, tags, .. } = prepared;
    let (append, missing) = if held_back {
        (None, not_attempted())
    } else {
        let Taken { refused, append } = runs.append(events, &tags, atomic);
        let missing = if atomic && !refused.is_empty() { not_attempted() } else { no_answer() };
        refuse(&mut slots, refused);
        (append, missing)
    };
    async move {
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
pub fn store_together(runs: &Arc<Runs>, requests: Vec<Prepared>) -> impl Future<Output = Vec<Vec<PublishResult>>> + Send + use<> {
    let mut together = Vec::with_capacity(requests.iter().map(Prepared::accepted).sum());
    let mut tags = Vec::new();
    let mut lens = Vec::with_capacity(requests.len());
    let mut slots = Vec::with_capacity(requests.iter().map(Prepared::len).sum());
    for mut request in requests {
        request.refuse_undecided();
        tags.extend(request.tags.into_iter().map(|tag| Tag { at: tag.at + together.len(), ..tag }));
        together.extend(request.events);
        lens.push(request.slots.len());
        slots.extend(request.slots);
    }
    let Taken { refused, append } = runs.append(together, &tags, false);
    refuse(&mut slots, refused);
    async move {
        let appended = match append {
            Some(append) => append.await,
            None => Ok(Vec::new()),
        };
        let (positions, missing) = match appended {
            Ok(appended) => (appended, no_answer()),
            Err(error) => (Vec::new(), append_error(&error)),
        };
        let mut results = results(slots, &mut positions.into_iter(), &missing).into_iter();
        lens.into_iter().map(|len| results.by_ref().take(len).collect()).collect()
    }
}

fn not_attempted() -> ErrorBody {
    ErrorBody::new(ErrorCode::NotAttempted, "another item of this atomic request was refused, so nothing was stored")
}

fn no_answer() -> ErrorBody {
    ErrorBody::new(ErrorCode::Internal, "the log gave no answer for this event")
}

/// Makes refusals of the slots whose events were not taken, by the events' places.
fn refuse(slots: &mut [Slot], refused: Vec<(usize, Refusal)>) {
    if refused.is_empty() {
        return;
    }
    let mut refused = refused.into_iter().peekable();
    let events = slots.iter_mut().filter(|slot| matches!(slot, Slot::Event { .. }));
    for (at, slot) in events.enumerate() {
        if let (Some((_, refusal)), Slot::Event { id, .. }) = (refused.next_if(|(place, _)| *place == at), &mut *slot) {
            *slot = Slot::Refused { id: Some(std::mem::take(id).into()), error: refusal.into() };
        }
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
    use crate::config::RunSettings;
    use parking_lot::Mutex;
    use std::time::Duration;
    use towline_auth::{AuthConfig, AuthMode, Authenticator, Identity};
    use towline_clock::Clock;
    use towline_log::{Bounds, EventLog, Follower, Health, LogFuture, LogStats, Page, Read, ReadError};
    use towline_protocol::{Epoch, Position};

    use super::*;

    /// Answers every append the same way and remembers what it was given.
    struct Scripted {
        answer: Result<(), AppendError>,
        given: Mutex<Vec<Vec<String>>>,
    }

    impl Scripted {
        fn new(answer: Result<(), AppendError>) -> (Arc<Self>, Arc<Runs>) {
            let log = Arc::new(Self { answer, given: Mutex::default() });
            let runs = Runs::new(&RunSettings::default(), Duration::from_secs(600), Clock::manual(0), log.clone());
            (log, runs)
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
            prepared.push(Publisher::undelegated(&identity), item, &EventLimits::default());
        }
        prepared
    }

    const GOOD: &str = r#"{"topic":"a","type":"x","id":"good"}"#;
    const ALSO: &str = r#"{"topic":"b","type":"x","id":"also"}"#;
    const BAD: &str = r#"{"topic":"a","type":"","id":"bad"}"#;

    #[tokio::test]
    async fn results_keep_the_order_of_the_items_and_one_append_has_them_all() {
        let (log, runs) = Scripted::new(Ok(()));
        let results = store(&runs, prepared(&[BAD, GOOD, "{}", ALSO]), false).await;
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
        let (log, runs) = Scripted::new(Ok(()));
        let first = store(&runs, prepared(&[GOOD]), false);
        let second = store(&runs, prepared(&[ALSO]), false);
        assert_eq!(*log.given.lock(), [["good"], ["also"]]);
        drop((first, second));
    }

    #[tokio::test]
    async fn nothing_reaches_the_log_of_an_atomic_request_with_a_refused_item() {
        let (log, runs) = Scripted::new(Ok(()));
        let results = store(&runs, prepared(&[GOOD, BAD]), true).await;
        assert!(log.given.lock().is_empty());
        assert!(matches!(&results[0], PublishResult::Refused { error, .. } if error.code == ErrorCode::NotAttempted));
        assert_eq!(store(&runs, prepared(&[]), true).await, []);
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
            let (_, runs) = Scripted::new(Err(error));
            let results = store(&runs, prepared(&[GOOD, ALSO]), false).await;
            assert_eq!(results.len(), 2);
            for result in results {
                let PublishResult::Refused { id: Some(_), error } = result else { panic!("{result:?}") };
                assert_eq!(error.code, code);
                assert!(!error.message.contains("/secret/path"));
            }
        }
    }
}
