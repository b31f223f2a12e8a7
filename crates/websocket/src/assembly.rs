//! A message that did not arrive in one piece. Its buffer grows with the bytes that really arrived, never with what a header announces.

use crate::error::ProtocolError;
use crate::message::Message;

/// The payload so far.
pub(crate) enum Assembly {
    Text(Text),
    Binary(Vec<u8>),
}

/// Text checked as it arrives (RFC 6455 section 8.1): the first impossible byte fails, not the end of the message.
#[derive(Default)]
pub(crate) struct Text {
    whole: String,
    /// The first bytes of a character that the last piece cut; a valid prefix, so at most three.
    cut: [u8; 4],
    cut_len: usize,
}

impl Assembly {
    /// Payload bytes held.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.len() + text.cut_len,
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }

    /// Takes the next piece of the payload.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) => text.push(piece),
            Self::Binary(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// Called once the last piece is in: a text may not end within a character.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) if text.cut_len > 0 => Err(ProtocolError::InvalidText),
            _ => Ok(()),
        }
    }

    /// The message, once [`Assembly::finish`] found it whole.
    pub fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(&text.whole),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl Text {
    fn push(&mut self, mut piece: &[u8]) -> Result<(), ProtocolError> {
        while self.cut_len > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            // In bounds: four bytes are a character or an error, never a prefix.
            self.cut[self.cut_len] = byte;
            self.cut_len += 1;
            piece = rest;
            match std::str::from_utf8(&self.cut[..self.cut_len]) {
                Ok(character) => {
                    self.whole.push_str(character);
                    self.cut_len = 0;
                }
                Err(e) if e.error_len().is_none() => {}
                Err(_) => return Err(ProtocolError::InvalidText),
            }
        }
        match std::str::from_utf8(piece) {
            Ok(text) => self.whole.push_str(text),
            // `error_len` is `None` only for a prefix that some further byte could complete.
            Err(e) if e.error_len().is_none() => {
                let (text, cut) = piece.split_at(e.valid_up_to());
                self.whole.push_str(std::str::from_utf8(text).map_err(|_| ProtocolError::InvalidText)?);
                self.cut[..cut.len()].copy_from_slice(cut);
                self.cut_len = cut.len();
            }
            Err(_) => return Err(ProtocolError::InvalidText),
        }
        Ok(())
    }
}
