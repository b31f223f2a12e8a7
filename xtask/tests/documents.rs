//! PROTOCOL.md against the source: its tables are what the types say, its examples are what the codec reads and writes.
//!
//! With `TOWLINE_WRITE_DOCS=1`, as `cargo xtask docs` sets it, the tables are written instead of compared.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use serde_json::Value;
use towline_protocol::{AfterClose, Asked, CloseCode, Dialect, Epoch, ErrorCode, ServerMessage, Stamp};

const PROTOCOL: &str = "PROTOCOL.md";

#[test]
fn the_tables_of_codes_are_the_codes() {
    let mut document = Document::read(PROTOCOL);
    document.table("close codes", &close_codes());
    document.table("error codes", &error_codes());
    document.close();
}

#[test]
fn examples_of_client_messages_are_understood() {
    let examples = Document::read(PROTOCOL).examples("json client");
    assert!(examples.len() >= 6, "an example of each message is expected");
    for example in examples {
        Dialect::Native.decode(&example).unwrap_or_else(|decline| panic!("{example}\n{}", decline.message));
    }
}

#[test]
fn examples_of_server_messages_are_what_the_server_writes() {
    let examples = Document::read(PROTOCOL).examples("json server");
    assert!(examples.len() >= 12, "an example of each message is expected");
    for example in examples {
        let shown: Value = serde_json::from_str(&example).unwrap_or_else(|error| panic!("{example}\n{error}"));
        let message: ServerMessage = serde_json::from_value(shown.clone()).unwrap_or_else(|error| panic!("{example}\n{error}"));
        let ts_ms = (shown["ts"].as_f64().unwrap() * 1000.0).round() as u64;
        let stamp = Stamp {
            id: shown["id"].as_str().unwrap(),
            ts_ms,
            correlation_id: shown.get("correlation_id").and_then(Value::as_str),
            asked: Asked::Other,
        };
        let mut written = Vec::new();
        Dialect::Native.encode_message(&message, stamp, &mut written);
        let mut written: Value = serde_json::from_slice(&written).unwrap();
        let mut shown = shown;
        for message in [&mut written, &mut shown] {
            floats(message);
        }
        assert_eq!(shown, written, "{example}");
    }
}

#[test]
fn examples_of_events_have_what_every_event_has() {
    let document = Document::read(PROTOCOL);
    for (kind, members) in [
        ("json event", &["v", "id", "topic", "type", "ts", "epoch", "offset", "data"][..]),
        ("json feed-event", &["type", "data", "id", "event_id", "topic", "timestamp", "epoch", "offset"][..]),
        ("json unified-event", &["type", "payload", "timestamp", "id", "topic", "epoch", "offset"][..]),
    ] {
        let examples = document.examples(kind);
        assert!(!examples.is_empty(), "no example of {kind}");
        for example in examples {
            let event: Value = serde_json::from_str(&example).unwrap_or_else(|error| panic!("{example}\n{error}"));
            for member in members {
                assert!(!event[member].is_null(), "{member} is missing in {example}");
            }
            event["epoch"].as_str().unwrap().parse::<Epoch>().unwrap();
        }
    }
}

#[test]
fn other_examples_are_json() {
    for example in Document::read(PROTOCOL).examples("json") {
        serde_json::from_str::<Value>(&example).unwrap_or_else(|error| panic!("{example}\n{error}"));
    }
}

fn close_codes() -> String {
    let mut table = "| code | meaning | what a client does |\n|---|---|---|\n".to_owned();
    for code in CloseCode::ALL {
        let after = match code.after() {
            AfterClose::Resume => "connect again with back-off, resume from the last positions",
            AfterClose::NewToken => "get a fresh token, then connect again; never retry with the old one",
            AfterClose::Stop => "stop: something must change first",
        };
        table += &format!("| {} | {} | {after} |\n", code.number(), code.meaning().trim());
    }
    table
}

fn error_codes() -> String {
    let mut table = "| code | HTTP | retry unchanged | meaning |\n|---|---|---|---|\n".to_owned();
    for code in ErrorCode::ALL {
        let retry = if code.retryable() { "later" } else { "no" };
        table += &format!("| `{}` | {} | {retry} | {} |\n", code.as_str(), code.http_status(), code.meaning().trim());
    }
    table
}

/// Numbers compare by value, not by how they are written.
fn floats(value: &mut Value) {
    match value {
        Value::Number(number) => *value = serde_json::json!(number.as_f64()),
        Value::Array(values) => values.iter_mut().for_each(floats),
        Value::Object(members) => members.values_mut().for_each(floats),
        _ => {}
    }
}

struct Document {
    path: PathBuf,
    text: String,
    original: String,
}

impl Document {
    fn read(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { path, original: text.clone(), text }
    }

    /// Puts a table between its two marks.
    fn table(&mut self, name: &str, table: &str) {
        let (begin, end) = (format!("<!-- begin generated: {name} -->\n"), format!("<!-- end generated: {name} -->"));
        let start = self.text.find(&begin).unwrap_or_else(|| panic!("no mark {begin}")) + begin.len();
        let stop = start + self.text[start..].find(&end).unwrap_or_else(|| panic!("no mark {end}"));
        self.text.replace_range(start..stop, table);
    }

    fn close(self) {
        if std::env::var_os("TOWLINE_WRITE_DOCS").is_some() {
            std::fs::write(&self.path, &self.text).unwrap();
        } else {
            assert!(self.text == self.original, "{} is not up to date: run `cargo xtask docs`", self.path.display());
        }
    }

    /// The code blocks of one kind.
    fn examples(&self, kind: &str) -> Vec<String> {
        let mut examples = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if line.trim() == format!("```{kind}") {
                let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
                examples.push(block.join("\n"));
            }
        }
        examples
    }
}
