//! `towline webhook …`: dead letters of a running server, listed and delivered once more.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::remote::Remote;

/// Letters of one page, and of one request to redrive.
const PAGE: usize = 1_000;

/// See and repeat what the webhook could not deliver.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  TOWLINE_KEY=… towline webhook list
  TOWLINE_KEY=… towline webhook redrive --id 0190ab12-3456-7890-abcd-ef0123456789
  TOWLINE_KEY=… towline webhook redrive --all
  TOWLINE_KEY=… towline webhook resume")]
pub enum Command {
    /// Print open dead letters, one line of JSON each, oldest first.
    List(List),
    /// Deliver dead letters once more, with the same webhook-id.
    Redrive(Redrive),
    /// Go on after the target answered 410.
    Resume(Remote),
}

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Print at most this many.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// Options of `redrive`.
#[derive(Debug, clap::Args)]
pub struct Redrive {
    /// All that are open.
    #[arg(long, conflicts_with = "id", required_unless_present = "id")]
    all: bool,
    /// The letter of this message, by its webhook-id; may be repeated.
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached, or refuses.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list(args).await,
        Command::Redrive(args) => redrive(args).await,
        Command::Resume(remote) => {
            remote.post("/api/v1/webhook/resume", json!({})).await?;
            super::print("the webhook delivers\n").map(drop)
        }
    }
}

async fn list(args: List) -> anyhow::Result<()> {
    let (mut left, mut cursor) = (args.limit, String::new());
    while left > 0 {
        let page = args.remote.get(&format!("/api/v1/webhook/dead-letters?limit={}&cursor={cursor}", left.min(PAGE))).await?;
        let letters = page["dead_letters"].as_array().context("the server's answer is not a list of dead letters")?;
        let text: String = letters.iter().map(|letter| format!("{letter}\n")).collect();
        super::print(&text)?;
        left -= letters.len().min(left);
        let next = page["cursor"].as_str().unwrap_or_default();
        if page["has_more"] != true || next == cursor {
            break;
        }
        next.clone_into(&mut cursor);
    }
    Ok(())
}

async fn redrive(args: Redrive) -> anyhow::Result<()> {
    let count = |answer: &Value, list: &str| answer[list].as_array().map_or(0, Vec::len);
    let mut redriven = 0;
    let mut skipped = Vec::new();
    let mut ids = args.id.chunks(PAGE);
    loop {
        let request = match ids.next() {
            Some(ids) => json!({ "ids": ids }),
            None if args.all => json!({ "all": true }),
            None => break,
        };
        let answer = args.remote.post("/api/v1/webhook/redrive", request).await?;
        let chosen = count(&answer, "redriven");
        redriven += chosen;
        skipped.extend(answer["skipped"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        if args.all {
            let remaining = answer["remaining"].as_u64().unwrap_or(0);
            ensure!(
                chosen > 0 || remaining == 0,
                "{redriven} are delivered once more; {remaining} find no place now, because too many messages wait: repeat this later"
            );
            if remaining == 0 {
                break;
            }
        }
    }
    super::print(&format!("{redriven} delivered once more\n"))?;
    if !skipped.is_empty() {
        bail!("no open letter that is not being delivered once more already: {}", skipped.join(", "));
    }
    Ok(())
}
