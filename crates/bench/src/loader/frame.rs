//! WebSocket frames as a client sees them: reads a server's unmasked frames out of a buffer, and writes masked ones.
//!
//! It does not assemble fragments: no system measured here sends any, and one that did would have to be reported rather than
//! counted wrongly.

/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 0x2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping frame.
pub const PING: u8 = 0x9;
/// Opcode of a pong frame.
pub const PONG: u8 = 0xA;

/// What stands at the start of the bytes given to [`parse`].
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole frame; it and its header took `length` bytes. The payload of a data frame may be compressed (RSV1).
    Frame { opcode: u8, compressed: bool, payload: &'a [u8], length: usize },
    /// The frame has not wholly arrived.
    Incomplete,
    /// Masked, fragmented, or of an extension that this loader does not know.
    Unexpected,
}

/// Reads one server frame.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let [first, second, rest @ ..] = bytes else { return Parsed::Incomplete };
    let (opcode, finished, compressed) = (first & 0x0F, first & 0x80 != 0, first & 0x40 != 0);
    if !finished || first & 0x30 != 0 || (compressed && opcode > BINARY) || second & 0x80 != 0 || opcode == 0 {
        return Parsed::Unexpected;
    }
    let (size, header) = match (second, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
        (126 | 127, _) => return Parsed::Incomplete,
        (short, _) => (u64::from(*short), 2),
    };
    let Ok(size) = usize::try_from(size) else { return Parsed::Unexpected };
    let Some(length) = size.checked_add(header) else { return Parsed::Unexpected };
    match bytes.get(header..length) {
        Some(payload) => Parsed::Frame { opcode, compressed, payload, length },
        None => Parsed::Incomplete,
    }
}

/// Appends one masked client frame to `out`.
pub fn encode(opcode: u8, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_incomplete_until_its_last_byte_is_there() {
        for size in [0usize, 1, 125, 126, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match size {
                0..=125 => bytes.push(size as u8),
                126..=0xFFFF => bytes.extend([&[126][..], &(size as u16).to_be_bytes()].concat()),
                _ => bytes.extend([&[127][..], &(size as u64).to_be_bytes()].concat()),
            }
            bytes.resize(bytes.len() + size, b'x');
            let whole = bytes.len();
            if whole > 0 {
                assert_eq!(parse(&bytes[..whole - 1]), Parsed::Incomplete, "{size}");
            }
            bytes.push(0x81);
            let Parsed::Frame { opcode, compressed: false, payload, length } = parse(&bytes) else {
                panic!("{size} was not read")
            };
            assert_eq!((opcode, payload.len(), length), (TEXT, size, whole));
        }
    }

    #[test]
    fn what_the_loader_did_not_ask_for_is_told_apart() {
        for (name, bytes) in
            [("masked", [0x81, 0x80]), ("fragment", [0x01, 0]), ("continuation", [0x80, 0]), ("compressed ping", [0xC9, 0])]
        {
            assert_eq!(parse(&bytes), Parsed::Unexpected, "{name}");
        }
    }

    #[test]
    fn a_masked_frame_unmasks_to_what_went_in() {
        let mut out = Vec::new();
        encode(TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
        // RFC 6455, section 5.7.
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Parsed::Frame { length, .. } = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
