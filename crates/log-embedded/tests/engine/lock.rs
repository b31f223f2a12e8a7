//! One process at a time.

use std::sync::Arc;

use towline_clock::Clock;
use towline_log::EventLog;
use towline_log_embedded::{EmbeddedLog, OpenError, Options, OsFiles};

#[tokio::test]
async fn a_directory_has_one_log_and_the_refusal_says_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let open = || EmbeddedLog::open(Options::default(), Arc::new(OsFiles::new(directory.path())), Clock::system());
    let (log, _) = open().unwrap();
    let refused = open().err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("data directory"), "{text}");
    log.close().await;
    let (again, _) = open().unwrap();
    drop(again);
    assert!(open().is_ok(), "dropping lets go too");
}
