//! `cargo xtask bench`: measures the gateway and its peers with one loader, and writes docs/performance.md.
//!
//! It is a program and not a test: nothing here fails a build, and nothing here is timed against a clock in a test. It measures only what it
//! starts itself, on loopback. Figures that were not measured are not made up: they say "not run".

mod bench;
mod figures;
mod loader;
mod machine;
mod payload;
mod process;
mod report;
mod scenario;
mod server;
mod systems;
mod targets;
mod token;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bench::Bench;
use crate::figures::Outcome;
use crate::machine::Machine;

/// Measures Towline and its peers on loopback.
#[derive(Parser)]
struct Options {
    /// Scenarios to run, comma-separated; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Fewer and shorter repetitions; such figures are never written to the document.
    #[arg(long)]
    quick: bool,
    /// Only systems whose name begins with one of these (`Towline`, `NATS`, …), as for a profile; never written either.
    #[arg(long, value_delimiter = ';')]
    systems: Vec<String>,
    /// Writes docs/performance.md from this run and, for scenarios not in it, from the last results.
    #[arg(long, conflicts_with_all = ["quick", "systems"])]
    write: bool,
}

/// What one scenario's file holds.
#[derive(Serialize)]
struct Raw<'a> {
    machine: &'a Machine,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let names: Vec<&str> = scenario::ALL.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = options.only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no scenario {unknown}; there are {}", names.join(", "));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("finding the workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let machine = Machine::inspect();
    eprintln!("{}", machine.describe());
    let bench = Bench::new(target, options.quick, options.systems)?;
    let mut outcomes = Vec::new();
    for (name, run) in scenario::ALL {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            eprintln!("measuring: {name}");
            let mut outcome = run(&bench);
            outcome.provisional = !bench.for_the_record();
            outcome.measured = now(&bench)?;
            keep(&bench, &machine, &outcome)?;
            println!("\n{}", report::scenario(&outcome));
            outcomes.push(outcome);
        } else if options.write {
            outcomes.extend(kept(&bench, name)?);
        }
    }
    println!("\n{}", report::targets(&outcomes));
    if options.write {
        std::fs::write(root.join("docs/performance.md"), report::document(&machine, &outcomes))?;
        eprintln!("written: docs/performance.md");
    }
    Ok(())
}

fn now(bench: &Bench) -> Result<String> {
    let seconds = i64::try_from(bench.clock.unix_ms() / 1000)?;
    Ok(OffsetDateTime::from_unix_timestamp(seconds)?.format(&Rfc3339)?)
}

fn file(bench: &Bench, scenario: &str) -> PathBuf {
    bench.results().join(format!("{scenario}{}.json", if bench.for_the_record() { "" } else { "-provisional" }))
}

fn keep(bench: &Bench, machine: &Machine, outcome: &Outcome) -> Result<()> {
    let text = serde_json::to_vec_pretty(&Raw { machine, outcome })?;
    Ok(std::fs::write(file(bench, &outcome.scenario), text)?)
}

/// The last result of a scenario, if there is one.
fn kept(bench: &Bench, scenario: &str) -> Result<Option<Outcome>> {
    match std::fs::read(file(bench, scenario)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
