//! Every byte of a small log, damaged: never a panic, never wrong events, never a silent loss.

use std::collections::BTreeMap;

use towline_clock::Clock;
use towline_log::conformance::{START_MS, append, event, topic};
use towline_log::{Direction, Epoch, EventLog, GapReason, NewEvent, Read, ReadError, Start};
use towline_log_embedded::{EmbeddedLog, Options, SimulatedFiles};

use super::{all, open, small};

const TOPICS: [&str; 3] = ["user:1", "user:2", "user:3"];

/// A log with some events in each topic, and what is in it.
struct Original {
    files: SimulatedFiles,
    epoch: Epoch,
    events: BTreeMap<&'static str, Vec<NewEvent>>,
}

async fn original(events: u64, clean: bool) -> Original {
    let clock = Clock::manual(START_MS);
    let files = SimulatedFiles::new(7);
    let (log, _) = open(&files, &small(), &clock);
    let mut kept: BTreeMap<&'static str, Vec<NewEvent>> = BTreeMap::new();
    let mut epoch = Epoch(0);
    for n in 0..events {
        let name = TOPICS[(n * n) as usize % 3];
        let event = event(&topic(name), n);
        epoch = append(&log, vec![event.clone()]).await[0].position.epoch;
        kept.entry(name).or_default().push(event);
    }
    let files = if clean {
        log.close().await;
        files
    } else {
        files.kill()
    };
    Original { files, epoch, events: kept }
}

impl Original {
    /// What a log made from a damaged copy may and must say.
    async fn check(&self, log: &EmbeddedLog, reported: bool, what: &str) {
        for name in TOPICS {
            let original = self.events.get(name).cloned().unwrap_or_default();
            let (epoch, _, records, _) = all(log, name).await;
            for record in &records {
                let event = original.get(record.offset() as usize - 1);
                let event = event.unwrap_or_else(|| panic!("{what}: {name}: {record:?} was never there"));
                assert_eq!(
                    (record.id(), record.kind(), record.extras(), record.data()),
                    (&*event.id, &*event.kind, &*event.extras, &*event.data),
                    "{what}: {name}: another event"
                );
            }
            if records.len() < original.len() {
                assert!(reported, "{what}: {name}: {} of {} events, and no report", records.len(), original.len());
                assert_ne!(epoch, self.epoch, "{what}: {name}: events are missing under the same epoch");
            }
        }
    }

    async fn damage_and_open(&self, file: &str, what: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let clock = Clock::manual(START_MS + 1_000);
        let files = self.files.fork();
        files.corrupt(file, change);
        let opened = EmbeddedLog::open(small(), std::sync::Arc::new(files.clone()), clock.clone());
        let (log, report) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // Only what cannot be told from another version or another log is refused, and then nothing was touched.
                assert!(error.to_string().contains(file), "{what}: {error}");
                return;
            }
        };
        self.check(&log, report.is_damaged(), what).await;
        if !report.damage.is_empty() && file.starts_with("segment") {
            assert!(report.to_string().contains(file), "{what}: {report}");
            assert!(files.names().iter().any(|name| name.starts_with("damaged-")), "{what}: the damaged file is kept");
        }
        // It goes on, and the damage is not met again.
        let answer = append(&log, vec![event(&topic(TOPICS[0]), 1_000_000)]).await[0];
        let epochs = [all(&log, TOPICS[0]).await.0, all(&log, TOPICS[1]).await.0];
        assert_eq!(answer.position.epoch, epochs[0]);
        log.close().await;
        let (log, report) = open(&files, &small(), &clock);
        assert!(!report.is_damaged() && report.clean, "{what}: opened again: {report}");
        assert_eq!([all(&log, TOPICS[0]).await.0, all(&log, TOPICS[1]).await.0], epochs, "{what}");
    }

    /// All files that hold something.
    fn names(&self) -> Vec<String> {
        self.files.names().into_iter().filter(|name| name != "reserve").collect()
    }

    async fn flip_every(&self, stride: usize) {
        for file in self.names() {
            let len = self.files.bytes(&file).len();
            for at in (0..len).step_by(stride) {
                let mask = [0x01, 0x80, 0xff, 0x10][at % 4];
                self.damage_and_open(&file, &format!("{file} byte {at} ^ {mask:#x}"), |bytes| bytes[at] ^= mask).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_a_closed_log_is_never_silent() {
    original(6, true).await.flip_every(1).await;
    original(40, true).await.flip_every(41).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_after_a_kill_is_never_silent() {
    original(6, false).await.flip_every(1).await;
    original(40, false).await.flip_every(41).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_log_that_was_cut_or_lost_a_file_is_never_silent() {
    let original = original(40, true).await;
    let segments: Vec<String> = original.files.names().into_iter().filter(|name| name.starts_with("segment")).collect();
    assert!(segments.len() >= 3, "several segments");
    for file in &segments {
        let len = original.files.bytes(file).len();
        for cut in (0..len).step_by(97) {
            original.damage_and_open(file, &format!("{file} cut to {cut}"), |bytes| bytes.truncate(cut)).await;
        }
        original.damage_and_open(file, &format!("{file} zeroed behind 100"), |bytes| bytes[100..].fill(0)).await;
    }
    for file in original.names() {
        let clock = Clock::manual(START_MS + 1_000);
        let files = original.files.fork();
        towline_log_embedded::Files::remove(&files, &file).unwrap();
        let (log, report) = open(&files, &small(), &clock);
        assert!(report.is_damaged(), "{file} removed: {report}");
        original.check(&log, true, &format!("{file} removed")).await;
    }
}

/// Damage that appears while the log is open: the read that meets it fails and says where; no other event is given instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_that_flips_under_an_open_log_is_never_read() {
    let original = original(6, true).await;
    let file = "segment-0000000001.log";
    let mut failed = 0;
    for at in 40..original.files.bytes(file).len() {
        let files = original.files.fork();
        let (log, _) = open(&files, &small(), &Clock::manual(START_MS));
        files.corrupt(file, |bytes| bytes[at] ^= 0x20);
        for name in TOPICS {
            for (start, direction) in [
                (Start::Earliest, Direction::Forward),
                (Start::Latest, Direction::Backward),
                (Start::Time(START_MS), Direction::Forward),
            ] {
                let read = Read { topic: topic(name), start, direction, events_max: 100, bytes_max: 1 << 20 };
                match log.read(read).await {
                    Ok(page) => {
                        for record in &page.records {
                            let event = &original.events[name][record.offset() as usize - 1];
                            assert_eq!((record.id(), record.data()), (&*event.id, &*event.data), "byte {at}");
                        }
                        assert_eq!(page.records.len(), original.events.get(name).map_or(0, Vec::len), "byte {at}");
                    }
                    Err(ReadError::Damaged(why)) => {
                        assert!(why.contains(file), "{why}");
                        failed += 1;
                    }
                    Err(other) => panic!("byte {at}: {other}"),
                }
            }
        }
        drop(log);
    }
    assert!(failed > 0);
}

/// A hole is told on the page that begins behind it, in both directions, also after a restart.
#[tokio::test]
async fn events_lost_in_the_middle_are_a_gap_ever_after() {
    let clock = Clock::manual(START_MS);
    let files = SimulatedFiles::new(7);
    let options = Options::default();
    let (log, _) = open(&files, &options, &clock);
    let name = topic(TOPICS[0]);
    for n in 0..10 {
        append(&log, vec![event(&name, n)]).await;
    }
    log.close().await;
    let file = "segment-0000000001.log";
    let id = event(&name, 4).id;
    let bytes = files.bytes(file);
    let at = bytes.windows(id.len()).position(|window| window == id.as_bytes()).unwrap();
    files.corrupt(file, |bytes| bytes[at] ^= 1);
    for round in 0..3 {
        let (log, report) = open(&files, &options, &clock);
        assert_eq!(report.is_damaged(), round == 0, "{report}");
        if round == 0 {
            assert_eq!((report.events_lost, report.lost[0].first, report.lost[0].last), (1, 5, 5));
            assert_eq!(report.epochs_changed, 1);
        }
        let bounds = log.bounds(&name).await.unwrap();
        assert_eq!((bounds.floor, bounds.events, bounds.head), (0, 9 + round, 10 + round));
        let page = async |start, direction| {
            log.read(Read { topic: name.clone(), start, direction, events_max: 100, bytes_max: 1 << 20 }).await.unwrap()
        };
        let first = page(Start::Earliest, Direction::Forward).await;
        assert_eq!((first.to, first.complete, first.gap), (4, false, None));
        let second = page(Start::At(first.to_position()), Direction::Forward).await;
        let gap = second.gap.unwrap();
        assert_eq!(
            (gap.reason, gap.requested, gap.resume_after),
            (GapReason::Damaged, Some(first.to_position()), second.from_position())
        );
        assert_eq!((second.from, second.records[0].offset(), second.records[0].prev(), second.complete), (5, 6, 5, true));
        let newest = page(Start::Latest, Direction::Backward).await;
        assert_eq!((newest.to, newest.complete), (6, false));
        let older = page(Start::At(newest.to_position()), Direction::Backward).await;
        assert_eq!(
            (older.gap.map(|gap| gap.reason), older.records[0].offset(), older.complete),
            (Some(GapReason::Damaged), 4, true)
        );
        assert_eq!(page(Start::Id(id.clone()), Direction::Forward).await.gap.map(|gap| gap.reason), Some(GapReason::UnknownId));
        append(&log, vec![event(&name, 100 + round)]).await;
        log.close().await;
    }
}
