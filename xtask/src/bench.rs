//! `cargo xtask bench`: builds what is measured with the release profile, then hands over to the loader.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::repository::Repository;

const HELP: &str = "\
cargo xtask bench [arguments of towline-bench]

Builds `towline` and `towline-bench` for release and runs the latter. It measures the server and those peers that are installed,
prints the figures and, with --write, writes docs/performance.md. Not a test: figures depend on the machine.

What towline-bench says of its arguments:
";

/// `cargo xtask bench`.
pub fn run(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if matches!(arguments, [flag] if flag == "--help" || flag == "-h") {
        println!("{HELP}");
    }
    let status = repository
        .cargo()
        .args(["build", "--release", "--package", "towline", "--package", "towline-bench", "--bins"])
        .status()?;
    ensure!(status.success(), "the build failed");
    let bench = repository.built("release", "towline-bench");
    let status = Command::new(&bench).args(arguments).current_dir(&repository.root).status();
    let status = status.with_context(|| format!("{} cannot be started", bench.display()))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
