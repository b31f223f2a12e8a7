//! docs/requirements.md against the tests: which test proves what, and whether what is called done is proven.
//!
//! A test says what it proves in a comment right before it. The table's column of tests is generated from these comments, so it
//! cannot name a test that is not there; the status is written by hand and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Finding, has_extension};
use crate::repository::Repository;

const TABLE: &str = "docs/requirements.md";
/// Where figures stand: a promise about speed is measured and not tested.
const MEASUREMENTS: &str = "docs/performance.md";
/// What a comment says before the ids.
const MARK: &str = "proves:";
/// Columns of the table: id, requirement, status, tests.
const COLUMNS: usize = 4;

/// Which tests prove an id, as `file::name`.
type Proofs = BTreeMap<String, Vec<String>>;

pub fn check(repository: &Repository, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let proofs = proofs(repository, files, &mut findings)?;
    let text = repository.text(TABLE)?;
    let mut known = Vec::new();
    for (at, cells) in rows(&text) {
        let mut fault = |text: String| findings.push(Finding::new(TABLE, at + 1, text));
        let [id, _, status, tests] = &cells[..] else {
            fault(format!("expected {COLUMNS} columns"));
            continue;
        };
        let proven = proofs.get(id).map_or(&[][..], Vec::as_slice);
        let (word, remark) = status.split_once(' ').unwrap_or((status, ""));
        let told = remark.starts_with('(') && remark.ends_with(')');
        match (word, proven.is_empty()) {
            ("done" | "partly", true) => fault(format!("{id} is `{word}`, but no test says that it proves it")),
            ("later", false) => fault(format!("{id} is `later`, but there are tests that prove a part of it: call it `partly`")),
            ("later" | "partly", _) if !told => fault(format!("say in parentheses what of {id} comes when: `later (#3)`")),
            ("measured", _) if !repository.root.join(MEASUREMENTS).exists() => {
                fault(format!("{id} is `measured`, but there is no {MEASUREMENTS}"));
            }
            ("done" | "partly" | "later" | "measured", _) => {}
            _ => fault(format!("the status of {id} must be `done`, `partly (…)`, `later (…)` or `measured`, not `{status}`")),
        }
        if *tests != cell_of(proven) {
            fault(format!("the tests of {id} are not up to date: run `cargo xtask docs`"));
        }
        known.push(id.clone());
    }
    for (id, tests) in proofs.iter().filter(|(id, _)| !known.contains(id)) {
        findings.push(Finding::new(TABLE, 0, format!("{id} is proven by {} and has no row", tests.join(", "))));
    }
    Ok(findings)
}

/// Writes the column of tests again.
pub fn rewrite(repository: &Repository) -> anyhow::Result<()> {
    let proofs = proofs(repository, &repository.files()?, &mut Vec::new())?;
    let text = repository.text(TABLE)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (at, cells) in rows(&text) {
        if let [id, what, status, _] = &cells[..] {
            let proven = proofs.get(id).map_or(&[][..], Vec::as_slice);
            lines[at] = format!("| {id} | {what} | {status} | {} |", cell_of(proven));
        }
    }
    std::fs::write(repository.root.join(TABLE), lines.join("\n") + "\n").context(TABLE)
}

/// The rows whose first cell is an id, with their lines from 0.
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = text.lines().enumerate().filter(|(_, line)| line.starts_with('|')).map(|(at, line)| (at, cells(line)));
    rows.filter(|(_, cells)| cells.first().is_some_and(|id| is_id(id))).collect()
}

fn cell_of(tests: &[String]) -> String {
    tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>")
}

fn proofs(repository: &Repository, files: &[PathBuf], findings: &mut Vec<Finding>) -> anyhow::Result<Proofs> {
    let mut proofs = Proofs::new();
    for file in files {
        // This folder speaks about the comments and holds none.
        if !["rs", "mjs", "js", "ts"].iter().any(|extension| has_extension(file, extension)) || file.starts_with("xtask/src/tidy")
        {
            continue;
        }
        for (line, ids, test) in proofs_in(file, &repository.text(file)?) {
            let Some(test) = test else {
                findings.push(Finding::new(file, line, "no test follows this comment"));
                continue;
            };
            let name = format!("{}::{test}", file.display());
            for id in ids {
                let tests = proofs.entry(id).or_default();
                if !tests.contains(&name) {
                    tests.push(name.clone());
                }
            }
        }
    }
    Ok(proofs)
}

/// Each comment that names ids: its line from 1, the ids, the test that follows.
fn proofs_in(file: &Path, text: &str) -> Vec<(usize, Vec<String>, Option<String>)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((_, named)) = line.trim_start().strip_prefix("//").and_then(|comment| comment.split_once(MARK)) else {
            continue;
        };
        let words = named.split(|c: char| !c.is_ascii_alphanumeric());
        let ids: Vec<String> = words.filter(|word| is_id(word)).map(str::to_owned).collect();
        if ids.is_empty() {
            continue;
        }
        let test = if has_extension(file, "rs") {
            lines[at..].iter().find_map(|line| function_name(line))
        } else {
            // A script is one test.
            Some("page".to_owned())
        };
        found.push((at + 1, ids, test));
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let rest = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?;
    Some(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?.to_owned())
}

fn is_id(word: &str) -> bool {
    let digits = word.strip_prefix(['A', 'B', 'C', 'D']).unwrap_or_default();
    (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_name_the_test_that_follows() {
        let text =
            "// proves: A4 (the cursor), B5\n#[tokio::test]\nasync fn pages_have_no_holes() {}\n// proves: RFC 6455\nfn x() {}\n";
        let found = proofs_in(Path::new("a.rs"), text);
        assert_eq!(found, [(1, vec!["A4".to_owned(), "B5".to_owned()], Some("pages_have_no_holes".to_owned()))]);
        assert_eq!(proofs_in(Path::new("a.rs"), "// proves: A4\n")[0].2, None);
    }

    #[test]
    fn rows_are_told_from_other_lines() {
        let text = "| id | what |\n|---|---|\n| A1 | x | done | `t` |\ntext | A2 |\n";
        let expected: Vec<String> = ["A1", "x", "done", "`t`"].map(str::to_owned).to_vec();
        assert_eq!(rows(text), [(2, expected)]);
    }
}
