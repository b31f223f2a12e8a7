//! MessagePack from outside into JSON text. Total: any bytes give a text or an error, in time and memory in proportion to their number.

use super::DEPTH_MAX;

/// Why bytes were refused. The texts are fit for the one who sent them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MsgpackError {
    /// The value goes on behind the last byte.
    #[error("the message ends within a value")]
    Truncated,
    /// A message is one value.
    #[error("bytes follow the message's value")]
    TrailingBytes,
    /// A form that has no counterpart in JSON.
    #[error("binary strings, extensions and timestamps have no JSON form; send them as text (the value begins with {0:#04x})")]
    Unsupported(u8),
    /// JSON's keys are texts.
    #[error("a map's key must be text")]
    KeyNotText,
    /// Readers would differ in which one they take.
    #[error("a map has the same key twice")]
    DuplicateKey,
    /// MessagePack's texts are UTF-8.
    #[error("a text is not valid UTF-8")]
    NotUtf8,
    /// Infinite, or not a number.
    #[error("a number must be finite")]
    NotFinite,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("the message is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// The limits of messages are limits of their JSON text, whatever the encoding.
    #[error("the message is longer than the allowed {bytes_max} bytes, counted as JSON")]
    TooLarge {
        /// The limit in force.
        bytes_max: usize,
    },
}

/// The JSON text of the one value in `bytes`. While it works it holds the text and eight bytes per key.
///
/// # Errors
/// [`MsgpackError`] says what was wrong, from the front on.
pub fn to_json(bytes: &[u8], text_bytes_max: usize) -> Result<String, MsgpackError> {
    let mut reader = Reader {
        bytes,
        at: 0,
        out: String::with_capacity((bytes.len() + bytes.len() / 2).min(text_bytes_max)),
        bytes_max: text_bytes_max,
        open: Vec::new(),
        keys: Vec::new(),
    };
    reader.read()?;
    if reader.at < bytes.len() { Err(MsgpackError::TrailingBytes) } else { Ok(reader.out) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
    bytes_max: usize,
    open: Vec<Open>,
    /// Of all open maps: where each key begins and ends. Messages of 4 GiB are beyond every limit.
    keys: Vec<(u32, u32)>,
}

/// An array or map that has not ended.
struct Open {
    /// Values still to come, the one being read included.
    left: usize,
    is_map: bool,
    /// Its keys begin here.
    keys_from: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Result<(), MsgpackError> {
        loop {
            if self.value()? {
                continue;
            }
            // A value has ended, and perhaps what it stands in.
            loop {
                let Some(open) = self.open.last_mut() else { return Ok(()) };
                open.left -= 1;
                if open.left > 0 {
                    let is_map = open.is_map;
                    self.push(",")?;
                    if is_map {
                        self.key()?;
                    }
                    break;
                }
                self.end()?;
            }
        }
    }

    /// Reads one value, or begins an array or map that has members: then the answer is true, and its first value comes next.
    fn value(&mut self) -> Result<bool, MsgpackError> {
        let [first] = self.take()?;
        match first {
            0x00..=0x7f => self.push(&first.to_string())?,
            0x80..=0x8f => return self.begin(usize::from(first & 0x0f), true),
            0x90..=0x9f => return self.begin(usize::from(first & 0x0f), false),
            0xa0..=0xbf | 0xd9..=0xdb => {
                let text = self.text(first)?;
                self.push_text(text)?;
            }
            0xc0 => self.push("null")?,
            0xc2 => self.push("false")?,
            0xc3 => self.push("true")?,
            0xca => {
                let number = f32::from_be_bytes(self.take()?);
                self.push_float(number.into())?;
            }
            0xcb => {
                let number = f64::from_be_bytes(self.take()?);
                self.push_float(number)?;
            }
            0xcc => self.push_number::<1>(|bytes| u8::from_be_bytes(bytes).into())?,
            0xcd => self.push_number::<2>(|bytes| u16::from_be_bytes(bytes).into())?,
            0xce => self.push_number::<4>(|bytes| u32::from_be_bytes(bytes).into())?,
            0xcf => self.push_number::<8>(|bytes| u64::from_be_bytes(bytes).into())?,
            0xd0 => self.push_number::<1>(|bytes| i8::from_be_bytes(bytes).into())?,
            0xd1 => self.push_number::<2>(|bytes| i16::from_be_bytes(bytes).into())?,
            0xd2 => self.push_number::<4>(|bytes| i32::from_be_bytes(bytes).into())?,
            0xd3 => self.push_number::<8>(|bytes| i64::from_be_bytes(bytes).into())?,
            0xdc => {
                let count = u16::from_be_bytes(self.take()?);
                return self.begin(count.into(), false);
            }
            0xdd => {
                let count = u32::from_be_bytes(self.take()?);
                return self.begin(count as usize, false);
            }
            0xde => {
                let count = u16::from_be_bytes(self.take()?);
                return self.begin(count.into(), true);
            }
            0xdf => {
                let count = u32::from_be_bytes(self.take()?);
                return self.begin(count as usize, true);
            }
            0xe0..=0xff => self.push(&(first as i8).to_string())?,
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => return Err(MsgpackError::Unsupported(first)),
        }
        Ok(false)
    }

    fn begin(&mut self, count: usize, is_map: bool) -> Result<bool, MsgpackError> {
        if count == 0 {
            self.push(if is_map { "{}" } else { "[]" })?;
            return Ok(false);
        }
        // Every member takes a byte, a map's two: what cannot be there is not waited for.
        if count.saturating_mul(1 + usize::from(is_map)) > self.bytes.len() - self.at {
            return Err(MsgpackError::Truncated);
        }
        if self.open.len() == DEPTH_MAX {
            return Err(MsgpackError::TooDeep);
        }
        self.open.push(Open { left: count, is_map, keys_from: self.keys.len() });
        self.push(if is_map { "{" } else { "[" })?;
        if is_map {
            self.key()?;
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<(), MsgpackError> {
        let Some(Open { is_map, keys_from, .. }) = self.open.pop() else { return Ok(()) };
        if !is_map {
            return self.push("]");
        }
        let (bytes, keys) = (self.bytes, &mut self.keys[keys_from..]);
        let key = |&(from, to): &(u32, u32)| &bytes[from as usize..to as usize];
        // Sorted, because a table of hashes would be the sender's to fill.
        keys.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        if keys.windows(2).any(|two| key(&two[0]) == key(&two[1])) {
            return Err(MsgpackError::DuplicateKey);
        }
        self.keys.truncate(keys_from);
        self.push("}")
    }

    fn key(&mut self) -> Result<(), MsgpackError> {
        let [first] = self.take()?;
        if !matches!(first, 0xa0..=0xbf | 0xd9..=0xdb) {
            return Err(MsgpackError::KeyNotText);
        }
        let text = self.text(first)?;
        self.keys.push(((self.at - text.len()) as u32, self.at as u32));
        self.push_text(text)?;
        self.push(":")
    }

    /// The text whose header begins with `first`.
    fn text(&mut self, first: u8) -> Result<&'a str, MsgpackError> {
        let length = match first {
            0xd9 => u8::from_be_bytes(self.take()?).into(),
            0xda => u16::from_be_bytes(self.take()?).into(),
            0xdb => u32::from_be_bytes(self.take()?) as usize,
            _ => usize::from(first & 0x1f),
        };
        let text = self.bytes[self.at..].get(..length).ok_or(MsgpackError::Truncated)?;
        self.at += length;
        std::str::from_utf8(text).map_err(|_| MsgpackError::NotUtf8)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let bytes = self.bytes[self.at..].first_chunk().ok_or(MsgpackError::Truncated)?;
        self.at += N;
        Ok(*bytes)
    }

    fn push_number<const N: usize>(&mut self, read: impl FnOnce([u8; N]) -> i128) -> Result<(), MsgpackError> {
        let number = read(self.take()?);
        self.push(&number.to_string())
    }

    fn push_float(&mut self, number: f64) -> Result<(), MsgpackError> {
        if !number.is_finite() {
            return Err(MsgpackError::NotFinite);
        }
        // The fewest digits that are this double, in a form that is also JSON's.
        self.push(&format!("{number:?}"))
    }

    fn push_text(&mut self, text: &str) -> Result<(), MsgpackError> {
        self.push("\"")?;
        let mut plain_from = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escaped = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0x8 => "\\b",
                0xc => "\\f",
                0..0x20 => "",
                _ => continue,
            };
            self.push(&text[plain_from..at])?;
            if escaped.is_empty() {
                self.push(&format!("\\u{byte:04x}"))?
            } else {
                self.push(escaped)?
            }
            plain_from = at + 1;
        }
        self.push(&text[plain_from..])?;
        self.push("\"")
    }

    fn push(&mut self, text: &str) -> Result<(), MsgpackError> {
        if self.out.len() + text.len() > self.bytes_max {
            return Err(MsgpackError::TooLarge { bytes_max: self.bytes_max });
        }
        self.out.push_str(text);
        Ok(())
    }
}
