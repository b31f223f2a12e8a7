//! From bytes as they arrive to whole messages. Holds no memory between messages, and copies only what arrived in pieces.

use crate::assembly::{Assembly, Text};
use crate::error::ProtocolError;
use crate::header::{Expected, HEADER_BYTES_MAX, Header, Opcode, Role};
use crate::mask;
use crate::message::Message;

/// What a peer may make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, over all its fragments. A frame that would exceed it is refused from its header; what inflates beyond it, while
    /// it does.
    pub message_bytes_max: usize,
    /// The most frames that one message may come in: many tiny fragments are an attack on the processor. 0 counts as 1.
    pub fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 1 << 20, fragments_max: 1024 }
    }
}

/// Decodes one direction of one connection.
///
/// 16 bytes while idle, with and without compression; a frame that arrives in pieces, or a fragmented message, costs a small box and a buffer of what arrived.
pub struct Decoder {
    partial: Option<Box<Partial>>,
    role: Role,
    deflate: bool,
}

/// What arrived and is not yet handed out. `Decoder::partial` is `None` instead of an empty one of these.
#[derive(Default)]
struct Partial {
    /// The bytes of a header that is not whole; used while `frame` is `None`.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    frame: Option<OpenFrame>,
    /// Payload of a control frame that came in pieces, at most 125 bytes; apart from the message because it may stand within one.
    control: Vec<u8>,
    message: Option<OpenMessage>,
    /// What the last call handed out and the next one releases.
    delivered: Option<Delivered>,
}

struct OpenFrame {
    fin: bool,
    opcode: Opcode,
    /// Turned to the next byte.
    key: [u8; 4],
    remaining_bytes: usize,
}

struct OpenMessage {
    assembly: Assembly,
    fragments: u32,
}

#[derive(Clone, Copy)]
enum Delivered {
    Control(Opcode),
    Message,
}

enum Step<'i> {
    NeedMore,
    InPlace(Message<'i>),
    Assembled,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self { partial: None, role, deflate: false }
    }

    /// From now on messages may be compressed: permessage-deflate was [agreed upon](crate::extensions).
    pub fn allow_compressed(&mut self) {
        self.deflate = true;
    }

    /// Takes bytes from the front of `input`, unmasking them in place, and returns the next whole message or control frame, in the order of
    /// arrival. `None`: all of `input` was taken, and what is not whole yet is kept inside.
    ///
    /// A message that lies in one frame wholly inside `input` is returned as a slice of it. Any other is assembled inside, and its memory is
    /// released by the next call. Call until `None`, so that nothing stays behind.
    ///
    /// How the bytes are cut into inputs never changes the outcome: an error comes with the first byte that makes it certain; one inside a
    /// compressed message, with its last.
    ///
    /// # Errors
    /// [`ProtocolError`] says which rule the peer broke. The rest of `input` is taken and all memory released; feed no more bytes.
    pub fn next<'m, 'i: 'm>(
        &'m mut self,
        limits: &Limits,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Message<'m>>, ProtocolError> {
        self.release_delivered();
        let step = self.advance(limits, input).inspect_err(|_| {
            self.partial = None;
            *input = &mut [];
        })?;
        match step {
            Step::NeedMore => Ok(None),
            Step::InPlace(message) => Ok(Some(message)),
            Step::Assembled => self.partial.as_ref().map_or(Ok(None), |partial| partial.deliver()),
        }
    }

    /// Whether the stream stands between two messages, with nothing held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Heap bytes held for what arrived in pieces; 0 when idle. At most twice the message limit plus a few hundred bytes, because buffers grow
    /// by doubling. While a compressed message is inflated, its compressed form is held beside, once more as much.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |message| message.assembly.heap_bytes());
            size_of::<Partial>() + partial.control.capacity() + message
        })
    }

    fn advance<'i>(&mut self, limits: &Limits, input: &mut &'i mut [u8]) -> Result<Step<'i>, ProtocolError> {
        loop {
            if let Some(partial) = &mut self.partial
                && partial.frame.is_some()
            {
                if let Some(delivered) = partial.fill_frame(input, limits)? {
                    partial.delivered = Some(delivered);
                    return Ok(Step::Assembled);
                }
                if partial.frame.is_some() {
                    return Ok(Step::NeedMore);
                }
            }
            let Some(header) = self.read_header(limits, input)? else { return Ok(Step::NeedMore) };
            let whole = header.fin && header.opcode != Opcode::Continuation && header.payload_bytes <= input.len();
            if whole {
                let payload = take(input, header.payload_bytes);
                mask::apply(payload, &mut { header.key });
                if header.compressed {
                    let is_text = header.opcode == Opcode::Text;
                    let assembly = Assembly::inflated(payload, is_text, limits.message_bytes_max)?;
                    let partial = self.partial.get_or_insert_default();
                    partial.message = Some(OpenMessage { assembly, fragments: 1 });
                    partial.delivered = Some(Delivered::Message);
                    return Ok(Step::Assembled);
                }
                self.drop_if_empty();
                return Ok(Step::InPlace(Message::from_frame(header.opcode, payload)?));
            }
            self.partial.get_or_insert_default().open_frame(&header, limits)?;
        }
    }

    /// Reads a header from what is held and from `input`; `None` if both together do not make one, and `input` is then empty.
    fn read_header(&mut self, limits: &Limits, input: &mut &mut [u8]) -> Result<Option<Header>, ProtocolError> {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let held_bytes = message.map_or(0, |message| message.assembly.len());
        let expected = Expected {
            role: self.role,
            deflate: self.deflate,
            in_message: message.is_some(),
            room_bytes: limits.message_bytes_max.saturating_sub(held_bytes),
            message_bytes_max: limits.message_bytes_max,
        };
        let held = self.partial.as_ref().map_or(0, |partial| partial.header_len);
        if held == 0 {
            if let Some(header) = Header::parse(input, &expected)? {
                take(input, header.header_bytes);
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        let partial = self.partial.get_or_insert_default();
        while !input.is_empty() {
            // In bounds: a header of the greatest length is whole, so the parser never asks for another byte.
            partial.header[partial.header_len] = take(input, 1)[0];
            partial.header_len += 1;
            if let Some(header) = Header::parse(&partial.header[..partial.header_len], &expected)? {
                partial.header_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn release_delivered(&mut self) {
        if let Some(partial) = &mut self.partial
            && let Some(delivered) = partial.delivered.take()
        {
            match delivered {
                Delivered::Control(_) => partial.control = Vec::new(),
                Delivered::Message => partial.message = None,
            }
            self.drop_if_empty();
        }
    }

    fn drop_if_empty(&mut self) {
        if let Some(partial) = &self.partial
            && partial.header_len == 0
            && partial.frame.is_none()
            && partial.message.is_none()
        {
            self.partial = None;
        }
    }
}

impl Partial {
    /// Starts a frame whose payload must be kept.
    fn open_frame(&mut self, header: &Header, limits: &Limits) -> Result<(), ProtocolError> {
        match header.opcode {
            Opcode::Text | Opcode::Binary if header.compressed => {
                self.open_message(Assembly::Compressed { bytes: Vec::new(), is_text: header.opcode == Opcode::Text });
            }
            Opcode::Text => self.open_message(Assembly::Text(Text::default())),
            Opcode::Binary => self.open_message(Assembly::Binary(Vec::new())),
            _ => {}
        }
        if !header.opcode.is_control()
            && let Some(message) = &mut self.message
        {
            if message.fragments >= limits.fragments_max.max(1) {
                return Err(ProtocolError::TooManyFragments { fragments_max: limits.fragments_max });
            }
            message.fragments += 1;
        }
        let Header { fin, opcode, key, payload_bytes: remaining_bytes, .. } = *header;
        self.frame = Some(OpenFrame { fin, opcode, key, remaining_bytes });
        Ok(())
    }

    fn open_message(&mut self, assembly: Assembly) {
        self.message = Some(OpenMessage { assembly, fragments: 0 });
    }

    /// Moves what belongs to the open frame out of `input`. Says what is whole with it, if anything.
    fn fill_frame(&mut self, input: &mut &mut [u8], limits: &Limits) -> Result<Option<Delivered>, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        let piece = take(input, frame.remaining_bytes.min(input.len()));
        mask::apply(piece, &mut frame.key);
        frame.remaining_bytes -= piece.len();
        let (opcode, whole, fin) = (frame.opcode, frame.remaining_bytes == 0, frame.fin);
        if whole {
            self.frame = None;
        }
        if opcode.is_control() {
            self.control.extend_from_slice(piece);
            if whole {
                Message::from_frame(opcode, &self.control)?;
                return Ok(Some(Delivered::Control(opcode)));
            }
        } else if let Some(message) = &mut self.message {
            message.assembly.push(piece)?;
            if whole && fin {
                message.assembly.finish(limits.message_bytes_max)?;
                return Ok(Some(Delivered::Message));
            }
        }
        Ok(None)
    }

    fn deliver(&self) -> Result<Option<Message<'_>>, ProtocolError> {
        match self.delivered {
            Some(Delivered::Control(opcode)) => Message::from_frame(opcode, &self.control).map(Some),
            Some(Delivered::Message) => Ok(self.message.as_ref().map(|message| message.assembly.message())),
            None => Ok(None),
        }
    }
}

/// Takes the first `count` bytes, which must be there.
fn take<'i>(input: &mut &'i mut [u8], count: usize) -> &'i mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(count);
    *input = rest;
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::write_masked_frame;

    #[test]
    fn an_idle_decoder_is_small_and_holds_nothing() {
        assert!(size_of::<Decoder>() <= 16);
        let (mut decoder, limits) = (Decoder::new(Role::Server), Limits::default());
        let mut bytes = Vec::new();
        write_masked_frame(&mut bytes, Opcode::Text, b"cut in two", [1, 2, 3, 4]);
        let (mut first, mut second) = bytes.split_at_mut(9);
        assert_eq!(decoder.next(&limits, &mut first), Ok(None));
        assert!(!decoder.is_idle() && decoder.buffered_bytes() > 0);
        assert_eq!(decoder.next(&limits, &mut second), Ok(Some(Message::Text("cut in two"))));
        assert_eq!(decoder.next(&limits, &mut second), Ok(None));
        assert!(decoder.is_idle() && decoder.buffered_bytes() == 0);
    }

    #[test]
    fn what_a_header_announces_is_not_allocated() {
        let (mut decoder, limits) = (Decoder::new(Role::Server), Limits::default());
        let mut bytes = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4, 0x55];
        assert_eq!(decoder.next(&limits, &mut &mut bytes[..]), Ok(None));
        assert!(decoder.buffered_bytes() < 512, "{}", decoder.buffered_bytes());
    }

    #[test]
    fn an_error_takes_the_input_and_releases_the_memory() {
        let (mut decoder, limits) = (Decoder::new(Role::Client), Limits::default());
        let mut bytes = *b"\x02\x03abc\xff\xff\xff";
        let mut input = &mut bytes[..];
        assert_eq!(decoder.next(&limits, &mut input), Err(ProtocolError::ReservedBits(0xff)));
        assert!(input.is_empty() && decoder.is_idle());
    }
}
