//! A message that did not arrive in one piece. Its buffer grows with the bytes that really arrived, never with what a header announces.

use crate::deflate::inflate;
use crate::error::ProtocolError;
use crate::message::Message;

/// The payload so far.
pub(crate) enum Assembly {
    Text(Text),
    Binary(Vec<u8>),
    /// Compressed, until the last piece is in: only then is it inflated, so that no inflater waits with it.
    Compressed {
        bytes: Vec<u8>,
        is_text: bool,
    },
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
    /// A message that came compressed and in one piece.
    pub fn inflated(compressed: &[u8], is_text: bool, bytes_max: usize) -> Result<Self, ProtocolError> {
        let bytes = inflate(compressed, bytes_max)?;
        if !is_text {
            return Ok(Self::Binary(bytes));
        }
        let whole = String::from_utf8(bytes).map_err(|_| ProtocolError::InvalidText)?;
        Ok(Self::Text(Text { whole, ..Text::default() }))
    }

    /// Payload bytes held.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.len() + text.cut_len,
            Self::Binary(bytes) | Self::Compressed { bytes, .. } => bytes.len(),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.capacity(),
            Self::Binary(bytes) | Self::Compressed { bytes, .. } => bytes.capacity(),
        }
    }

    /// Takes the next piece of the payload.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) => text.push(piece),
            Self::Binary(bytes) | Self::Compressed { bytes, .. } => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// Called once the last piece is in: a text may not end within a character, and what is compressed is inflated to at most `bytes_max`.
    pub fn finish(&mut self, bytes_max: usize) -> Result<(), ProtocolError> {
        match self {
            Self::Text(text) if text.cut_len > 0 => return Err(ProtocolError::InvalidText),
            Self::Compressed { bytes, is_text } => *self = Self::inflated(bytes, *is_text, bytes_max)?,
            _ => {}
        }
        Ok(())
    }

    /// The message, once [`Assembly::finish`] found it whole.
    pub fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(&text.whole),
            Self::Binary(bytes) | Self::Compressed { bytes, .. } => Message::Binary(bytes),
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
