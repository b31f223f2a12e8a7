//! Runs one target of [`towline_fuzz::TARGETS`] guided by coverage. `TOWLINE_FUZZ_TARGET` names it; everything else is libFuzzer's.
//!
//! ```text
//! cargo install cargo-fuzz --locked
//! TOWLINE_FUZZ_TARGET=websocket_server cargo +nightly fuzz run --fuzz-dir fuzz/libfuzzer any \
//!     fuzz/libfuzzer/corpus/websocket_server fuzz/corpus/websocket_server -- -max_total_time=60
//! ```
//!
//! What it finds goes to the first folder, which is not checked in. The input of a bug goes to `fuzz/corpus/<target>/`, where every test run
//! repeats it.
#![no_main]

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use towline_fuzz::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("TOWLINE_FUZZ_TARGET").unwrap_or_default();
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = TARGETS.iter().map(|(known, _)| *known).collect();
        eprintln!("set TOWLINE_FUZZ_TARGET to one of: {}", known.join(", "));
        exit(2);
    };
    *target
}

fuzz_target!(|data: &[u8]| TARGET.get_or_init(chosen)(data));
