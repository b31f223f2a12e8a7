//! Every link in the documents leads to a file that is there, and to a heading in it; every file that they name is there.

use std::path::{Component, Path, PathBuf};

use super::{Finding, has_extension};
use crate::repository::Repository;

/// What a reader of the repository looks for first.
const EXPECTED: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "PROTOCOL.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs/glossary.md",
    "docs/requirements.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/security.md",
];

/// A path in backticks that begins with one of these is meant from the root.
const FOLDERS: [&str; 4] = ["crates/", "xtask/", "fuzz/", "docs/"];

pub fn check(repository: &Repository, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = EXPECTED
        .iter()
        .filter(|name| !files.iter().any(|file| file == Path::new(name)))
        .map(|name| Finding::new(name, 0, "is missing"))
        .collect();
    for file in files.iter().filter(|file| has_extension(file, "md")) {
        for (line, path) in named_files(&repository.text(file)?) {
            if !repository.root.join(&path).exists() {
                findings.push(Finding::new(file, line, format!("there is no {path}")));
            }
        }
        for (line, target) in links(&repository.text(file)?) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').map_or((&*target, None), |(path, anchor)| (path, Some(anchor)));
            let there = if path.is_empty() { file.clone() } else { resolve(file, path) };
            if !repository.root.join(&there).exists() {
                findings.push(Finding::new(file, line, format!("leads nowhere: {target}")));
            } else if let Some(anchor) = anchor
                && has_extension(&there, "md")
                && !headings(&repository.text(&there)?).iter().any(|heading| heading == anchor)
            {
                findings.push(Finding::new(file, line, format!("no heading #{anchor} in {}", there.display())));
            }
        }
    }
    let changelog = repository.text("CHANGELOG.md").unwrap_or_default();
    if !changelog.lines().any(|line| line.trim() == "## [Unreleased]") {
        findings.push(Finding::new("CHANGELOG.md", 0, "has no section `## [Unreleased]`"));
    }
    Ok(findings)
}

/// The targets of all links, with their lines; code is left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let mut rest = &*prose;
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            let Some(end) = rest.find(')') else { break };
            links.push((at + 1, rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    links
}

/// What stands in backticks and begins with one of the repository's folders, with its lines.
fn named_files(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for code in line.split('`').skip(1).step_by(2) {
            // A test is named behind its file: `crates/a/tests/b.rs::c`.
            let path = code.split("::").next().unwrap_or(code);
            if FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains(char::is_whitespace) {
                named.push((at + 1, path.to_owned()));
            }
        }
    }
    named
}

fn resolve(from: &Path, link: &str) -> PathBuf {
    let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The names under which a document's headings can be linked to, as code hosts make them.
fn headings(text: &str) -> Vec<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    titles.map(|title| title.chars().filter(|c| kept(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "[a](x.md) and [b](../y.md#z)\n```\n[c](no)\n```\n`[d](no)` [e](#here)";
        assert_eq!(links(text), [(1, "x.md".to_owned()), (1, "../y.md#z".to_owned()), (5, "#here".to_owned())]);
    }

    #[test]
    fn files_are_named_in_code() {
        let text = "`crates/a/b.rs::c` and `cargo xtask docs`, crates/x\n`docs/y.md`";
        assert_eq!(named_files(text), [(1, "crates/a/b.rs".to_owned()), (2, "docs/y.md".to_owned())]);
    }

    #[test]
    fn paths_and_headings_are_resolved() {
        assert_eq!(resolve(Path::new("docs/a.md"), "../README.md"), Path::new("README.md"));
        assert_eq!(headings("# What's `new` here?\n## Close codes\n"), ["whats-new-here", "close-codes"]);
    }
}
