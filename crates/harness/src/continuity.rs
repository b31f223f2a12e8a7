//! What holds for every message of a connection, whatever a test asks for: its envelope, and that no topic has a hole or a repetition.

use std::collections::HashMap;

use serde_json::Value;
use towline_protocol::Position;

use crate::packet::Packet;

/// Follows a connection's topics.
#[derive(Debug, Default)]
pub struct Continuity {
    /// The last position of each topic.
    at: HashMap<String, Position>,
}

impl Continuity {
    /// Takes the next packet; `Err` says what rule it breaks.
    ///
    /// # Errors
    /// The event does not follow the one before it.
    pub fn follow(&mut self, packet: &Packet) -> Result<(), String> {
        if let Some(position) = packet.position() {
            return self.event(packet, position);
        }
        let data = packet.data();
        match packet.kind() {
            "subscribe_ack" => {
                for subscription in data["subscriptions"].as_array().into_iter().flatten() {
                    self.place(&subscription["topic"], &subscription["from"]);
                }
            }
            "gap" => self.place(&data["topic"], &data["resume_after"]),
            "unsubscribe_ack" => {
                for topic in data["topics"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    self.at.remove(topic);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The last position of a topic.
    #[must_use]
    pub fn position(&self, topic: &str) -> Option<Position> {
        self.at.get(topic).copied()
    }

    fn event(&mut self, packet: &Packet, position: Position) -> Result<(), String> {
        let prev = packet.prev().unwrap_or_default();
        match self.at.insert(packet.topic().to_owned(), position) {
            Some(before) if before.epoch != position.epoch => {
                Err(format!("{} follows {before} without a gap notice", packet.text()))
            }
            Some(before) if before.offset != prev => {
                let what = if prev < before.offset { "a repetition" } else { "a hole" };
                Err(format!("{what} in {}: offset {} (after {prev}) follows {before}", packet.topic(), position.offset))
            }
            _ => Ok(()),
        }
    }

    fn place(&mut self, topic: &Value, position: &Value) {
        if let (Some(topic), Ok(position)) = (topic.as_str(), serde_json::from_value::<Position>(position.clone())) {
            self.at.insert(topic.to_owned(), position);
        }
    }
}

/// Whether a packet is envelope v1.
///
/// # Errors
/// Which member is missing or wrong.
pub fn is_envelope(packet: &Packet) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("not envelope v1 ({what}): {}", packet.text()));
    if packet["v"] != 1 {
        return wrong("v");
    }
    for member in ["id", "topic", "type"] {
        if packet[member].as_str().is_none_or(str::is_empty) {
            return wrong(member);
        }
    }
    if !packet["ts"].is_number() {
        return wrong("ts");
    }
    if packet.json().get("data").is_none() { wrong("data") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: u64, prev: Option<u64>) -> Packet {
        let prev = prev.map(|prev| format!(",\"prev\":{prev}")).unwrap_or_default();
        Packet::new(format!(r#"{{"topic":"t","type":"x","epoch":"a","offset":{offset}{prev},"data":{{}}}}"#)).unwrap()
    }

    #[test]
    fn holes_and_repetitions_are_found() {
        let mut continuity = Continuity::default();
        continuity.follow(&event(5, None)).unwrap();
        continuity.follow(&event(6, None)).unwrap();
        continuity.follow(&event(9, Some(6))).unwrap();
        assert!(continuity.follow(&event(9, Some(6))).unwrap_err().contains("repetition"));
        assert!(continuity.follow(&event(11, None)).unwrap_err().contains("hole"));
    }

    #[test]
    fn a_gap_moves_the_place() {
        let mut continuity = Continuity::default();
        continuity.follow(&event(5, None)).unwrap();
        let gap =
            r#"{"type":"gap","topic":"t","data":{"topic":"t","reason":"trimmed","resume_after":{"epoch":"a","offset":20}}}"#;
        continuity.follow(&Packet::new(gap).unwrap()).unwrap();
        continuity.follow(&event(21, None)).unwrap();
        assert_eq!(continuity.position("t").unwrap().offset, 21);
    }
}
