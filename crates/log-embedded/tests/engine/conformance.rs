//! The suite that every engine must pass.

use std::sync::Arc;

use towline_log::conformance::{Store, run_all};
use towline_log_embedded::Options;

use super::Directory;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_keeps_the_contract() {
    run_all(&|| Arc::new(Directory::new(Options::default())) as Arc<dyn Store>).await;
}

/// As above, with a new segment after a few events: whatever spans segments is met at every turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_keeps_the_contract_with_tiny_segments() {
    let options = Options { segment_bytes_max: 4096, batch_bytes_max: 2048, ..Options::default() };
    run_all(&|| Arc::new(Directory::new(options.clone())) as Arc<dyn Store>).await;
}
