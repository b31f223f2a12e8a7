//! `cargo xtask tidy`: rules that no compiler knows, each in a file of its own. Every finding says where, what, and what to do.

mod appends;
mod figures;
mod layers;
mod links;
pub mod requirements;
mod sources;
mod traces;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::repository::Repository;
use crate::stage::Outcome;
use crate::tally::Tally;

const HELP: &str = "\
cargo xtask tidy

Rules that no compiler knows:

  layers         who may depend on whom; no dependency that no source names
  appends        who may append to the log: a stopped run must not be passed by
  sources        sizes of files, reasons beside each #[allow], SAFETY beside each unsafe, no utils, helpers, common, manager
  traces         no paths of a machine and no package registries in what is checked in (lock files apart)
  links          every link in the documents leads somewhere; CHANGELOG.md has an Unreleased section
  requirements   docs/requirements.md names the tests that prove each requirement, and they exist
  figures        every metric is counted somewhere

These need no build. What does is a test: the tables and examples of PROTOCOL.md (xtask/tests), docs/api and docs/configuration.md
(crates/gateway).
";

/// Something that breaks a rule.
pub struct Finding {
    file: PathBuf,
    /// From 1; 0 for the file as a whole.
    line: usize,
    text: String,
}

impl Finding {
    fn new(file: impl AsRef<Path>, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.as_ref().to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        if self.line == 0 { write!(f, "{file}: {}", self.text) } else { write!(f, "{file}:{}: {}", self.line, self.text) }
    }
}

type Rule = fn(&Repository, &[PathBuf]) -> anyhow::Result<Vec<Finding>>;

const RULES: [(&str, Rule); 7] = [
    ("layers", layers::check),
    ("appends", appends::check),
    ("sources", sources::check),
    ("traces", traces::check),
    ("links", links::check),
    ("requirements", requirements::check),
    ("figures", figures::check),
];

/// `cargo xtask tidy`.
pub fn run(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if !arguments.is_empty() {
        print!("{HELP}");
        return Ok(ExitCode::from(if arguments[0].contains("-h") { 0 } else { 2 }));
    }
    let Outcome::Ran(tally) = stage(repository)? else { return Ok(ExitCode::FAILURE) };
    Ok(ExitCode::from(u8::from(tally.failed > 0)))
}

/// Checks all rules; each counts as one test.
pub fn stage(repository: &Repository) -> anyhow::Result<Outcome> {
    let files = repository.files()?;
    let mut tally = Tally::default();
    for (name, rule) in RULES {
        let findings = rule(repository, &files)?;
        if findings.is_empty() {
            println!("tidy {name}: ok");
            tally.passed += 1;
        } else {
            println!("tidy {name}: {} findings", findings.len());
            findings.iter().for_each(|finding| println!("  {finding}"));
            tally.failed += 1;
        }
    }
    Ok(Outcome::Ran(tally))
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}
