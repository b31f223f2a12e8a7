//! Positions: where an event stands in its topic's history.
//!
//! A position is the pair (epoch, offset) and never the offset alone. Example: a topic's log was lost and began again; its new
//! offset 7 is not the event that a client saw as offset 7. The log gives the new history a new epoch, so the client's
//! `(old epoch, 7)` is answered with an explicit gap and not, silently, with the wrong events.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Number of an event within an epoch. The first event has offset 1; 0 stands for "before the first event".
/// Kept below 2^53, so that JavaScript can hold it in a number.
pub type Offset = u64;

/// Identity of one unbroken history of a topic. It changes whenever continuity cannot be proven. Opaque: compare for equality only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Where an event stands: comparable only within one epoch. On the wire `{"epoch":"19a9c3b2f41","offset":42}`, as text `19a9c3b2f41-42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The history that the offset counts in.
    pub epoch: Epoch,
    /// The event's number in that history.
    #[serde(deserialize_with = "offset_within_bounds")]
    pub offset: Offset,
}

/// One more than the greatest [`Offset`].
const OFFSET_END: u64 = 1 << 53;

/// A text was not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position; a position looks like `19a9c3b2f41-42`: the epoch, a dash, the offset")]
pub struct PositionError;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        // `from_str_radix` would also take a sign.
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(PositionError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| PositionError)
    }
}

impl Serialize for Epoch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Epoch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Epoch".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": "^[0-9a-f]{1,16}$",
            "description": "Identity of one unbroken history of a topic. Opaque: compare for equality only."
        })
    }
}

impl schemars::JsonSchema for Position {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Position".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let epoch = generator.subschema_for::<Epoch>();
        schemars::json_schema!({
            "type": "object", "required": ["epoch", "offset"],
            "description": "Where an event stands in its topic's history.",
            "properties": {
                "epoch": epoch,
                "offset": { "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64,
                    "description": "Number of the event within its epoch; the first is 1, and 0 stands for before the first." }
            }
        })
    }
}

impl Position {
    /// The position before the first event of an epoch.
    #[must_use]
    pub fn start_of(epoch: Epoch) -> Self {
        Self { epoch, offset: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = text.split_once('-').ok_or(PositionError)?;
        if offset.is_empty() || !offset.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PositionError);
        }
        let offset = offset.parse::<u64>().map_err(|_| PositionError)?;
        if offset >= OFFSET_END {
            return Err(PositionError);
        }
        Ok(Self { epoch: epoch.parse()?, offset })
    }
}

/// A position in JSON may be no other than one in text.
fn offset_within_bounds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Offset, D::Error> {
    let offset = u64::deserialize(deserializer)?;
    if offset < OFFSET_END { Ok(offset) } else { Err(serde::de::Error::custom(PositionError)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back(epoch: u64, offset in 0_u64..1 << 53) {
            let position = Position { epoch: Epoch(epoch), offset };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
            let json = serde_json::to_string(&position).unwrap();
            prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = text.parse::<Position>();
        }
    }

    #[test]
    fn near_misses_are_refused() {
        for bad in ["", "-", "1-", "-1", "1-+2", "+1-2", "1-2-3", "g-1", "1-9007199254740992", "11111111111111111-1"] {
            assert_eq!(bad.parse::<Position>(), Err(PositionError), "{bad}");
        }
        // Found by fuzzing: JSON took offsets that the text form refuses.
        for bad in ["9007199254740992", "18446744073709551615", "-1", "1.5"] {
            assert!(serde_json::from_str::<Position>(&format!(r#"{{"epoch":"1","offset":{bad}}}"#)).is_err(), "{bad}");
        }
    }
}
