//! Who may append to the log. What a stopped run may still publish is decided where events are admitted; an append from anywhere else
//! would pass by the stop.

use std::path::PathBuf;

use super::{Finding, has_extension};
use crate::repository::Repository;

/// Where the gateway appends, and what is appended there.
const APPENDERS: [(&str, &str); 4] = [
    ("crates/gateway/src/runs/", "publishers' events, once their run admits them, and what the gateway says of runs"),
    ("crates/gateway/src/http/admin/audit.rs", "what operators did"),
    ("crates/gateway/src/revocations.rs", "which credentials were revoked"),
    ("crates/gateway/src/webhook/", "how far applications were told, and what they did not take"),
];
/// How an append looks.
const APPEND: &str = "log.append(";

pub fn check(repository: &Repository, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.starts_with("crates/gateway/src") && has_extension(file, "rs")) {
        let is_test = file.iter().any(|part| part == "tests" || part == "tests.rs");
        if is_test || APPENDERS.iter().any(|(place, _)| file.to_string_lossy().starts_with(place)) {
            continue;
        }
        for (at, line) in repository.text(file)?.lines().enumerate() {
            if line.contains(APPEND) && !line.trim_start().starts_with("//") {
                let places: Vec<&str> = APPENDERS.iter().map(|(place, _)| *place).collect();
                let text = format!("only {} may append to the log: publish through `Runs::append`", places.join(", "));
                findings.push(Finding::new(file, at + 1, text));
            }
        }
    }
    Ok(findings)
}
