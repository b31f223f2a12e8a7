//! Feeds bytes to a decoder in given pieces and writes down what comes out.

use towline_websocket::{Decoder, Limits, Message, ProtocolError, Role};

/// A [`Message`] that outlives the buffer it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Message<'_>> for Seen {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(bytes) => Self::Binary(bytes.into()),
            Message::Ping(bytes) => Self::Ping(bytes.into()),
            Message::Pong(bytes) => Self::Pong(bytes.into()),
            Message::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.into()))),
        }
    }
}

/// What a stream of bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub messages: Vec<Seen>,
    pub error: Option<ProtocolError>,
    /// Whether the bytes ended between two messages.
    pub idle: bool,
}

/// Feeds `bytes` cut into `pieces` (lengths; the last piece is the rest). With the outcome, how many bytes had been fed when it failed.
pub fn feed(role: Role, limits: &Limits, bytes: &[u8], pieces: impl IntoIterator<Item = usize>) -> (Outcome, usize) {
    feed_to(Decoder::new(role), limits, bytes, pieces)
}

/// The same to a decoder that is ready for it.
pub fn feed_to(mut decoder: Decoder, limits: &Limits, bytes: &[u8], pieces: impl IntoIterator<Item = usize>) -> (Outcome, usize) {
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    let (mut messages, mut fed) = (Vec::new(), 0);
    for length in pieces.into_iter().chain([usize::MAX]) {
        let length = length.min(rest.len());
        let (mut piece, after) = std::mem::take(&mut rest).split_at_mut(length);
        rest = after;
        fed += piece.len();
        loop {
            match decoder.next(limits, &mut piece) {
                Ok(Some(message)) => messages.push(message.into()),
                Ok(None) => break,
                Err(error) => return (Outcome { messages, error: Some(error), idle: decoder.is_idle() }, fed),
            }
        }
        assert!(piece.is_empty(), "`None` means that all input was taken");
        let bound = 2 * limits.message_bytes_max + 1024;
        assert!(decoder.buffered_bytes() <= bound, "{} bytes are held", decoder.buffered_bytes());
        assert_eq!(decoder.is_idle(), decoder.buffered_bytes() == 0);
    }
    (Outcome { messages, error: None, idle: decoder.is_idle() }, fed)
}
