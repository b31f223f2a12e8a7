//! The suite that every engine must pass.

use std::sync::Arc;

use towline_log::conformance::{Store, run_all, sequences};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_lives_are_as_the_model_says() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for life in 0..8 {
        let options = match life % 2 {
            0 => Options::default(),
            _ => Options { segment_bytes_max: 4096, batch_bytes_max: 2048, ..Options::default() },
        };
        let seed = seed.wrapping_add(life);
        println!("life {seed}");
        sequences::a_random_life_is_as_the_model_says(Arc::new(Directory::new(options)), seed).await;
    }
}
