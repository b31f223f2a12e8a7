//! Kills a real process that appends, at any moment: whatever it was told is stored is there, and nothing else is changed.
//!
//! The child is this test binary itself, run for one ignored test. It prints one line per acknowledged event.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use towline_clock::Clock;
use towline_log::conformance::{event, read, topic};
use towline_log::{Direction, Durability, EventLog, Policies, Start, TopicPolicy};
use towline_log_embedded::{EmbeddedLog, Options, OsFiles};

const DIRECTORY_VARIABLE: &str = "TOWLINE_TEST_KILL_DIRECTORY";
const FIRST_VARIABLE: &str = "TOWLINE_TEST_KILL_FIRST";
const TOPICS: u64 = 5;
const KILLS: u64 = 12;

fn options() -> Options {
    let relaxed = TopicPolicy { durability: Durability::Relaxed, ..TopicPolicy::default() };
    let rules = vec![(towline_protocol::TopicPattern::new("relaxed:*").unwrap(), relaxed)];
    let policies = Policies { rules, ..Policies::default() };
    Options { policies, segment_bytes_max: 256 * 1024, ..Options::default() }
}

fn name(n: u64) -> String {
    if n.is_multiple_of(TOPICS) { "relaxed:0".into() } else { format!("user:{}", n % TOPICS) }
}

/// Not a test of its own: the process that is killed.
#[test]
#[ignore = "run by the test below, as a child process"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY_VARIABLE) else { return };
    let first: u64 = std::env::var(FIRST_VARIABLE).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (log, _) = EmbeddedLog::open(options(), Arc::new(OsFiles::new(directory)), Clock::system()).unwrap();
        let log = Arc::new(log);
        let mut n = first;
        loop {
            let calls: Vec<_> = (n..n + 16).map(|n| (n, log.append(vec![event(&topic(&name(n)), n)]))).collect();
            n += 16;
            for (n, call) in calls {
                let answer = call.await.unwrap()[0];
                println!("acked {n} {}", answer.position.offset);
            }
        }
    });
}

/// The running test binary, even if a build has replaced its file meanwhile.
fn this_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { running } else { std::env::current_exe().unwrap() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    // topic -> offset -> n
    let mut acked: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    let mut epochs: BTreeMap<String, towline_log::Epoch> = BTreeMap::new();
    for round in 0..KILLS {
        let first = round * 10_000_000;
        let mut child = Command::new(this_program())
            .args(["kill::child", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY_VARIABLE, directory.path())
            .env(FIRST_VARIABLE, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let kill_after = random.u64(1..800);
        let mut seen = 0;
        // Read to the end: what was printed before the kill was acknowledged before the kill.
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            let (Some("acked"), Some(n), Some(offset)) = (words.next(), words.next(), words.next()) else { continue };
            // The last line may be cut.
            let (Ok(n), Ok(offset)) = (n.parse::<u64>(), offset.parse::<u64>()) else { continue };
            acked.entry(name(n)).or_default().insert(offset, n);
            seen += 1;
            if seen == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= kill_after, "seed {seed}: the child ended by itself");

        let (log, report) = EmbeddedLog::open(options(), Arc::new(OsFiles::new(directory.path())), Clock::system()).unwrap();
        assert!(!report.is_damaged() && report.epochs_changed == 0 && !report.clean, "seed {seed}: {report}");
        for (name, acked) in &acked {
            let page = read(&log, &topic(name), Start::Earliest, Direction::Forward, 16_000).await;
            assert!(page.complete && *epochs.entry(name.clone()).or_insert(page.epoch) == page.epoch, "seed {seed}: {name}");
            let mut expected_offset = 0;
            for record in &page.records {
                expected_offset += 1;
                assert_eq!((record.offset(), record.prev()), (expected_offset, expected_offset - 1), "seed {seed}: {name}");
            }
            for (offset, n) in acked {
                let record = page.records.get(*offset as usize - 1);
                let record = record.unwrap_or_else(|| panic!("seed {seed}: {name}: acknowledged {offset} is gone"));
                let event = event(&topic(name), *n);
                assert_eq!((record.id(), record.data()), (&*event.id, &*event.data), "seed {seed}: {name} {offset}");
            }
        }
        // Every other opening comes after a clean close.
        if round % 2 == 0 {
            drop(log);
        } else {
            log.close().await;
        }
    }
}
