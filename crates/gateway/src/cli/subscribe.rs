//! `towline sub`: follows topics and prints their events; the state of the connection goes to standard error.

use std::io::{self, Write};

use anyhow::bail;
use towline_client::{Event, Settings, StartRequest, Subscription, Update};
use towline_protocol::timestamp::{iso, parse_ms};

use super::remote::Remote;

/// Follow topics and print their events.
///
/// Events go to standard output, one line each and each once, in the order of their topic; what happens to the connection goes to
/// standard error. Reconnects and resumes by itself. Ctrl-C ends it with code 0; a refusal with another one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  towline sub user:42
  towline sub user:42 system --from earliest --pretty
  towline sub user:42 --from 2026-01-31T12:00:00Z | jq .type
  towline sub user:42 --from 19a9c3b2f41-42 --count 10
  TOWLINE_URL=https://towline.example.com TOWLINE_TOKEN=… towline sub user:42")]
pub struct Args {
    /// The topics to follow.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to begin in each topic: latest, earliest, behind a position (19a9c3b2f41-42), behind an event's id (id:… if it could be
    /// taken for something else), or a time (2026-01-31T12:00:00Z or Unix seconds).
    #[arg(long, default_value = "latest", value_name = "START")]
    from: String,
    /// One line for people per event, instead of JSON.
    #[arg(long, conflicts_with = "json")]
    pretty: bool,
    /// The whole envelope as JSON, one line per event (the default).
    #[arg(long)]
    json: bool,
    /// End after this many events.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command until Ctrl-C, until `--count` events were printed, or until the reader of standard output is gone.
///
/// # Errors
/// The server refuses for good, or standard output fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.remote.client(&["TOWLINE_TOKEN", "TOWLINE_KEY"], Settings::default())?;
    let from = start(&args.from);
    let watching = client.subscribe(args.topics.iter().map(|topic| (topic, from.clone())))?;
    tokio::select! {
        printed = print(watching, args.pretty, args.count) => printed,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn print(mut watching: Subscription, pretty: bool, count: Option<u64>) -> anyhow::Result<()> {
    let mut printed = 0;
    while let Some(update) = watching.next().await {
        match update {
            Update::Event(event) => {
                let line = if pretty { for_people(&event) } else { event.json().to_owned() };
                match writeln!(io::stdout(), "{line}") {
                    Ok(()) => {}
                    // `towline sub … | head` has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
                printed += 1;
                if count == Some(printed) {
                    return Ok(());
                }
            }
            Update::Stopped(reason) => bail!("{reason}"),
            other => {
                if let Some(line) = state(&other) {
                    // Nobody may be listening there; the events still matter.
                    let _ = writeln!(io::stderr(), "towline: {}", plain(&line));
                }
            }
        }
    }
    Ok(())
}

/// What an update means for the connection, in one line.
fn state(update: &Update) -> Option<String> {
    Some(match update {
        Update::Connected { user_id, resumed, connection_id } => {
            format!("{} as {user_id} (connection {connection_id})", if *resumed { "reconnected" } else { "connected" })
        }
        Update::Subscribed { topic, from, to } if from == to => format!("{topic}: live from {from}"),
        Update::Subscribed { topic, from, to } => format!("{topic}: replaying from {from} to {to}"),
        Update::Refused { topic, code, message } => format!("{topic}: refused, {}: {message}", code.as_str()),
        Update::Gap(gap) => {
            let why = serde_json::to_value(gap.reason).ok()?;
            format!(
                "{}: history is missing ({}), going on behind {}",
                gap.topic,
                why.as_str().unwrap_or("unknown"),
                gap.resume_after
            )
        }
        Update::Hole(hole) => format!("{}: {} does not follow {}, asking again", hole.topic, hole.got, hole.after),
        Update::CaughtUp { topic, replayed, position } => format!("{topic}: replayed {replayed}, live from {position}"),
        Update::Disconnected { code, reason, retry_in } => {
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            format!("disconnected{code} ({reason}), retrying in {:.1} s", retry_in.as_secs_f64())
        }
        Update::AuthExpiring { remaining } => format!("the token expires in {} s", remaining.as_secs()),
        Update::Error(error) => format!("error {}: {}", error.code.as_str(), error.message),
        _ => return None,
    })
}

/// `2026-01-31T12:00:00.000Z user:42 17 agent.started "Title" {…}`.
fn for_people(event: &Event) -> String {
    let title = event.title.as_deref().map(|title| format!(" {title:?}")).unwrap_or_default();
    let at = iso((event.ts.clamp(0.0, 253_402_300_799.0) * 1000.0).round() as u64);
    plain(&format!("{at} {} {} {}{title} {}", event.topic, event.position.offset, event.kind, event.data_json()))
}

/// Text from outside must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn start(text: &str) -> StartRequest {
    match text {
        "latest" => StartRequest::Latest,
        "earliest" => StartRequest::Earliest,
        other => {
            if let Some(id) = other.strip_prefix("id:") {
                return StartRequest::AfterId(id.into());
            }
            if let Ok(position) = other.parse() {
                return StartRequest::After(position);
            }
            parse_ms(other).map_or_else(|_| StartRequest::AfterId(other.into()), StartRequest::Since)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_can_be_written() {
        assert_eq!(start("latest"), StartRequest::Latest);
        assert_eq!(start("earliest"), StartRequest::Earliest);
        assert!(matches!(start("19a9c3b2f41-42"), StartRequest::After(position) if position.offset == 42));
        assert_eq!(start("2024-07-02T22:14:13Z"), StartRequest::Since(1_719_958_453_000));
        assert_eq!(start("1719958453"), StartRequest::Since(1_719_958_453_000));
        let uuid = "0190750e-1234-7abc-8def-0123456789ab";
        assert_eq!(start(uuid), StartRequest::AfterId(uuid.into()));
        assert_eq!(start("id:latest"), StartRequest::AfterId("latest".into()));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\u{9b}c\n"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}");
    }
}
