//! permessage-deflate (RFC 7692) without context takeover: every message is compressed and inflated by itself.
//!
//! That is what lets a server compress a message once for all who get it, and what lets a connection own no compression state at all: each
//! thread keeps one inflater (about 50 KB) and one deflater per window in use (about 300 KB), from the first message that needs it.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::ProtocolError;

/// What a sync flush ends with; it does not travel (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Final blocks that one message may have. The RFC allows them (section 7.2.3.4), and nobody needs more than one; each makes the inflater
/// start over, which many tiny ones would turn into work.
const FINAL_BLOCKS_MAX: u32 = 16;
/// Room for the output to begin with, per byte of input: JSON grows three- to tenfold.
const GROWTH: usize = 4;

/// How far back the compressor may refer: what the receiver has to remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 32 KiB: what everybody has who says nothing.
    Full,
    /// 512 bytes, for receivers with little memory.
    Small,
}

impl Window {
    /// The base-2 logarithm of its size.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Full => 15,
            Self::Small => 9,
        }
    }
}

thread_local! {
    static DEFLATERS: RefCell<[Option<(u32, Compress)>; 2]> = const { RefCell::new([None, None]) };
    static INFLATER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// Appends the compressed form of a message's payload, as it stands in a frame with RSV1. The same input gives the same bytes. `level` is
/// zlib's, 1 to 9.
///
/// False, with nothing appended, if compression makes the payload no shorter: then it goes out as it is.
pub fn deflate(payload: &[u8], level: u32, window: Window, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    DEFLATERS.with_borrow_mut(|deflaters| {
        let slot = &mut deflaters[usize::from(window == Window::Small)];
        if slot.as_ref().is_none_or(|(of_level, _)| *of_level != level) {
            let deflater = Compress::new_with_window_bits(Compression::new(level), false, window.bits());
            *slot = Some((level, deflater));
        }
        let Some((_, deflater)) = slot else { return false };
        deflater.reset();
        // Whatever does not fit into the payload's own length is not wanted.
        out.reserve(payload.len() + TAIL.len());
        let flushed = deflater.compress_vec(payload, out, FlushCompress::Sync);
        // Room that is left says that nothing waits to be written.
        let whole =
            matches!(flushed, Ok(Status::Ok)) && deflater.total_in() == payload.len() as u64 && out.len() < out.capacity();
        let shorter = whole && out.ends_with(&TAIL);
        out.truncate(if shorter { out.len() - TAIL.len() } else { start });
        if out.len() >= start + payload.len() {
            out.truncate(start);
        }
        out.len() > start
    })
}

/// The payload of a message that came with RSV1. Never holds more than `bytes_max` bytes of it.
pub(crate) fn inflate(compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, ProtocolError> {
    INFLATER.with_borrow_mut(|inflater| {
        let inflater = inflater.get_or_insert_with(|| Decompress::new(false));
        let mut out = Vec::with_capacity(compressed.len().saturating_mul(GROWTH).clamp(64, bytes_max.max(64)));
        let mut final_blocks = 0;
        inflater.reset(false);
        for mut input in [compressed, &TAIL] {
            loop {
                if out.len() == out.capacity() {
                    // One byte more than allowed has room, so that it can be seen to come.
                    let more = out.len().max(64).min((bytes_max + 1).saturating_sub(out.len()));
                    out.reserve_exact(more);
                }
                let before = (inflater.total_in(), out.len());
                let status = inflater.decompress_vec(input, &mut out, FlushDecompress::Sync);
                let taken = (inflater.total_in() - before.0) as usize;
                input = &input[taken..];
                if out.len() > bytes_max {
                    return Err(ProtocolError::MessageTooBig { bytes_max });
                }
                match status {
                    Ok(Status::StreamEnd) => {
                        final_blocks += 1;
                        if final_blocks > FINAL_BLOCKS_MAX {
                            return Err(ProtocolError::InvalidDeflate);
                        }
                        inflater.reset(false);
                    }
                    Ok(_) if taken > 0 || out.len() > before.1 => {}
                    // No input left, and no output without it.
                    Ok(_) if input.is_empty() => break,
                    Ok(_) | Err(_) => return Err(ProtocolError::InvalidDeflate),
                }
                if input.is_empty() && out.len() < out.capacity() {
                    break;
                }
            }
        }
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflated(payload: &[u8], window: Window) -> Option<Vec<u8>> {
        deflated_at(6, payload, window)
    }

    fn deflated_at(level: u32, payload: &[u8], window: Window) -> Option<Vec<u8>> {
        let mut out = b"head".to_vec();
        let shorter = deflate(payload, level, window, &mut out);
        assert_eq!(&out[..4], b"head");
        assert_eq!(shorter, out.len() > 4);
        shorter.then(|| out.split_off(4))
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // Section 7.2.3: one block, two blocks, a stored block, a final block with what must follow it; and an empty message.
        for bytes in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        ] {
            assert_eq!(inflate(bytes, 5).as_deref(), Ok(&b"Hello"[..]), "{bytes:x?}");
            assert_eq!(inflate(bytes, 4), Err(ProtocolError::MessageTooBig { bytes_max: 4 }), "{bytes:x?}");
        }
        assert_eq!(inflate(&[0x00], 5).as_deref(), Ok(&b""[..]));
        assert_eq!(inflate(&[0xff; 9], 5), Err(ProtocolError::InvalidDeflate));
    }

    #[test]
    fn what_is_compressed_comes_back_through_both_windows() {
        let json: String = (0..2_000).map(|n| format!(r#"{{"n":{n},"text":"again and again"}},"#)).collect();
        for (window, level) in
            [Window::Full, Window::Small].into_iter().flat_map(|window| (1..=9).map(move |level| (window, level)))
        {
            for length in [100, 1_000, json.len()] {
                let payload = &json.as_bytes()[..length];
                let compressed = deflated_at(level, payload, window).unwrap();
                assert!(compressed.len() < length && !compressed.ends_with(&TAIL));
                assert_eq!(deflated_at(level, payload, window).as_ref(), Some(&compressed), "the same each time");
                assert_eq!(inflate(&compressed, length).unwrap(), payload);
                // Somebody who remembers only as much as was promised.
                let mut other = Decompress::new_with_window_bits(false, window.bits());
                let mut out = Vec::with_capacity(length);
                for piece in compressed.chunks(7).chain([&TAIL[..]]) {
                    other.decompress_vec(piece, &mut out, FlushDecompress::Sync).unwrap();
                }
                assert_eq!(out, payload);
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut state = 1_u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as u8
        };
        let noise: Vec<u8> = (0..5_000).map(|_| random()).collect();
        for length in [0, 1, 5, 100, 5_000] {
            assert_eq!(deflated(&noise[..length], Window::Full), None, "{length}");
        }
        let mut out = Vec::new();
        assert!(deflate(&[b'x'; 100], 1, Window::Full, &mut out), "another level takes its place");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = deflated(&vec![0; 10 << 20], Window::Full).unwrap();
        assert!(bomb.len() < 12_000);
        assert_eq!(inflate(&bomb, 1 << 20), Err(ProtocolError::MessageTooBig { bytes_max: 1 << 20 }));
        assert_eq!(inflate(&bomb, 10 << 20).unwrap().len(), 10 << 20);
        // Empty final blocks: nothing comes out, but each would start the inflater anew.
        assert_eq!(inflate(&[0x03, 0x00].repeat(FINAL_BLOCKS_MAX as usize + 1), 10), Err(ProtocolError::InvalidDeflate));
        assert_eq!(inflate(&[0x03, 0x00].repeat(FINAL_BLOCKS_MAX as usize), 10).as_deref(), Ok(&b""[..]));
    }
}
