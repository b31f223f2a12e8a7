//! `towline runs`: which agents are at work, and stopping one.

use serde_json::{Value, json};

use super::remote::Remote;

/// See runs and stop them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List runs, the newest first; one line of JSON per run.
    #[command(after_help = "Examples:
  towline runs list --state running
  towline runs list --user-id 42 | jq -r .run_id")]
    List(ListArgs),
    /// Stop a run for good, or all runs of a thread. From then on the server takes nothing of it but its acknowledgement and its end.
    #[command(after_help = "Examples:
  towline runs stop run-7 --reason 'it repeats itself'
  towline runs stop --thread 9")]
    Stop(StopArgs),
}

/// What to list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only this user's.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Only this thread's.
    #[arg(long, value_name = "ID")]
    thread_id: Option<String>,
    /// Only those in this state: running, resuming, stopped, ended or lost.
    #[arg(long)]
    state: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// What to stop.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// The run.
    #[arg(required_unless_present = "thread", conflicts_with = "thread")]
    run_id: Option<String>,
    /// All runs of this thread instead.
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// Why: shown to whoever watches, and to the agent.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => {
            let mut query = vec![("limit", args.limit.clamp(1, 200).to_string())];
            query.extend(args.user_id.map(|id| ("user_id", id)));
            query.extend(args.thread_id.map(|id| ("thread_id", id)));
            query.extend(args.state.map(|state| ("state", state)));
            let mut url = reqwest::Url::parse("http://server/api/v1/runs")?;
            url.query_pairs_mut().extend_pairs(query);
            let page = args.remote.get(&format!("{}?{}", url.path(), url.query().unwrap_or_default())).await?;
            page["runs"].as_array().into_iter().flatten().for_each(print);
        }
        Command::Stop(args) => {
            let target = match (&args.run_id, &args.thread) {
                (Some(run), _) => format!("/api/v1/runs/{}/stop", segment(run)?),
                (None, thread) => format!("/api/v1/threads/{}/stop", segment(thread.as_deref().unwrap_or_default())?),
            };
            print(&args.remote.post(&target, json!({ "reason": args.reason })).await?);
        }
    }
    Ok(())
}

/// One part of a path, with what would end it escaped.
pub(super) fn segment(id: &str) -> anyhow::Result<String> {
    let mut url = reqwest::Url::parse("http://server/")?;
    url.path_segments_mut().map_err(|()| anyhow::anyhow!("no path"))?.clear().push(id);
    Ok(url.path().trim_start_matches('/').to_owned())
}

pub(super) fn print(value: &Value) {
    println!("{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_part_of_the_path() {
        assert_eq!(segment("run-7").unwrap(), "run-7");
        assert_eq!(segment("a/b?c").unwrap(), "a%2Fb%3Fc");
    }
}
