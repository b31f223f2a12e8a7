//! `towline brake`: the emergency brake of a user or an organisation.

use serde_json::json;

use super::remote::Remote;
use super::runs::{print, segment};

/// Engage, release and look at emergency brakes.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Stop all runs of a user, and let none begin, until the brake is released.
    #[command(after_help = "Examples:
  towline brake on 42 --reason 'it deletes mail'
  towline brake on acme --org")]
    On(OnArgs),
    /// Release the brake: runs that acknowledged go on.
    Off(Whose),
    /// Show where the brake stands, and which runs do not answer.
    Status(Whose),
}

/// Whose brake.
#[derive(Debug, clap::Args)]
pub struct Whose {
    /// The user, or with --org the organisation.
    id: String,
    /// The id is an organisation's.
    #[arg(long)]
    org: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Whose brake, and why.
#[derive(Debug, clap::Args)]
pub struct OnArgs {
    /// Why: shown to whoever watches, and to the agents.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    whose: Whose,
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let answer = match command {
        Command::On(args) => args.whose.remote.post(&args.whose.at("brake")?, json!({ "reason": args.reason })).await?,
        Command::Off(whose) => whose.remote.post(&whose.at("resume")?, json!({})).await?,
        Command::Status(whose) => whose.remote.get(&whose.at("brake/status")?).await?,
    };
    print(&answer);
    Ok(())
}

impl Whose {
    fn at(&self, what: &str) -> anyhow::Result<String> {
        let kind = if self.org { "organizations" } else { "users" };
        Ok(format!("/api/v1/{kind}/{}/{what}", segment(&self.id)?))
    }
}
