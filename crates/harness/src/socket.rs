//! A WebSocket client that expects. It is built on tungstenite, which shares no code with the gateway's own frames.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Response};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use towline_protocol::Position;

use crate::continuity::{Continuity, is_envelope};
use crate::packet::Packet;
use crate::patience::PATIENCE;
use crate::transcript::Transcript;
use crate::wire::Wire;

/// A connection. Everything that comes is checked: on the native door each packet must be envelope v1, and on every door each event must
/// follow the one before it in its topic, unless the server said that something is missing. What fails prints the whole transcript.
///
/// If MessagePack was agreed upon, messages are sent in it, and every packet must come in it: by another's code than the gateway's. In
/// the transcript stands what they say as JSON.
///
/// Packets come to whoever asks in the order in which they arrived. The server's `ping` messages are noted and passed over.
/// Nothing is read from the socket while nobody asks, so a test that does not ask is a slow reader.
pub struct Socket {
    stream: WebSocketStream<Wire>,
    headers: HeaderMap,
    envelope: bool,
    binary: bool,
    continuity: Continuity,
    transcript: Transcript,
    /// Came while an answer was awaited.
    backlog: VecDeque<Packet>,
    closed: Option<(u16, String)>,
    requests: u32,
}

enum Incoming {
    Packet(Packet),
    Closed(u16, String),
    Nothing,
}

impl Socket {
    pub(crate) fn new<B>(stream: WebSocketStream<Wire>, response: &Response<B>, path: &str, envelope: bool) -> Self {
        let mut transcript = Transcript::new(path);
        transcript.remark(format!("opened, {}", response.status()));
        Self {
            stream,
            headers: response.headers().clone(),
            envelope,
            binary: response.headers().get("sec-websocket-protocol").is_some_and(|name| name == "towline.v1+msgpack"),
            continuity: Continuity::default(),
            transcript,
            backlog: VecDeque::new(),
            closed: None,
            requests: 0,
        }
    }

    /// The headers of the handshake's answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Where a topic's last event stood.
    #[must_use]
    pub fn position(&self, topic: &str) -> Option<Position> {
        self.continuity.position(topic)
    }

    /// What happened so far.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Sends a message in the encoding that was agreed upon.
    pub async fn send(&mut self, message: Value) {
        if !self.binary {
            return self.send_text(message.to_string()).await;
        }
        let bytes = rmp_serde::to_vec(&message).unwrap_or_else(|error| self.transcript.fail(error));
        self.transcript.sent(message.to_string());
        self.put(Message::binary(bytes)).await;
    }

    /// Sends text as it is.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.transcript.sent(text.clone());
        self.put(Message::text(text)).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.transcript.sent(format!("binary: {bytes:?}"));
        self.put(Message::binary(bytes.to_vec())).await;
    }

    async fn put(&mut self, message: Message) {
        // Whether a peer that is going away still takes a message is chance; what it said last is read later.
        if let Err(error) = self.stream.send(message).await {
            self.transcript.remark(format!("not sent: {error}"));
        }
    }

    /// Sends a request of the native door and returns its one answer. What comes before the answer waits for later calls.
    pub async fn request(&mut self, kind: &str, data: Value) -> Packet {
        self.requests += 1;
        let id = format!("r{}", self.requests);
        self.send(json!({"v": 1, "id": id, "type": kind, "data": data})).await;
        let mut before = std::mem::take(&mut self.backlog);
        loop {
            match self.incoming(PATIENCE).await {
                Incoming::Packet(packet) if packet.correlation_id() == Some(&*id) => {
                    self.backlog = before;
                    return packet;
                }
                Incoming::Packet(packet) => before.push_back(packet),
                Incoming::Closed(code, reason) => {
                    self.transcript.fail(format_args!("`{kind}` ({id}) was not answered: closed with {code} {reason:?}"))
                }
                Incoming::Nothing => self.transcript.fail(format_args!("`{kind}` ({id}) was not answered")),
            }
        }
    }

    /// Subscribes, and demands that every topic is accepted. Entries are names, or objects with `topic` and `from`.
    pub async fn subscribe(&mut self, topics: Value) -> Packet {
        let wanted = topics.as_array().map_or(0, Vec::len);
        let ack = self.request("subscribe", json!({ "topics": topics })).await;
        let accepted = ack["data"]["subscriptions"].as_array().map_or(0, Vec::len);
        if ack.kind() != "subscribe_ack" || accepted != wanted {
            self.transcript.fail(format_args!("not all of {wanted} topics were accepted"));
        }
        ack
    }

    /// The next packet, which must be of this type.
    pub async fn expect(&mut self, kind: &str, timeout: Duration) -> Packet {
        match self.incoming(timeout).await {
            Incoming::Packet(packet) if packet.kind() == kind => packet,
            Incoming::Packet(packet) => self.transcript.fail(format_args!("expected `{kind}`, got {}", packet.text())),
            Incoming::Closed(code, reason) => {
                self.transcript.fail(format_args!("expected `{kind}`, was closed with {code} {reason:?}"))
            }
            Incoming::Nothing => self.transcript.fail(format_args!("expected `{kind}`, got nothing for {timeout:?}")),
        }
    }

    /// The next `count` events of any topic. A `caught_up` between them is passed over.
    pub async fn expect_events(&mut self, count: usize) -> Vec<Packet> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            match self.incoming(PATIENCE).await {
                Incoming::Packet(packet) if packet.position().is_some() => events.push(packet),
                Incoming::Packet(packet) if packet.kind() == "caught_up" => {}
                Incoming::Packet(packet) => {
                    self.transcript.fail(format_args!("expected event {} of {count}, got {}", events.len() + 1, packet.text()))
                }
                Incoming::Closed(code, reason) => self
                    .transcript
                    .fail(format_args!("expected event {} of {count}, closed with {code} {reason:?}", events.len() + 1)),
                Incoming::Nothing => self.transcript.fail(format_args!("got {} of {count} events", events.len())),
            }
        }
        events
    }

    /// Whatever comes next within `timeout`; `None` if nothing does, or the connection has ended.
    pub async fn next(&mut self, timeout: Duration) -> Option<Packet> {
        match self.incoming(timeout).await {
            Incoming::Packet(packet) => Some(packet),
            Incoming::Closed(..) | Incoming::Nothing => None,
        }
    }

    /// Whatever comes next within `timeout`, if something does.
    ///
    /// # Errors
    /// Code and reason, once the connection has ended.
    pub async fn receive(&mut self, timeout: Duration) -> Result<Option<Packet>, (u16, String)> {
        match self.incoming(timeout).await {
            Incoming::Packet(packet) => Ok(Some(packet)),
            Incoming::Nothing => Ok(None),
            Incoming::Closed(code, reason) => Err((code, reason)),
        }
    }

    /// Fails if anything comes within `duration`. [`Socket::expect_quiet`] proves the same without waiting, where the door answers pings.
    pub async fn expect_none(&mut self, duration: Duration) {
        match self.incoming(duration).await {
            Incoming::Nothing => {}
            Incoming::Packet(packet) => self.transcript.fail(format_args!("expected nothing, got {}", packet.text())),
            Incoming::Closed(code, reason) => {
                self.transcript.fail(format_args!("expected nothing, was closed with {code} {reason:?}"))
            }
        }
    }

    /// Proves that nothing is on its way: what was published before this call would come before the second of two answers.
    pub async fn expect_quiet(&mut self) {
        for _ in 0..2 {
            self.send(json!({"type": "ping", "id": "quiet"})).await;
            self.expect("pong", PATIENCE).await;
        }
    }

    /// The close frame, which must come before any other packet. 1006 if the connection ends without one.
    pub async fn expect_close(&mut self, timeout: Duration) -> (u16, String) {
        match self.incoming(timeout).await {
            Incoming::Closed(code, reason) => (code, reason),
            Incoming::Packet(packet) => self.transcript.fail(format_args!("expected a close, got {}", packet.text())),
            Incoming::Nothing => self.transcript.fail(format_args!("expected a close, got nothing for {timeout:?}")),
        }
    }

    /// Everything up to the close, and the close.
    pub async fn until_close(&mut self) -> (Vec<Packet>, (u16, String)) {
        let mut packets = Vec::new();
        loop {
            match self.incoming(PATIENCE).await {
                Incoming::Packet(packet) => packets.push(packet),
                Incoming::Closed(code, reason) => return (packets, (code, reason)),
                Incoming::Nothing => self.transcript.fail(format_args!("expected a close within {PATIENCE:?}")),
            }
        }
    }

    /// Says goodbye and waits for the server to do the same.
    pub async fn close(mut self) {
        self.transcript.sent("close 1000");
        let frame = CloseFrame { code: 1000.into(), reason: "".into() };
        if self.stream.close(Some(frame)).await.is_ok() {
            while let Incoming::Packet(_) = self.incoming(PATIENCE).await {}
        }
    }

    async fn incoming(&mut self, timeout: Duration) -> Incoming {
        if let Some(packet) = self.backlog.pop_front() {
            return Incoming::Packet(packet);
        }
        if let Some((code, reason)) = self.closed.clone() {
            return Incoming::Closed(code, reason);
        }
        let Ok(incoming) = tokio::time::timeout(timeout, self.read()).await else { return Incoming::Nothing };
        if let Incoming::Closed(code, reason) = &incoming {
            self.transcript.remark(format!("closed with {code} {reason:?}"));
            self.closed = Some((*code, reason.clone()));
        }
        incoming
    }

    async fn read(&mut self) -> Incoming {
        loop {
            match self.stream.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let text = self.text_of(message);
                    self.transcript.received(text.as_str());
                    let packet = self.check(&text);
                    // On the unified door it has another name.
                    if !matches!(packet.kind(), "ping" | "heartbeat") {
                        return Incoming::Packet(packet);
                    }
                }
                Some(Ok(Message::Ping(_))) => self.transcript.received("ping frame"),
                Some(Ok(Message::Pong(_))) => self.transcript.received("pong frame"),
                Some(Ok(Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) =
                        frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    // The closing handshake's other half; whether the server still takes it is its affair.
                    let _ = self.stream.flush().await;
                    return Incoming::Closed(code, reason);
                }
                Some(Err(error)) => return Incoming::Closed(1006, error.to_string()),
                None => return Incoming::Closed(1006, "the stream ended".to_owned()),
            }
        }
    }

    fn text_of(&self, message: Message) -> String {
        match message {
            Message::Text(text) if !self.binary => text.to_string(),
            Message::Binary(bytes) if self.binary => match rmp_serde::from_slice::<Value>(&bytes) {
                Ok(value) => value.to_string(),
                Err(error) => self.transcript.fail(format_args!("not MessagePack ({error}): {bytes:?}")),
            },
            other => self.transcript.fail(format_args!("a message of the other encoding came: {other:?}")),
        }
    }

    fn check(&mut self, text: &str) -> Packet {
        let packet = match Packet::new(text) {
            Ok(packet) => packet,
            Err(error) => self.transcript.fail(format_args!("not JSON ({error}): {text}")),
        };
        let sound = if self.envelope { is_envelope(&packet) } else { Ok(()) };
        if let Err(why) = sound.and_then(|()| self.continuity.follow(&packet)) {
            self.transcript.fail(why);
        }
        packet
    }
}
