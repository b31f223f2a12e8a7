//! `towline admin`: what the admin interface shows and does, at a terminal.

mod server;
mod table;

use std::io::Write as _;

use anyhow::ensure;
use clap::Subcommand;
use serde_json::{Value, json};

use server::Server;
use table::{Column, bytes, plain, seconds, table, time};

/// Commands for operators.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  export TOWLINE_ADMIN_KEY=…                               one of the server's admin.keys_full or admin.keys_read
  towline admin connections --slowest
  towline admin topics --prefix run:
  towline admin tail --user 42 --type 'agent.*'
  towline admin disconnect --user 42 --reason 'please sign in again'
  towline admin drain")]
pub enum Command {
    /// Who is connected, how far behind, and who left.
    Connections(Connections),
    /// What is watched, or what the log holds of one topic.
    Topics(Topics),
    /// Topics live, one line of JSON per event, until Ctrl-C.
    Tail(Tail),
    /// End a connection, or all of a user, with close code 4412.
    Disconnect(Disconnect),
    /// Send everybody away and end the server in order.
    Drain(Plain),
    /// What operators did, newest first.
    Audit(Plain),
}

/// Which connections.
#[derive(Debug, clap::Args)]
pub struct Connections {
    /// One connection, with its subscriptions.
    id: Option<String>,
    /// Of this user.
    #[arg(long)]
    user: Option<String>,
    /// Through this door: native, feed, sse …
    #[arg(long)]
    door: Option<String>,
    /// Following this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Doing this: live, lagging, catching_up, blocked, closing.
    #[arg(long)]
    state: Option<String>,
    /// Those that are furthest behind.
    #[arg(long, conflicts_with = "closed")]
    slowest: bool,
    /// Those that ended lately, and why.
    #[arg(long)]
    closed: bool,
    #[command(flatten)]
    plain: Plain,
}

/// Which topics.
#[derive(Debug, clap::Args)]
pub struct Topics {
    /// One topic, watched or not.
    topic: Option<String>,
    /// Names that begin with this.
    #[arg(long)]
    prefix: Option<String>,
    #[command(flatten)]
    plain: Plain,
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Tail {
    /// The topics.
    topics: Vec<String>,
    /// The topic of this user too.
    #[arg(long)]
    user: Option<String>,
    /// Events of this type, or of all types with a prefix: 'agent.*'.
    #[arg(long = "type")]
    kind: Option<String>,
    /// Begin with what is retained.
    #[arg(long)]
    from_earliest: bool,
    #[command(flatten)]
    server: Server,
}

/// Whom to disconnect.
#[derive(Debug, clap::Args)]
pub struct Disconnect {
    /// A connection's id.
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    id: Option<String>,
    /// All connections of this user.
    #[arg(long)]
    user: Option<String>,
    /// What the client is told.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// What every list takes.
#[derive(Debug, clap::Args)]
pub struct Plain {
    /// The server's answer as JSON.
    #[arg(long)]
    json: bool,
    /// How many rows at most.
    #[arg(long)]
    limit: Option<u32>,
    #[command(flatten)]
    server: Server,
}

const CONNECTIONS: &[Column] = &[
    ("ID", "id", plain),
    ("USER", "user", plain),
    ("DOOR", "door", plain),
    ("ADDRESS", "address", plain),
    ("STATE", "state", plain),
    ("SINCE", "connected_at", time),
    ("SILENT", "silent_seconds", seconds),
    ("TOPICS", "subscriptions", plain),
    ("LAG", "lag_events", plain),
    ("SENT", "sent_bytes", bytes),
    ("RECEIVED", "received_bytes", bytes),
];
const CLOSED: &[Column] = &[
    ("ID", "id", plain),
    ("USER", "user", plain),
    ("DOOR", "door", plain),
    ("CLOSED", "closed_at", time),
    ("AFTER", "seconds", seconds),
    ("CODE", "code", plain),
    ("BY", "by", plain),
    ("REASON", "reason", plain),
];
const SUBSCRIPTIONS: &[Column] = &[
    ("TOPIC", "topic", plain),
    ("AFTER", "after", plain),
    ("HEAD", "head", plain),
    ("LAG", "lag_events", plain),
    ("STATE", "state", plain),
];
const TOPICS: &[Column] = &[
    ("TOPIC", "topic", plain),
    ("SUBSCRIBERS", "subscribers", plain),
    ("HEAD", "head", |head| plain(&head["offset"])),
    ("LAST MINUTE", "events_last_minute", plain),
    ("WORST LAG", "lag_events", plain),
];
const AUDIT: &[Column] = &[
    ("AT", "ts", time),
    ("ACTION", "data", |data| plain(&data["action"])),
    ("KEY", "data", |data| plain(&data["key"])),
    ("FROM", "data", |data| plain(&data["address"])),
    ("TARGET", "data", |data| plain(&data["target"])),
    ("OUTCOME", "data", |data| plain(&data["outcome"])),
];

/// Runs a command.
///
/// # Errors
/// The server cannot be reached or refuses, or standard output fails.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Connections(args) => connections(args).await,
        Command::Topics(args) => topics(args).await,
        Command::Tail(args) => tail(args).await,
        Command::Disconnect(args) => disconnect(args).await,
        Command::Drain(args) => {
            args.server.post(&["drain"], &json!({})).await?;
            show("the server drains\n")
        }
        Command::Audit(args) => {
            let answer = args.server.get(&["audit"], &[("limit", args.limit.map(|limit| limit.to_string()))]).await?;
            print(&args, &answer, "events", AUDIT)
        }
    }
}

async fn connections(args: Connections) -> anyhow::Result<()> {
    if let Some(id) = &args.id {
        let answer = args.plain.server.get(&["connections", id], &[]).await?;
        if !args.plain.json {
            show(&table(std::slice::from_ref(&answer["connection"]), CONNECTIONS))?;
        }
        return print(&args.plain, &answer, "subscriptions", SUBSCRIPTIONS);
    }
    let path: &[&str] = match (args.slowest, args.closed) {
        (true, _) => &["connections", "slowest"],
        (_, true) => &["connections", "closed"],
        _ => &["connections"],
    };
    let query = [
        ("user", args.user),
        ("door", args.door),
        ("topic", args.topic),
        ("state", args.state),
        ("limit", args.plain.limit.map(|limit| limit.to_string())),
    ];
    let answer = args.plain.server.get(path, &query).await?;
    print(&args.plain, &answer, "connections", if args.closed { CLOSED } else { CONNECTIONS })
}

async fn topics(args: Topics) -> anyhow::Result<()> {
    if let Some(topic) = &args.topic {
        let answer = args.plain.server.get(&["topics", topic], &[]).await?;
        return show(&format!("{}\n", serde_json::to_string_pretty(&answer)?));
    }
    let query = [("prefix", args.prefix), ("limit", args.plain.limit.map(|limit| limit.to_string()))];
    let answer = args.plain.server.get(&["topics"], &query).await?;
    print(&args.plain, &answer, "topics", TOPICS)
}

async fn tail(args: Tail) -> anyhow::Result<()> {
    ensure!(!args.topics.is_empty() || args.user.is_some(), "name a topic, or a user with --user");
    let query = [
        ("topic", (!args.topics.is_empty()).then(|| args.topics.join(","))),
        ("user", args.user),
        ("type", args.kind),
        ("from", args.from_earliest.then(|| "earliest".to_owned())),
    ];
    let mut lines = args.server.follow(&["tail"], &query).await?;
    let following = async {
        while let Some(piece) = lines.chunk().await? {
            // Lines without content only say that the server is there.
            if !piece.trim_ascii().is_empty() && !write(&piece)? {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        done = following => done,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn disconnect(args: Disconnect) -> anyhow::Result<()> {
    let body = args.reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    let path = match (&args.user, &args.id) {
        (Some(user), _) => ["users", user, "disconnect"],
        (None, id) => ["connections", id.as_deref().unwrap_or_default(), "disconnect"],
    };
    let answer = args.server.post(&path, &body).await?;
    show(&format!("{} disconnected\n", plain(&answer["disconnected"])))
}

/// An answer's list as a table, or the answer as it came.
fn print(args: &Plain, answer: &Value, list: &str, columns: &[Column]) -> anyhow::Result<()> {
    if args.json {
        return show(&format!("{}\n", serde_json::to_string_pretty(answer)?));
    }
    let rows = answer[list].as_array().map(Vec::as_slice).unwrap_or_default();
    show(&table(rows, columns))?;
    if let Some(cursor) = answer["cursor"].as_str().filter(|_| list != "events") {
        eprintln!("towline: there are more, from {cursor} on; ask for more rows with --limit, or narrow the question");
    }
    Ok(())
}

fn show(text: &str) -> anyhow::Result<()> {
    write(text.as_bytes()).map(|_| ())
}

/// False if the reader has seen enough: `towline admin tail … | head`.
fn write(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
