//! Every target, briefly: first its corpus as it is, then mutations of it by a seeded generator, so that a run repeats itself exactly.
//!
//! `TOWLINE_FUZZ_SEED` sets another seed, `TOWLINE_FUZZ_EXECUTIONS` another number of executions over all targets, and
//! `TOWLINE_FUZZ_TARGET` runs that target alone. `cargo xtask fuzz` does this at length, for a night.

#[path = "brief/mutator.rs"]
mod mutator;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use mutator::Mutator;
use towline_fuzz::{TARGETS, Target};

const SEED: u64 = 0x70_77_6c_69_6e_65;
/// A few seconds per target in a debug build.
const EXECUTIONS_PER_TARGET: u64 = 100_000;
/// Targets that do much more per execution, and how many times fewer they get.
const SLOW: &[(&str, u64)] = &[("recovery", 100)];

#[test]
fn no_target_fails_on_its_corpus_or_on_mutations_of_it() {
    let seed = setting("TOWLINE_FUZZ_SEED", SEED);
    let only = std::env::var("TOWLINE_FUZZ_TARGET").ok();
    let chosen: Vec<_> = TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)).collect();
    assert!(!chosen.is_empty(), "there is no target {only:?}");
    let shares: f64 = chosen.iter().map(|(name, _)| 1.0 / share(name) as f64).sum();
    let total = setting("TOWLINE_FUZZ_EXECUTIONS", (EXECUTIONS_PER_TARGET as f64 * shares) as u64);
    let of = |name| (total as f64 / shares / share(name) as f64).ceil() as u64;
    let failures: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = chosen.iter().map(|(name, target)| scope.spawn(move || run(name, *target, seed, of(name)))).collect();
        runs.into_iter().filter_map(|run| run.join().unwrap_or_else(|_| Some("the generator itself failed".into()))).collect()
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    println!("{} executions of {} targets with seed {seed}", chosen.iter().map(|(name, _)| of(name)).sum::<u64>(), chosen.len());
}

/// How many times fewer executions a target gets than a quick one.
fn share(name: &str) -> u64 {
    SLOW.iter().find(|(slow, _)| *slow == name).map_or(1, |(_, share)| *share)
}

fn run(name: &str, target: Target, seed: u64, executions: u64) -> Option<String> {
    let corpus = corpus(name);
    for (file, input) in &corpus {
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
            return Some(format!("{name} fails on corpus/{name}/{file}"));
        }
    }
    let mut mutator = Mutator::new(seed, corpus.into_iter().map(|(_, input)| input).collect());
    for execution in 0..executions {
        let input = mutator.next_input();
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
            let input = input.escape_ascii();
            return Some(format!("{name} fails with TOWLINE_FUZZ_SEED={seed} at execution {execution} on b\"{input}\""));
        }
    }
    None
}

/// The target's starting points, in the order of their names, so that every run sees the same.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut corpus: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder's entry"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a corpus file")))
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "{name} has no corpus");
    corpus
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}
