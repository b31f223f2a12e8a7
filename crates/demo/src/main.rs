//! `towline-demo-agent`: an agent that does real work on real input. It answers questions by searching a folder's documents and
//! publishes each step as it happens, through the public API only. It uses no language model: its answers are sentences that it found.

mod agent;
mod answer;
mod documents;
mod pace;
mod progress;
mod question;
mod ranking;
mod research;
mod run;
mod terms;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use towline_client::Client;
use towline_clock::Clock;

use crate::agent::Agent;
use crate::progress::Progress;

/// Answers questions from the documents of a folder, and publishes each step of the work.
///
/// A question is an event of type question.asked on the topic agent:demo, with data {"question", "user_id"}. The answer goes to
/// user:{user_id}, step by step.
#[derive(Debug, Parser)]
#[command(
    name = "towline-demo-agent",
    version,
    after_help = "Examples:
  towline-demo-agent
  towline-demo-agent --url http://127.0.0.1:9000 --docs ~/notes --pace 0
  towline pub agent:demo question.asked '{\"question\": \"What is an epoch?\", \"user_id\": \"demo\"}'"
)]
struct Args {
    /// The server's address [env: TOWLINE_URL] [default: http://127.0.0.1:8080].
    #[arg(long)]
    url: Option<String>,
    /// A service key. Better given as TOWLINE_KEY: arguments are visible to other users of the machine. A server in development mode
    /// needs none.
    #[arg(long)]
    key: Option<String>,
    /// Files and folders to search; may be given more than once.
    #[arg(long, value_name = "PATH", default_values_os_t = ["README.md", "ARCHITECTURE.md", "PROTOCOL.md", "docs"].map(PathBuf::from))]
    docs: Vec<PathBuf>,
    /// The pause between two steps, so that a person can follow.
    #[arg(long, default_value = "300ms", value_parser = pace::parse)]
    pace: Duration,
    /// Where to remember which questions are answered.
    #[arg(long, value_name = "FOLDER", default_value = ".towline/demo-agent")]
    state: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = args.url.or_else(|| variable("TOWLINE_URL")).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let key = args.key.or_else(|| variable("TOWLINE_KEY"));
    let client = Client::builder(url).token(key).user("demo-agent").build()?;
    let progress = Progress::open(&args.state)?;
    let agent = Agent { client, docs: args.docs, pace: args.pace };
    tokio::select! {
        ended = agent.run(progress, Clock::system().unix_ms()) => ended,
        // Open questions are taken up again by the next start.
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        terminated = terminated() => terminated,
    }
}

/// Resolves when the process is asked to end by a signal; where there is no such signal, never.
async fn terminated() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).context("cannot take SIGTERM")?.recv().await;
        Ok(())
    }
    #[cfg(not(unix))]
    std::future::pending().await
}
