//! The engine on files that fail: crashes, damage, full disks, failing devices.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corruption;
mod crash;
mod device;
mod lies;
mod waiting;

use std::sync::Arc;

use parking_lot::Mutex;
use towline_clock::Clock;
use towline_log::conformance::{Store, read, topic};
use towline_log::{Direction, Epoch, EventLog, LogFuture, Policies, Record, Start};
use towline_log_embedded::{EmbeddedLog, Options, RecoveryReport, SimulatedFiles};

/// Opens a log, small in everything.
fn open(files: &SimulatedFiles, options: &Options, clock: &Clock) -> (EmbeddedLog, RecoveryReport) {
    EmbeddedLog::open(options.clone(), Arc::new(files.clone()), clock.clone()).unwrap_or_else(|error| panic!("{error}"))
}

fn small() -> Options {
    Options { segment_bytes_max: 4096, batch_bytes_max: 2048, ..Options::default() }
}

/// All that a topic gives, page by page: its epoch, its floor, and its records. Steps over gaps, which are counted.
async fn all(log: &EmbeddedLog, name: &str) -> (Epoch, u64, Vec<Record>, usize) {
    let name = topic(name);
    let floor = log.bounds(&name).await.unwrap().floor;
    let mut records = Vec::new();
    let mut gaps = 0;
    let mut start = Start::Earliest;
    loop {
        let page = read(log, &name, start, Direction::Forward, 9).await;
        gaps += usize::from(page.gap.is_some());
        let mut before = page.from;
        for record in &page.records {
            assert_eq!(record.prev(), before, "{name}: a hole that no gap tells of");
            before = record.offset();
        }
        start = Start::At(page.to_position());
        records.extend(page.records);
        if page.complete {
            return (page.epoch, floor, records, gaps);
        }
    }
}

/// A storage for the conformance suite, with small segments.
struct OnSimulatedFiles {
    files: SimulatedFiles,
    open: Mutex<Option<Arc<EmbeddedLog>>>,
}

impl Store for OnSimulatedFiles {
    fn open(&self, policies: Policies, clock: Clock) -> LogFuture<Arc<dyn EventLog>> {
        let log = Arc::new(open(&self.files, &Options { policies, ..small() }, &clock).0);
        *self.open.lock() = Some(log.clone());
        Box::pin(async move { log as Arc<dyn EventLog> })
    }

    fn keeps_events(&self) -> bool {
        true
    }

    fn retain(&self) -> LogFuture<()> {
        let log = self.open.lock().clone().unwrap();
        Box::pin(async move { log.upkeep().unwrap() })
    }
}

impl OnSimulatedFiles {
    fn new(files: SimulatedFiles) -> Self {
        Self { files, open: Mutex::new(None) }
    }
}
