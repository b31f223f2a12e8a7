//! A metric that nobody counts says zero for ever, which is worse than none.

use std::path::PathBuf;

use super::{Finding, has_extension};
use crate::repository::Repository;

const METRICS: &str = "crates/gateway/src/metrics";
const KINDS: [&str; 3] = ["Counter", "Gauge", "Histogram"];

pub fn check(repository: &Repository, files: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let mut users = String::new();
    for file in files.iter().filter(|file| file.starts_with("crates/gateway/src") && has_extension(file, "rs")) {
        if !file.starts_with(METRICS) {
            users.push_str(&repository.text(file)?);
        }
    }
    let definition = format!("{METRICS}/mod.rs");
    let text = repository.text(&definition)?;
    let fields = text.lines().enumerate().filter_map(|(at, line)| Some((at, field(line)?)));
    let idle = fields.filter(|(_, name)| !users.contains(&format!(".{name}")));
    Ok(idle.map(|(at, name)| Finding::new(&definition, at + 1, format!("nobody counts `{name}`"))).collect())
}

/// The name in a line such as `pub stalled: Counter,`.
fn field(line: &str) -> Option<&str> {
    let (name, kind) = line.trim().strip_prefix("pub ")?.split_once(": ")?;
    KINDS.contains(&kind.trim_end_matches(',')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_from_other_lines() {
        assert_eq!(field("    pub stalled: Counter,"), Some("stalled"));
        assert_eq!(field("    connections: Family<Door, Gauge>,"), None);
        assert_eq!(field("    pub fn new() -> Self {"), None);
    }
}
