//! `towline pub`: publishes events from arguments or standard input, and says what became of each.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use towline_client::{Client, Publish, PublishResult, Settings, Severity};

use super::remote::Remote;

/// A longer line of standard input is refused: no server takes such an event, and a file without line breaks should not fill the memory.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Lines read ahead, and published in one request if they are there.
const LINES_AHEAD: usize = 256;

/// Publish events to a topic.
///
/// Prints one line of JSON per event: its status (stored, duplicate, refused), id and position. Ends with a code other than 0 if an
/// event was refused or the server could not be reached.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  towline pub user:42 agent.started
  towline pub user:42 agent.step_completed '{\"step\": 1}' --title 'Read the mail'
  tail -f steps.ndjson | towline pub user:42 agent.step_completed -
  TOWLINE_URL=https://towline.example.com TOWLINE_KEY=… towline pub system briefing.ready --id briefing-7")]
pub struct Args {
    /// Where the event goes, for example user:42.
    topic: String,
    /// What happened, for example agent.step_completed.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The payload as JSON; `-` takes each line of standard input as the payload of one event.
    #[arg(default_value = "{}")]
    data: String,
    /// The event's id: the same id is stored once. Only for a single event.
    #[arg(long)]
    id: Option<String>,
    /// One line for people.
    #[arg(long)]
    title: Option<String>,
    /// How much a person should care.
    #[arg(long, value_parser = severity, value_name = "info|warning|action_required")]
    severity: Option<Severity>,
    /// Ties the event to a request of the application.
    #[arg(long)]
    correlation_id: Option<String>,
    /// For how many seconds to try while the server is away.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    patience: u64,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command.
///
/// # Errors
/// An event was refused, could not be read, or could not be handed over.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings { publish_patience: Duration::from_secs(args.patience), ..Settings::default() };
    let client = args.remote.client(&["TOWLINE_KEY", "TOWLINE_TOKEN"], settings)?;
    let mut template = Publish::new(args.topic, args.kind);
    if let Some(title) = args.title {
        template = template.title(title);
    }
    if let Some(severity) = args.severity {
        template = template.severity(severity);
    }
    if let Some(id) = args.correlation_id {
        template = template.correlation_id(id);
    }
    let mut tally = Tally::default();
    if args.data == "-" {
        ensure!(args.id.is_none(), "--id names a single event; the lines of standard input get ids of their own");
        publish_lines(&client, &template, BufReader::new(std::io::stdin()), &mut tally).await?;
    } else {
        let event = template.raw_data(payload(&args.data)?);
        let event = match args.id {
            Some(id) => event.id(id),
            None => event,
        };
        tally.add(&client.publish([event]).await?)?;
    }
    if tally.refused > 0 {
        bail!("{} of {} events refused", tally.refused, tally.all);
    }
    Ok(())
}

/// Publishes the lines as they come: one by one while they drip, in batches while they pour.
async fn publish_lines(
    client: &Client,
    template: &Publish,
    input: impl BufRead + Send + 'static,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let (sender, mut lines) = mpsc::channel(LINES_AHEAD);
    // A thread of its own and no task: a runtime waits for its blocking tasks at the end, and this one may wait for a keyboard.
    std::thread::spawn(move || read_lines(input, |line| sender.blocking_send(line).is_ok()));
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, LINES_AHEAD).await > 0 {
        let mut unreadable = None;
        let mut events = Vec::with_capacity(batch.len());
        for line in batch.drain(..) {
            match line {
                Ok(data) => events.push(template.clone().fresh_id().raw_data(data)),
                // Always the last.
                Err(error) => unreadable = Some(error),
            }
        }
        tally.add(&client.publish(events).await?)?;
        if let Some(error) = unreadable {
            bail!("{error:#}; what stood before it is published");
        }
    }
    Ok(())
}

/// Hands on payloads, one per line, and ends after the first line that is none, or when nobody takes them any more.
fn read_lines(mut input: impl BufRead, mut hand_on: impl FnMut(anyhow::Result<Box<RawValue>>) -> bool) {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        match (&mut input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => {}
            Err(error) => {
                hand_on(Err(error).context("reading standard input"));
                return;
            }
        }
        let payload = line_payload(&line).with_context(|| format!("line {number}"));
        let last = payload.is_err();
        if !hand_on(payload) || last {
            return;
        }
    }
}

fn line_payload(line: &[u8]) -> anyhow::Result<Box<RawValue>> {
    ensure!(line.len() <= LINE_BYTES_MAX, "it has more than {LINE_BYTES_MAX} bytes");
    payload(std::str::from_utf8(line).context("it is not UTF-8")?.trim())
}

fn payload(text: &str) -> anyhow::Result<Box<RawValue>> {
    serde_json::from_str(text).context("the payload is not JSON (a text needs quotes: '\"like this\"')")
}

fn severity(text: &str) -> Result<Severity, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected info, warning or action_required".to_owned())
}

#[derive(Default)]
struct Tally {
    all: u64,
    refused: u64,
}

impl Tally {
    fn add(&mut self, results: &[PublishResult]) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        for result in results {
            self.all += 1;
            self.refused += u64::from(matches!(result, PublishResult::Refused { .. }));
            writeln!(out, "{}", serde_json::to_string(result)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> (Vec<String>, Option<String>) {
        let (mut read, mut refused) = (Vec::new(), None);
        read_lines(input, |line| {
            match line {
                Ok(line) => read.push(line.get().to_owned()),
                Err(error) => refused = Some(format!("{error:#}")),
            }
            true
        });
        (read, refused)
    }

    #[test]
    fn lines_are_payloads_until_one_is_not() {
        let (read, refused) = lines(b"{\"a\":12345678901234567890}\n\n  [1] \r\n\"x\"");
        assert_eq!(read, ["{\"a\":12345678901234567890}", "[1]", "\"x\""]);
        assert_eq!(refused, None);
        let (read, refused) = lines(b"1\n2\nthree\n4\n");
        assert_eq!(read, ["1", "2"]);
        assert!(refused.unwrap().starts_with("line 3"));
        assert!(lines(b"\xff\n").1.unwrap().contains("UTF-8"));
        assert!(lines(&vec![b'7'; LINE_BYTES_MAX + 2]).1.unwrap().starts_with("line 1: it has more than"));
    }

    #[test]
    fn severities_are_the_wires() {
        assert_eq!(severity("action_required"), Ok(Severity::ActionRequired));
        assert!(severity("urgent").is_err());
    }
}
