//! What every engine must prove: the contract of [`EventLog`], as tests that any engine's own tests run.
//!
//! Nothing here assumes contiguous offsets, files, or that an engine survives a restart ([`Store::keeps_events`] says). Each property
//! takes a fresh [`Store`] and panics with what it expected; [`run_all`] runs all of them. [`model::Model`] is the reference that pages
//! are compared with, for these properties and for an engine's own random tests.

pub mod appending;
pub mod following;
pub mod model;
pub mod reading;
pub mod retaining;
pub mod sequences;

use std::sync::Arc;

use towline_clock::Clock;
use towline_protocol::{NewEvent, TopicName};

use crate::{Appended, Direction, EventLog, LogFuture, Page, Policies, Read, Start};

/// One storage that logs can be opened on, one at a time.
pub trait Store: Send + Sync + 'static {
    /// Opens a log on the storage. The former one was closed.
    fn open(&self, policies: Policies, clock: Clock) -> LogFuture<Arc<dyn EventLog>>;
    /// Whether events are still there when a log is closed and opened again.
    fn keeps_events(&self) -> bool;
    /// Returns once retention has acted on the open log.
    fn retain(&self) -> LogFuture<()>;
}

/// Makes an empty storage.
pub type FreshStore<'a> = &'a (dyn Fn() -> Arc<dyn Store> + Sync);

/// Where manual clocks begin: some day in 2025.
pub const START_MS: u64 = 1_750_000_000_000;

/// Runs every property, each on an empty storage.
///
/// Random lives ([`sequences`]) are not among them: an engine runs as many as it can afford.
pub async fn run_all(fresh: FreshStore<'_>) {
    appending::answers_are_positions_in_order(fresh()).await;
    appending::a_call_may_span_topics(fresh()).await;
    appending::an_id_is_stored_once(fresh()).await;
    appending::an_id_is_stored_once_however_many_publish_it_at_once(fresh()).await;
    appending::an_id_may_come_again_after_the_window(fresh()).await;
    appending::what_is_acknowledged_can_be_read(fresh()).await;
    appending::a_closed_log_refuses(fresh()).await;
    appending::a_closed_log_is_all_there_when_opened_again(fresh()).await;
    reading::pages_cover_a_topic_exactly(fresh()).await;
    reading::an_unknown_topic_is_empty(fresh()).await;
    reading::reading_starts_at_an_id(fresh()).await;
    reading::reading_starts_at_a_time(fresh()).await;
    reading::what_cannot_be_given_is_a_gap(fresh()).await;
    reading::an_event_larger_than_a_page_is_still_given(fresh()).await;
    reading::a_long_replay_keeps_up_with_appends(fresh()).await;
    following::a_follower_gets_everything_from_its_head_on(fresh()).await;
    following::a_follower_is_served_before_the_publisher(fresh()).await;
    following::one_follower_per_topic_and_none_after_unfollow(fresh()).await;
    retaining::events_beyond_the_count_go(fresh()).await;
    retaining::events_beyond_the_bytes_go(fresh()).await;
    retaining::events_beyond_the_age_go(fresh()).await;
    retaining::what_went_stays_gone(fresh()).await;
}

/// A topic name; panics on a bad one.
#[must_use]
pub fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The `n`th event of a topic: its id, type and data follow from `n`.
#[must_use]
pub fn event(topic: &TopicName, n: u64) -> NewEvent {
    NewEvent {
        topic: topic.clone(),
        id: format!("{topic}/{n}").into(),
        kind: "test.event".into(),
        extras: if n.is_multiple_of(3) { format!(",\"title\":\"{n}\"").into_bytes().into() } else { Box::default() },
        data: format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat((n as usize * 37) % 300)).into_bytes().into(),
    }
}

/// Appends, and panics if that is refused.
pub async fn append(log: &dyn EventLog, events: Vec<NewEvent>) -> Vec<Appended> {
    log.append(events).await.unwrap_or_else(|error| panic!("an append was refused: {error}"))
}

/// Reads a page, and panics if that fails.
pub async fn read(log: &dyn EventLog, topic: &TopicName, start: Start, direction: Direction, events_max: usize) -> Page {
    let read = Read { topic: topic.clone(), start, direction, events_max, bytes_max: 1 << 20 };
    log.read(read.clone()).await.unwrap_or_else(|error| panic!("{read:?} failed: {error}"))
}
