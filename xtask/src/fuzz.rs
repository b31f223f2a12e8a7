//! `cargo xtask fuzz`: all decoders of outside bytes for a night, with the corpus kept.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

use crate::repository::{Repository, output};

const HELP: &str = "\
cargo xtask fuzz [--executions N] [--seed N] [--target NAME] [--guided [--keep]]

Runs the fuzz targets (crate fuzz) at length: 10,000,000 executions over all of them unless said otherwise, half an hour on two cores.

  --executions N   how many in total
  --seed N         of the generator; a new one each time, and printed, so that a failure repeats
  --target NAME    this one alone
  --guided         by libFuzzer, guided by coverage: needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz --locked).
                   What it finds is kept in fuzz/libfuzzer/corpus, which is not checked in, and the next run begins there
  --keep           afterwards adds to fuzz/corpus, which is checked in, the fewest inputs that cover what was found
";

const EXECUTIONS: u64 = 10_000_000;
/// Inputs longer than this find nothing more, and cost time.
const INPUT_BYTES_MAX: u32 = 4096;

struct Options {
    executions: u64,
    seed: u64,
    target: Option<String>,
    guided: bool,
    keep: bool,
}

/// `cargo xtask fuzz`.
pub fn run(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments.iter().any(|flag| flag == "--help" || flag == "-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::of(arguments)?;
    if options.guided { guided(repository, &options) } else { seeded(repository, &options) }
}

impl Options {
    fn of(arguments: &[String]) -> anyhow::Result<Self> {
        let clock = towline_clock::Clock::system();
        let mut options = Self { executions: EXECUTIONS, seed: clock.unix_ms(), target: None, guided: false, keep: false };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--executions" => options.executions = value()?.replace('_', "").parse().context("--executions: a number")?,
                "--seed" => options.seed = value()?.parse().context("--seed: a number")?,
                "--target" => options.target = Some(value()?.clone()),
                "--guided" => options.guided = true,
                "--keep" => options.keep = true,
                other => bail!("unknown argument {other:?}\n\n{HELP}"),
            }
        }
        ensure!(
            options.guided || !options.keep,
            "--keep is for --guided: the seeded generator finds nothing to keep but failures"
        );
        Ok(options)
    }
}

/// Mutations by a seeded generator, on the stable toolchain.
fn seeded(repository: &Repository, options: &Options) -> anyhow::Result<ExitCode> {
    let mut cargo = repository.cargo();
    cargo.args(["test", "--profile", "fuzz", "--package", "towline-fuzz", "--test", "brief", "--", "--nocapture"]);
    cargo.env("TOWLINE_FUZZ_SEED", options.seed.to_string()).env("TOWLINE_FUZZ_EXECUTIONS", options.executions.to_string());
    if let Some(target) = &options.target {
        cargo.env("TOWLINE_FUZZ_TARGET", target);
    }
    let status = cargo.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// libFuzzer, one target after another.
fn guided(repository: &Repository, options: &Options) -> anyhow::Result<ExitCode> {
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets(repository)?,
    };
    output(Command::new("cargo").args(["+nightly", "fuzz", "--version"]))
        .context("--guided needs a nightly toolchain and cargo-fuzz: cargo install cargo-fuzz --locked")?;
    let each = (options.executions / targets.len() as u64).max(1);
    for target in &targets {
        let found = repository.root.join("fuzz/libfuzzer/corpus").join(target);
        let checked_in = repository.root.join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&found)?;
        println!("\n=== {target}: {each} executions");
        let limits = [format!("-runs={each}"), format!("-max_len={INPUT_BYTES_MAX}"), format!("-seed={}", options.seed as u32)];
        libfuzzer(repository, target, &[found.clone(), checked_in.clone()], &limits)?;
        if options.keep {
            let limits = ["-set_cover_merge=1".to_owned(), format!("-max_len={INPUT_BYTES_MAX}")];
            libfuzzer(repository, target, &[checked_in, found], &limits)?;
        }
    }
    println!("\n{} executions of each of {} targets, no failure", each, targets.len());
    Ok(ExitCode::SUCCESS)
}

fn libfuzzer(repository: &Repository, target: &str, folders: &[PathBuf], limits: &[String]) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["+nightly", "fuzz", "run", "--fuzz-dir", "fuzz/libfuzzer", "any"]).args(folders).arg("--").args(limits);
    cargo.env("TOWLINE_FUZZ_TARGET", target).current_dir(&repository.root);
    // This program's own toolchain is not the one that is asked for.
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
        cargo.env_remove(name);
    }
    let status = cargo.status()?;
    ensure!(status.success(), "{target} failed: put the input that it names into fuzz/corpus/{target}, and mend the fault");
    Ok(())
}

/// Every target has a corpus, and every corpus a target: the brief run fails otherwise.
fn targets(repository: &Repository) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository.root.join("fuzz/corpus"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
