//! How a source file may look: not too long, with a reason beside each exception, named for what it owns.

use std::path::{Path, PathBuf};

use super::{Finding, has_extension};
use crate::repository::Repository;

/// Lines of code, inline tests not counted: at this size look for the second noun.
const LINES_MAX: usize = 400;
/// Lines of a file of tests, or of one with its inline tests.
const TEST_LINES_MAX: usize = 600;
/// Names that own nothing.
const NAMES: [&str; 9] = ["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "base"];

pub fn check(repository: &Repository, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| has_extension(file, "rs")) {
        let text = repository.text(file)?;
        names(file, &mut findings);
        sizes(file, &text, &mut findings);
        reasons(file, &text, &mut findings);
    }
    Ok(findings)
}

fn names(file: &Path, findings: &mut Vec<Finding>) {
    for part in file {
        let part = Path::new(part).file_stem().unwrap_or(part).to_string_lossy();
        if NAMES.contains(&&*part) {
            findings.push(Finding::new(file, 0, format!("`{part}` says nothing: name it for the noun it owns")));
        }
    }
}

fn sizes(file: &Path, text: &str, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = text.lines().collect();
    let tests_begin = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    let is_test =
        file.iter().any(|part| part == "tests") || file.file_stem().is_some_and(|stem| stem.to_string_lossy().contains("tests"));
    let code = if is_test { 0 } else { tests_begin.unwrap_or(lines.len()) };
    if code > LINES_MAX {
        findings.push(Finding::new(file, 0, format!("{code} lines; at most {LINES_MAX}: look for the second noun")));
    } else if lines.len() > TEST_LINES_MAX {
        findings.push(Finding::new(file, 0, format!("{} lines with tests; at most {TEST_LINES_MAX}", lines.len())));
    }
}

fn reasons(file: &Path, text: &str, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|start| code.starts_with(start)) {
            // rustfmt breaks a long one over several lines; the attribute ends with `]`.
            let rest = lines[at..].iter().take(8);
            let mut attribute = String::new();
            for part in rest {
                attribute.push_str(part);
                if part.trim_end().ends_with(']') {
                    break;
                }
            }
            if !attribute.contains("reason =") {
                findings.push(Finding::new(file, at + 1, "an exception needs its `reason = \"…\"`"));
            }
        }
        let opens_unsafe =
            ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|start| code.contains(start)) && !code.contains('"');
        if opens_unsafe && !lines[at.saturating_sub(4)..at].iter().any(|before| before.contains("SAFETY:")) {
            findings.push(Finding::new(file, at + 1, "`unsafe` needs a `// SAFETY:` comment right above"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn found(file: &str, text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        names(Path::new(file), &mut findings);
        sizes(Path::new(file), text, &mut findings);
        reasons(Path::new(file), text, &mut findings);
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn exceptions_need_their_reasons() {
        assert_eq!(found("a.rs", "#[allow(dead_code)]\nfn f() {}\n"), [1]);
        assert_eq!(found("a.rs", "#[allow(\n    dead_code,\n    reason = \"x\"\n)]\nfn f() {}\n"), NONE);
        assert_eq!(found("a.rs", "let x = unsafe { f() };\n"), [1]);
        assert_eq!(found("a.rs", "// SAFETY: f is fine\nlet x = unsafe { f() };\n"), NONE);
    }

    #[test]
    fn sizes_do_not_count_inline_tests_twice() {
        let code = "x\n".repeat(LINES_MAX);
        assert_eq!(found("a.rs", &format!("{code}#[cfg(test)]\nmod tests {{\n}}\n")), NONE);
        assert_eq!(found("a.rs", &format!("{code}x\n")), [0]);
        assert_eq!(found("crates/a/tests/a.rs", &format!("{code}x\n")), NONE);
        assert_eq!(found("crates/a/tests/a.rs", &"x\n".repeat(TEST_LINES_MAX + 1)), [0]);
    }

    #[test]
    fn names_must_own_something() {
        assert_eq!(found("crates/a/src/utils.rs", ""), [0]);
        assert_eq!(found("crates/a/src/common/mod.rs", ""), [0]);
        assert_eq!(found("crates/a/src/commonality.rs", ""), NONE);
    }
}
