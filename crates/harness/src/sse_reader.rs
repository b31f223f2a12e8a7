//! A reader of Server-Sent Events, by the rules of the HTML standard.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::HeaderMap;

use crate::continuity::{Continuity, is_envelope};
use crate::packet::Packet;
use crate::patience::PATIENCE;
use crate::transcript::Transcript;

/// A stream of events. Every event is checked like on a [`crate::Socket`].
pub struct SseReader {
    headers: HeaderMap,
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
    continuity: Continuity,
    transcript: Transcript,
    last_event_id: String,
    retry_ms: Option<u64>,
    comments: usize,
}

impl SseReader {
    pub(crate) async fn open(
        http: &reqwest::Client,
        url: &str,
        target: &str,
        token: &str,
        last_event_id: Option<&str>,
    ) -> Result<Self, (u16, String)> {
        let mut request = http.get(url).header("accept", "text/event-stream");
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("GET {target}: {error}"));
        if response.status() != 200 {
            return Err((response.status().as_u16(), response.text().await.unwrap_or_default()));
        }
        Ok(Self {
            headers: response.headers().clone(),
            body: response.bytes_stream().boxed(),
            buffer: Vec::new(),
            continuity: Continuity::default(),
            transcript: Transcript::new(target),
            last_event_id: String::new(),
            retry_ms: None,
            comments: 0,
        })
    }

    /// The answer's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What a browser would send as `Last-Event-ID` if it reconnected now.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last `retry:` in milliseconds.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// How many comment lines came.
    #[must_use]
    pub fn comments(&self) -> usize {
        self.comments
    }

    /// The next message, which must be of this type.
    pub async fn expect(&mut self, kind: &str, timeout: Duration) -> Packet {
        match self.next(timeout).await {
            Some(packet) if packet.kind() == kind => packet,
            Some(packet) => self.transcript.fail(format_args!("expected `{kind}`, got {}", packet.text())),
            None => self.transcript.fail(format_args!("expected `{kind}`, got nothing")),
        }
    }

    /// The next `count` events. A `caught_up` between them is passed over.
    pub async fn expect_events(&mut self, count: usize) -> Vec<Packet> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            match self.next(PATIENCE).await {
                Some(packet) if packet.position().is_some() => events.push(packet),
                Some(packet) if packet.kind() == "caught_up" => {}
                Some(packet) => self.transcript.fail(format_args!("expected an event, got {}", packet.text())),
                None => self.transcript.fail(format_args!("got {} of {count} events", events.len())),
            }
        }
        events
    }

    /// Waits until another comment came.
    pub async fn expect_comment(&mut self, timeout: Duration) {
        let before = self.comments;
        let waiting = async {
            while self.comments == before {
                match self.block().await {
                    Some(None) => {}
                    Some(Some(packet)) => self.transcript.fail(format_args!("expected a comment, got {}", packet.text())),
                    None => self.transcript.fail("expected a comment, the stream ended"),
                }
            }
        };
        if tokio::time::timeout(timeout, waiting).await.is_err() {
            self.transcript.fail(format_args!("expected a comment within {timeout:?}"));
        }
    }

    /// The next message; `None` if none comes in time or the stream has ended.
    pub async fn next(&mut self, timeout: Duration) -> Option<Packet> {
        let reading = async {
            loop {
                match self.block().await {
                    Some(None) => {}
                    Some(Some(packet)) => return Some(packet),
                    None => return None,
                }
            }
        };
        tokio::time::timeout(timeout, reading).await.unwrap_or_default()
    }

    /// Reads to the end of the stream.
    pub async fn until_end(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        let reading = async {
            while let Some(block) = self.block().await {
                packets.extend(block);
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            self.transcript.fail("the stream did not end");
        }
        packets
    }

    /// One block between blank lines, which may hold no message; `None` at the end.
    async fn block(&mut self) -> Option<Option<Packet>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                break at;
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    self.transcript.remark(error.to_string());
                    return None;
                }
                None => return None,
            }
        };
        let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
        let text = String::from_utf8_lossy(&block).trim_end().to_owned();
        self.transcript.received(text.clone());
        let mut data: Vec<&str> = Vec::new();
        for line in text.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => self.comments += 1,
                "data" => data.push(value),
                "id" => value.clone_into(&mut self.last_event_id),
                "retry" => self.retry_ms = value.parse().ok(),
                _ => {}
            }
        }
        if data.is_empty() {
            return Some(None);
        }
        let text = data.join("\n");
        let packet = match Packet::new(text) {
            Ok(packet) => packet,
            Err(error) => self.transcript.fail(format_args!("the data is not JSON: {error}")),
        };
        if let Err(why) = is_envelope(&packet).and_then(|()| self.continuity.follow(&packet)) {
            self.transcript.fail(why);
        }
        Some(Some(packet))
    }
}
