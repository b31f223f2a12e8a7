//! What the webhook reads from the log: what it kept, and single messages when their turn has come.

use towline_log::{Direction, EventLog, Page, Read, ReadError, Record, Start};
use towline_protocol::{Position, TopicName};

use super::letter;
use super::letters::Letters;
use super::message::Message;
use super::progress::Saved;
use super::schedule::Work;

/// Events and bytes of a page of dead letters.
const LETTERS_PAGE: (usize, usize) = (1_000, 4 << 20);

async fn page(
    log: &dyn EventLog,
    topic: TopicName,
    start: Start,
    direction: Direction,
    (events_max, bytes_max): (usize, usize),
) -> Result<Page, ReadError> {
    log.read(Read { topic, start, direction, events_max, bytes_max }).await
}

/// The record behind a position, if it is the one at `offset` of the same history.
///
/// # Errors
/// If the log cannot be read.
pub async fn record(log: &dyn EventLog, topic: TopicName, before: Position, offset: u64) -> Result<Option<Record>, ReadError> {
    let page = page(log, topic, Start::At(before), Direction::Forward, (1, 1)).await?;
    let found = page.records.into_iter().next().filter(|record| page.epoch == before.epoch && record.offset() == offset);
    Ok(found)
}

/// What is to be posted; none if it is gone.
pub(super) async fn message(log: &dyn EventLog, work: Work, before: Position) -> Result<Option<Message>, ReadError> {
    Ok(match work {
        Work::Message(offset) => {
            record(log, TopicName::all_inboxes(), before, offset).await?.map(|record| Message::of_record(&record, before.epoch))
        }
        Work::Letter(offset) => {
            record(log, letter::letters_topic(), before, offset).await?.and_then(|record| Message::of_letter(&record))
        }
    })
}

/// The progress that was written last, or where to begin for the first time: with the oldest message that the log still has, because
/// nobody has got it.
pub(super) async fn progress(log: &dyn EventLog) -> Result<Saved, ReadError> {
    let newest = page(log, letter::cursor_topic(), Start::Latest, Direction::Backward, (1, 1)).await?;
    if let Some(record) = newest.records.first() {
        match serde_json::from_slice(record.data()) {
            Ok(saved) => return Ok(saved),
            Err(error) => {
                tracing::error!(%error, "the webhook's progress cannot be understood: all messages are delivered again")
            }
        }
    }
    let first = page(log, TopicName::all_inboxes(), Start::Earliest, Direction::Forward, (1, 1)).await?;
    Ok(Saved { committed: first.from_position(), done: Vec::new() })
}

/// The open dead letters.
pub(super) async fn letters(log: &dyn EventLog) -> Result<Letters, ReadError> {
    let mut letters = Letters::default();
    let mut start = Start::Earliest;
    loop {
        let page = page(log, letter::letters_topic(), start, Direction::Forward, LETTERS_PAGE).await?;
        page.records.iter().for_each(|record| letters.apply(record));
        letters.epoch = Some(page.epoch);
        if page.complete {
            return Ok(letters);
        }
        start = Start::At(page.to_position());
    }
}
