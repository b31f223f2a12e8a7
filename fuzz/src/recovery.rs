//! Opening a log whose files were damaged: it opens or says why not, gives out nothing that was not written, and stays usable.

use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Runtime};
use towline_clock::Clock;
use towline_log::{Direction, EventLog as _, NewEvent, Read, Record, Start, TopicName};
use towline_log_embedded::{EmbeddedLog, Options};

use crate::log::{sum_checkpoint, sum_segment};
use crate::memory_files::{Contents, MemoryFiles};

const NOW_MS: u64 = 1_700_000_000_000;
/// Far more than there are events.
const PAGES_MAX: usize = 1000;
const TOPICS: [&str; 3] = ["user:1", "thread:long-name", "system"];
const CHECKPOINT: &str = "checkpoint";
/// Where the identity of the log stands in a checkpoint.
const LOG_ID_AT: usize = 12;

/// A log as it was before the damage.
struct Undamaged {
    clean: Contents,
    killed: Contents,
    log_id: u64,
    /// All events of each of [`TOPICS`].
    events: Vec<Vec<Record>>,
}

/// The first byte's bits: 1, whether the log was closed in order; 2, whether checksums are put right after the damage. Then five bytes for
/// each place that is damaged: file, way, position (two bytes), value.
pub fn recovery(data: &[u8]) {
    let Some((&flags, places)) = data.split_first() else { return };
    let before = undamaged();
    let mut contents = if flags & 1 == 0 { before.killed.clone() } else { before.clean.clone() };
    for place in places.chunks_exact(5).take(20) {
        damage(&mut contents, [place[0], place[1], place[2], place[3], place[4]]);
    }
    let summed = flags & 2 != 0;
    if summed {
        put_checksums_right(&mut contents, before.log_id);
    }

    let files = Arc::new(MemoryFiles::new(contents));
    let Ok((log, report)) = EmbeddedLog::open(options(), files.clone(), Clock::manual(NOW_MS)) else { return };
    assert!(report.to_string().len() < 100_000);
    let found = everything(&log);
    assert!(summed || found.is_some(), "what was verified can be read");
    for (records, before) in found.iter().flatten().zip(&before.events) {
        assert!(records.windows(2).all(|pair| pair[0].offset() < pair[1].offset()), "offsets grow");
        // Behind right checksums anything may stand; behind the old ones only what was written.
        assert!(summed || records.iter().all(|record| before.contains(record)), "an event that nobody wrote");
    }
    let appended = append_to_all(&log, 1, 9000);
    drop(log);

    let (log, report) = EmbeddedLog::open(options(), files, Clock::manual(NOW_MS)).expect("a log that was open opens again");
    assert!(report.damage.is_empty(), "what was repaired is damaged again: {report}");
    let (Some(found), Some(again)) = (found, everything(&log)) else {
        assert!(summed, "what was verified can be read");
        return;
    };
    for ((records, found), appended) in again.iter().zip(&found).zip(appended) {
        assert!(records.starts_with(found) || found.is_empty(), "what was read before is there");
        let last = records.last().map(Record::offset);
        assert_eq!(last, Some(appended), "what was acknowledged is there");
    }
}

fn damage(contents: &mut Contents, [file, way, high, low, value]: [u8; 5]) {
    let names: Vec<String> = contents.keys().cloned().collect();
    let Some(name) = names.get(usize::from(file) % names.len().max(1)) else { return };
    let position = usize::from(u16::from_be_bytes([high, low]));
    match way % 8 {
        6 => {
            contents.remove(name);
        }
        7 => {
            let copy = contents[name].clone();
            let seq = if value == 0xff { u32::MAX - 1 } else { u32::from(value) + 1 };
            contents.insert(format!("segment-{seq:010}.log"), copy);
        }
        way => {
            let Some(bytes) = contents.get_mut(name) else { return };
            let at = position % (bytes.len() + 1);
            let end = bytes.len().min(at + usize::from(value));
            match way {
                0 if at < bytes.len() => bytes[at] = value,
                1 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
                2 => bytes.truncate(at),
                3 => bytes[at..end].fill(0),
                4 => bytes[at..end].fill(0xff),
                _ => bytes.splice(at..at, std::iter::repeat_n(value, 1 + usize::from(value))).for_each(drop),
            }
        }
    }
}

fn put_checksums_right(contents: &mut Contents, log_id: u64) {
    for (name, bytes) in contents {
        if name == CHECKPOINT {
            sum_checkpoint(bytes);
        } else if let Some(seq) = name.strip_prefix("segment-").and_then(|rest| rest.strip_suffix(".log")?.parse().ok()) {
            sum_segment(bytes, log_id, seq);
        }
    }
}

fn undamaged() -> &'static Undamaged {
    static UNDAMAGED: OnceLock<Undamaged> = OnceLock::new();
    UNDAMAGED.get_or_init(|| {
        let files = Arc::new(MemoryFiles::default());
        let (log, _) = EmbeddedLog::open(options(), files.clone(), Clock::manual(NOW_MS)).expect("an empty directory");
        for round in 0..12 {
            append_to_all(&log, 3, round * 10);
        }
        let killed = files.contents();
        let events = everything(&log).expect("nothing is damaged yet");
        drop(log);
        let clean = files.contents();
        let log_id = clean[CHECKPOINT][LOG_ID_AT..].first_chunk().map_or(0, |id| u64::from_le_bytes(*id));
        for contents in [&clean, &killed] {
            let mut summed = contents.clone();
            put_checksums_right(&mut summed, log_id);
            assert!(summed == *contents, "this target knows where the checksums are");
        }
        assert!(killed.len() > 3, "there are several segments");
        Undamaged { clean, killed, log_id, events }
    })
}

/// As small as it gets, so that there are several segments.
fn options() -> Options {
    Options { segment_bytes_max: 4096, ..Options::default() }
}

/// Appends `count` events to each topic in one call, and gives the last offset in each.
fn append_to_all(log: &EmbeddedLog, count: usize, number: usize) -> Vec<u64> {
    let event = |topic: &str, index| NewEvent {
        topic: TopicName::new(topic).expect("a good name"),
        id: format!("{topic}-{}", number + index).into(),
        kind: "agent.step_completed".into(),
        extras: br#","title":"x""#[..].into(),
        data: format!(r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(number % 97)).into_bytes().into(),
    };
    TOPICS
        .iter()
        .map(|topic| {
            let events = (0..count).map(|index| event(topic, index)).collect();
            let appended = runtime().block_on(log.append(events)).expect("the log takes events");
            appended.last().map_or(0, |last| last.position.offset)
        })
        .collect()
}

/// All events of each topic, in pages; `None` if a read is refused because of damage.
fn everything(log: &EmbeddedLog) -> Option<Vec<Vec<Record>>> {
    TOPICS.iter().map(|topic| all_of(log, topic)).collect()
}

fn all_of(log: &EmbeddedLog, topic: &str) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut start = Start::Earliest;
    for _ in 0..PAGES_MAX {
        let read = Read {
            topic: TopicName::new(topic).expect("a good name"),
            start,
            direction: Direction::Forward,
            events_max: 5,
            bytes_max: 1 << 20,
        };
        let page = runtime().block_on(log.read(read)).ok()?;
        let to = page.to_position();
        let done = page.complete;
        records.extend(page.records);
        if done {
            return Some(records);
        }
        start = Start::At(to);
    }
    panic!("{topic} has no end");
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"))
}
