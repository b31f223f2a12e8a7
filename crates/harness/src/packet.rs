//! One message from a server, as JSON and as text.

use std::ops::Index;

use serde_json::Value;
use towline_protocol::Position;

/// One message from a server. Index it like its JSON: `packet["data"]["step"]`.
#[derive(Debug, Clone)]
pub struct Packet {
    json: Value,
    text: String,
}

impl Packet {
    /// Reads a message.
    ///
    /// # Errors
    /// Why it is not JSON.
    pub fn new(text: impl Into<String>) -> serde_json::Result<Self> {
        let text = text.into();
        Ok(Self { json: serde_json::from_str(&text)?, text })
    }

    /// Its `type`, empty if there is none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self["type"].as_str().unwrap_or_default()
    }

    /// Its `id`, empty if there is none.
    #[must_use]
    pub fn id(&self) -> &str {
        self["id"].as_str().unwrap_or_default()
    }

    /// Its `topic`, empty if there is none.
    #[must_use]
    pub fn topic(&self) -> &str {
        self["topic"].as_str().unwrap_or_default()
    }

    /// Its `data`, which the unified door calls `payload`.
    #[must_use]
    pub fn data(&self) -> &Value {
        self.json.get("data").unwrap_or(&self["payload"])
    }

    /// Where the event stands; `None` for anything but an event.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let epoch = self["epoch"].as_str()?.parse().ok()?;
        Some(Position { epoch, offset: self["offset"].as_u64()? })
    }

    /// The offset of the event before it in the topic.
    #[must_use]
    pub fn prev(&self) -> Option<u64> {
        let offset = self.position()?.offset;
        Some(self["prev"].as_u64().unwrap_or_else(|| offset.saturating_sub(1)))
    }

    /// Which request this answers.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self["correlation_id"].as_str()
    }

    /// All of it.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// As it came.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Index<&str> for Packet {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        &self.json[name]
    }
}
