//! The golden transcripts in `protocol/transcripts`, each played against a gateway. Their format is described in the README there.

mod pattern;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pattern::Names;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use towline_harness::{Gateway, Handshake, PATIENCE, Packet, Socket, SseReader};
use towline_protocol::timestamp::iso;

const DOORS: [&str; 5] = ["native", "feed", "hub", "unified", "sse"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    about: String,
    user: String,
    #[serde(default)]
    topics: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Connect(Connect),
    Publish(Publish),
    Client(Value),
    ClientText(String),
    Server(Value),
    Close(Value),
    LastEventId(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect {
    path: String,
    #[serde(default)]
    protocols: Vec<String>,
    #[serde(default)]
    query: Map<String, Value>,
    #[serde(default)]
    last_event_id: Option<Value>,
    /// The subprotocol that is given back.
    #[serde(default)]
    protocol: Option<String>,
    /// The status of a handshake that is refused.
    #[serde(default)]
    refused: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    event: Value,
    #[serde(rename = "as")]
    name: String,
}

enum Connection {
    None,
    Socket(Box<Socket>),
    Stream(Box<SseReader>),
}

struct Player {
    gateway: Gateway,
    names: Names,
    connection: Connection,
}

impl Player {
    async fn new(script: &Script) -> Self {
        let gateway = Gateway::start().await;
        let mut names = Names::default();
        let token = || gateway.token(&script.user).topics(script.topics.iter().map(String::as_str));
        let fresh = token().mint();
        names.bind("jwt", format!("jwt.{fresh}").into());
        names.bind("token", fresh.into());
        names.bind("expired_token", token().expired_for(Duration::from_secs(600)).mint().into());
        names.bind("other_token", gateway.token("somebody-else").mint().into());
        Self { gateway, names, connection: Connection::None }
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Connect(connect) => self.connect(connect).await,
            Step::Publish(Publish { event, name }) => {
                let (_, answer) = self.gateway.post_events("", &self.names.fill(event).to_string()).await;
                let mut stored = answer["results"][0].clone();
                let ts = stored["ts"].as_f64().ok_or_else(|| format!("not stored: {answer}"))?;
                stored["iso"] = iso((ts * 1000.0).round() as u64).into();
                self.names.bind(name, stored);
                Ok(())
            }
            Step::Client(message) => {
                let message = self.names.fill(message);
                self.socket()?.send(message).await;
                Ok(())
            }
            Step::ClientText(text) => {
                self.socket()?.send_text(text.clone()).await;
                Ok(())
            }
            Step::Server(expected) => {
                let packet = self.next().await?;
                self.names.check(expected, packet.json(), "").map_err(|why| format!("{why}\nin {}", packet.text()))
            }
            Step::Close(expected) => {
                let (code, reason) = self.socket()?.expect_close(PATIENCE).await;
                self.connection = Connection::None;
                self.names.check(expected, &json!({"code": code, "reason": reason}), "close")
            }
            Step::LastEventId(expected) => {
                let Connection::Stream(stream) = &self.connection else { return Err("this is no stream".into()) };
                let id = Value::from(stream.last_event_id());
                self.names.check(&Value::from(expected.as_str()), &id, "last_event_id")
            }
        }
    }

    async fn connect(&mut self, connect: &Connect) -> Result<(), String> {
        self.connection = Connection::None;
        let mut parameters = Vec::new();
        for (name, value) in &connect.query {
            let value = self.names.fill(value);
            parameters.push((name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
        if connect.path == "/api/v1/stream" {
            let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let last = connect.last_event_id.as_ref().map(|id| self.names.fill(id));
            let target = format!("{}?{}", connect.path, query.join("&"));
            let stream = self.gateway.stream(&target, "", last.as_ref().and_then(Value::as_str)).await;
            return match (stream, connect.refused) {
                (Ok(stream), None) => {
                    self.connection = Connection::Stream(Box::new(stream));
                    Ok(())
                }
                (Err((status, _)), Some(expected)) if status == expected => Ok(()),
                (stream, expected) => Err(format!("expected refusal {expected:?}, got {:?}", stream.err())),
            };
        }
        let handshake = Handshake::new(self.gateway.address(), &connect.path);
        let handshake = parameters.iter().fold(handshake, |handshake, (name, value)| handshake.parameter(name, value));
        let handshake = connect.protocols.iter().fold(handshake, |handshake, name| {
            let name = self.names.fill(&Value::from(name.as_str()));
            handshake.protocol(name.as_str().unwrap_or_default())
        });
        match (handshake.try_open().await, connect.refused) {
            (Ok(socket), None) => {
                let given = socket.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
                if given != connect.protocol.as_deref() {
                    return Err(format!("the subprotocol is {given:?}"));
                }
                self.connection = Connection::Socket(Box::new(socket));
                Ok(())
            }
            (Err(refused), Some(expected)) if refused.status == expected => Ok(()),
            (opened, expected) => Err(format!(
                "expected refusal {expected:?}, got {:?}",
                opened.err().map(|refused| (refused.status, refused.body))
            )),
        }
    }

    fn socket(&mut self) -> Result<&mut Socket, String> {
        match &mut self.connection {
            Connection::Socket(socket) => Ok(socket),
            _ => Err("no socket is open".into()),
        }
    }

    async fn next(&mut self) -> Result<Packet, String> {
        match &mut self.connection {
            Connection::Socket(socket) => match socket.receive(PATIENCE).await {
                Ok(Some(packet)) => Ok(packet),
                Ok(None) => Err("nothing came".into()),
                Err((code, reason)) => Err(format!("closed with {code} {reason:?}")),
            },
            Connection::Stream(stream) => stream.next(PATIENCE).await.ok_or_else(|| "nothing came".into()),
            Connection::None => Err("nothing is open".into()),
        }
    }

    fn transcript(&self) -> String {
        match &self.connection {
            Connection::Socket(socket) => socket.transcript().to_string(),
            _ => String::new(),
        }
    }
}

async fn play(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let script: Script = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(!script.about.is_empty());
    let mut player = Player::new(&script).await;
    for (at, step) in script.steps.iter().enumerate() {
        if let Err(why) = player.step(step).await {
            panic!("{}, step {at}: {why}\n{}", file.display(), player.transcript());
        }
    }
    // Nothing is left over: a transcript is the whole conversation.
    if let Connection::Socket(socket) = &mut player.connection {
        socket.expect_quiet().await;
    }
}

fn transcripts(door: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/transcripts").join(door);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> =
        files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    files.sort();
    files
}

// proves: B1, B2, C1, C3, C4
#[tokio::test]
async fn every_golden_transcript_is_what_happens() {
    for door in DOORS {
        let files = transcripts(door);
        assert!(files.len() >= 3, "{door} has {} transcripts", files.len());
        for file in files {
            play(&file).await;
        }
    }
}
