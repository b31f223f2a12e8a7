//! The engine as its users see it: through the contract, on real files and in a real child process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod conformance;
mod kill;
mod lock;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use towline_clock::Clock;
use towline_log::conformance::Store;
use towline_log::{EventLog, LogFuture, Policies};
use towline_log_embedded::{EmbeddedLog, Options, OsFiles};

/// A log in a directory of its own.
struct Directory {
    path: PathBuf,
    options: Options,
    open: Mutex<Option<Arc<EmbeddedLog>>>,
    _removed_at_end: tempfile::TempDir,
}

impl Directory {
    fn new(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { path: directory.path().join("log"), options, open: Mutex::new(None), _removed_at_end: directory }
    }
}

impl Store for Directory {
    fn open(&self, policies: Policies, clock: Clock) -> LogFuture<Arc<dyn EventLog>> {
        let options = Options { policies, ..self.options.clone() };
        let (log, report) = EmbeddedLog::open(options, Arc::new(OsFiles::new(&self.path)), clock).unwrap();
        assert!(!report.is_damaged() && report.torn_bytes_cut == 0 && report.epochs_changed == 0, "{report}");
        assert!(report.created || report.clean, "{report}");
        let log = Arc::new(log);
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
