//! `cargo xtask abuse`: builds the server and the campaign with the release profile, then hands over to the campaign.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::repository::Repository;

const HELP: &str = "\
cargo xtask abuse [arguments of towline-abuse]

Builds `towline` and `towline-abuse` for release and runs the latter: all attacks at once against the real server beside honest clients,
who must see no error, no loss and no delay, and after which the server's memory must be back at its level. Exits with 1 if something
does not hold.

What towline-abuse says of its arguments:
";

/// `cargo xtask abuse`.
pub fn run(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if matches!(arguments, [flag] if flag == "--help" || flag == "-h") {
        println!("{HELP}");
    }
    let build = ["build", "--release", "--package", "towline", "--package", "towline-abuse", "--bins"];
    ensure!(repository.cargo().args(build).status()?.success(), "the build failed");
    let campaign = repository.built("release", "towline-abuse");
    let status = Command::new(&campaign).args(arguments).current_dir(&repository.root).status();
    let status = status.with_context(|| format!("{} cannot be started", campaign.display()))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
