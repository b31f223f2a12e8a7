//! `towline config`: is it good, and what is in force.

use std::process::ExitCode;

use clap::Subcommand;
use towline::Config;
use towline::config::{print, reference};
use towline_clock::Clock;

use super::settings::ConfigFlags;

/// Check or print the configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say everything that is wrong with the configuration, and where each value came from. Ends with 78 if something is.
    #[command(after_help = "Examples:
  towline config check
  towline config check --config /etc/towline.toml
  TOWLINE_SOCKETS_IDLE_TIMEOUT=90s towline config check")]
    Check(ConfigFlags),
    /// Print every setting with its value, where the value came from, and what it does. Secrets are left out. The output is a valid file.
    #[command(after_help = "Examples:
  towline config print
  towline config print | grep -v '# default'      what differs from the defaults
  towline config print > towline.toml             a file to start from")]
    Print(ConfigFlags),
    /// Print the reference of all settings as Markdown.
    Reference,
}

/// Runs the command.
///
/// # Errors
/// The configuration is not good.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(flags) => {
            let loaded = flags.load(Config::default())?;
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            // The one part of it that lies in files of its own.
            match towline::tls::check(&loaded.config.tls, &Clock::system()) {
                Ok(_) => super::print("the configuration is good\n"),
                Err(problem) => {
                    eprintln!("error: {problem}");
                    Ok(ExitCode::from(super::EXIT_CONFIG))
                }
            }
        }
        Command::Reference => super::print(&reference()),
        Command::Print(flags) => super::print(&print(&flags.load(Config::default())?)),
    }
}
