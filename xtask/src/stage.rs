//! Stages: named, timed pieces of a long run, and the account of all of them at the end.

use std::time::Duration;

use towline_clock::Clock;

use crate::process::interrupted;
use crate::tally::Tally;

/// How a stage ended.
pub enum Outcome {
    /// It ran to its end and counted this.
    Ran(Tally),
    /// It could not run here, and why. Proves nothing, fails nothing.
    NotRun(String),
}

/// A run made of stages.
pub struct Run {
    /// Empty: all.
    only: Vec<String>,
    clock: Clock,
    ended: Vec<Ended>,
}

struct Ended {
    name: &'static str,
    took: Duration,
    tally: Tally,
    remark: Option<String>,
}

impl Run {
    /// A run of the stages with these names, or of all if there is no name.
    pub fn new(only: Vec<String>) -> Self {
        Self { only, clock: Clock::system(), ended: Vec::new() }
    }

    /// Runs a stage. True if nothing in it failed, or it was not asked for. A stage that fails as a whole counts as one failure.
    pub fn stage(&mut self, name: &'static str, work: impl FnOnce() -> anyhow::Result<Outcome>) -> bool {
        if interrupted() || !(self.only.is_empty() || self.only.iter().any(|only| only == name)) {
            return true;
        }
        println!("\n=== {name}");
        let began = self.clock.uptime();
        let (tally, remark) = match work() {
            Ok(Outcome::Ran(tally)) => (tally, None),
            Ok(Outcome::NotRun(why)) => {
                println!("\n!!! {name} was NOT RUN: {why}\n");
                (Tally::default(), Some(format!("NOT RUN: {why}")))
            }
            Err(error) => {
                println!("{name} failed: {error:#}");
                (Tally { failed: 1, ..Tally::default() }, Some(format!("{error:#}")))
            }
        };
        let took = self.clock.uptime().saturating_sub(began);
        println!("=== {name}: {tally} in {:.1} s", took.as_secs_f64());
        self.ended.push(Ended { name, took, tally, remark });
        tally.failed == 0
    }

    /// Counts a stage that cannot run because an earlier one failed.
    pub fn skip(&mut self, name: &'static str, because: &str) {
        self.stage(name, || anyhow::bail!("{because}"));
    }

    /// Prints the account of all stages. True if nothing failed.
    pub fn close(self) -> bool {
        println!("\n=== summary");
        let mut total = Tally::default();
        for Ended { name, took, tally, remark } in &self.ended {
            let remark = remark.as_deref().and_then(|remark| remark.lines().next()).unwrap_or_default();
            println!("{name:>12} {:>8.1} s  {tally}  {remark}", took.as_secs_f64());
            total += *tally;
        }
        println!("\n{}", total.closing_line(self.clock.uptime()));
        println!("{} passed, {} failed", total.passed, total.failed);
        total.failed == 0
    }
}
