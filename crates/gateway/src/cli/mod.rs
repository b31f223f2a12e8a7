//! The command line. Each command is a module; here are only their names and what they share.

mod admin;
mod brake;
mod completions;
mod config;
mod dev;
mod doctor;
mod publish;
mod remote;
mod runs;
mod serve;
mod settings;
mod subscribe;
mod token;
mod webhook;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use towline::api;

use settings::{ConfigError, ConfigFlags};

/// A configuration that cannot be used (`EX_CONFIG` of sysexits.h), so that a supervisor knows that a restart will not help.
const EXIT_CONFIG: u8 = 78;

/// A real-time gateway for applications with AI agents: what an agent does is appended to a durable log and reaches browsers and
/// services live, in order, once, however often their network fails.
#[derive(Debug, Parser)]
#[command(
    name = "towline",
    version,
    max_term_width = 120,
    after_help = "Try it:
  towline dev                                              a server on this machine, without authentication
  towline sub user:42 --user 42                            watch a user's events in a second terminal
  towline pub user:42 agent.started                        publish one in a third; open http://127.0.0.1:8080 too

For real:
  export TOWLINE_SERVICE_KEYS=$(openssl rand -hex 32)      who may publish
  export CLERK_DOMAIN=clerk.example.com                    who issues the users' tokens (or TOWLINE_JWT_SECRET)
  towline config check && towline doctor && towline serve

`towline <command> --help` has examples for each command; `towline config print` shows every setting."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(ConfigFlags),
    /// Run a server for development on this machine, without authentication.
    Dev(dev::Args),
    /// Publish events.
    Pub(publish::Args),
    /// Follow topics and print their events.
    Sub(subscribe::Args),
    /// Make or look into tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// What operators see and do: connections, topics, disconnecting, draining.
    #[command(subcommand)]
    Admin(admin::Command),
    /// See which agents run, and stop them.
    #[command(subcommand)]
    Runs(runs::Command),
    /// Engage and release emergency brakes.
    #[command(subcommand)]
    Brake(brake::Command),
    /// Check or print the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Look for what would keep a server from running well here: limits, disk, clock, port, configuration.
    Doctor(ConfigFlags),
    /// See and repeat what the webhook could not deliver.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Print a completion script for a shell.
    Completions(completions::Args),
    /// Print the OpenAPI document of the HTTP interface.
    Openapi,
    /// Print the AsyncAPI document of sockets and streams.
    Asyncapi,
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve(flags) => serve::run(flags),
            Command::Dev(args) => dev::run(args),
            Command::Pub(args) => in_runtime(publish::run(args)),
            Command::Sub(args) => in_runtime(subscribe::run(args)),
            Command::Admin(command) => in_runtime(admin::run(command)),
            Command::Runs(command) => in_runtime(runs::run(command)),
            Command::Brake(command) => in_runtime(brake::run(command)),
            Command::Token(command) => token::run(command),
            Command::Config(command) => config::run(command),
            Command::Doctor(flags) => doctor::run(flags),
            Command::Webhook(command) => in_runtime(webhook::run(command)),
            Command::Completions(args) => completions::run(&args),
            Command::Openapi => print(&api::to_text(&api::openapi())),
            Command::Asyncapi => print(&api::to_text(&api::asyncapi())),
        };
        match done {
            Ok(code) => code,
            Err(error) => {
                eprintln!("towline: {error:#}");
                ExitCode::from(if error.is::<ConfigError>() { EXIT_CONFIG } else { 1 })
            }
        }
    }
}

/// Runs a client command.
fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // A thread that waits for standard input must not keep the process.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

/// Prints a text; a reader that has gone is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_teaches() {
        Cli::command().debug_assert();
        let mut command = Cli::command();
        let help = command.render_long_help().to_string();
        for word in ["towline dev", "TOWLINE_SERVICE_KEYS", "doctor", "completions"] {
            assert!(help.contains(word), "{word} is missing in\n{help}");
        }
    }
}
