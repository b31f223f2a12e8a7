//! Opaque paging tokens of the REST API and of SSE's `Last-Event-ID`.
//!
//! A token is the base64url of a short text, so that nobody is tempted to do arithmetic on it. It holds no secret and is not
//! signed: what it points to is authorised anew whenever it is used.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::position::{Position, PositionError};
use crate::topic::TopicName;

/// The longest token that is read, in bytes.
pub const CURSOR_BYTES_MAX: usize = 8 * 1024;

/// Writes a position as a token.
#[must_use]
pub fn encode(position: Position) -> String {
    URL_SAFE_NO_PAD.encode(position.to_string())
}

/// Reads a token, or a position in plain text.
///
/// # Errors
/// [`PositionError`] if it is neither.
pub fn decode(token: &str) -> Result<Position, PositionError> {
    if let Ok(position) = token.parse() {
        return Ok(position);
    }
    text_of(token)?.parse()
}

/// Writes the positions of several topics as one token.
#[must_use]
pub fn encode_many<'a>(positions: impl Iterator<Item = (&'a TopicName, Position)>) -> String {
    let parts: Vec<String> = positions.map(|(topic, position)| format!("{position} {topic}")).collect();
    URL_SAFE_NO_PAD.encode(parts.join(","))
}

/// Reads what [`encode_many`] wrote.
///
/// # Errors
/// [`PositionError`] if it is something else.
pub fn decode_many(token: &str) -> Result<Vec<(TopicName, Position)>, PositionError> {
    text_of(token)?
        .split(',')
        .map(|part| {
            let (position, topic) = part.split_once(' ').ok_or(PositionError)?;
            Ok((TopicName::new(topic).map_err(|_| PositionError)?, position.parse()?))
        })
        .collect()
}

fn text_of(token: &str) -> Result<String, PositionError> {
    if token.len() > CURSOR_BYTES_MAX {
        return Err(PositionError);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PositionError)?;
    String::from_utf8(bytes).map_err(|_| PositionError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    #[test]
    fn tokens_come_back_and_garbage_does_not() {
        let position = Position { epoch: Epoch(0xabc), offset: 7 };
        assert_eq!(decode(&encode(position)), Ok(position));
        assert_eq!(decode("abc-7"), Ok(position));
        let topics = [TopicName::new("user:1").unwrap(), TopicName::new("system").unwrap()];
        let token = encode_many(topics.iter().map(|t| (t, position)));
        assert_eq!(decode_many(&token).unwrap(), topics.map(|t| (t, position)).to_vec());
        for bad in ["", "!", "AAAA", &"A".repeat(9000)] {
            assert_eq!(decode(bad), Err(PositionError));
            assert_eq!(decode_many(bad), Err(PositionError));
        }
    }
}
