//! Writing frames. A frame is appended to the caller's buffer, so that many can go out in one write.

use crate::header::{COMPRESSED, CONTROL_BYTES_MAX, FIN, MASKED, Opcode};
use crate::mask;

/// The bit that opcodes of control frames have.
const CONTROL: u8 = 0x8;

/// Appends the header of a final, unmasked frame, as a server sends it; exactly `payload_len` bytes of payload must follow.
///
/// Control frames carry at most 125 bytes; a longer one is the caller's fault and would be refused by the peer.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    write_any_header(out, FIN | opcode as u8, payload_len, 0);
}

/// The same for a message whose payload is compressed: what [`deflate`](crate::deflate()) gave must follow. Not for control frames.
pub fn write_compressed_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    write_any_header(out, FIN | COMPRESSED | opcode as u8, payload_len, 0);
}

/// Appends a final, unmasked frame, as a server sends it. Control frames carry at most 125 bytes.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a final, masked frame, as a client sends it. Control frames carry at most 125 bytes. In the open internet the mask must be
/// unpredictable for whoever chose the payload (RFC 6455 section 10.3).
pub fn write_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    write_any_header(out, FIN | opcode as u8, payload.len(), MASKED);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], &mut { mask });
}

/// The payload of a close frame: the code and the reason, cut at a character boundary so that both fit the 125 bytes of a control frame.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    let mut end = reason.len().min(CONTROL_BYTES_MAX - payload.len());
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

fn write_any_header(out: &mut Vec<u8>, first_byte: u8, payload_len: usize, masked: u8) {
    debug_assert!(first_byte & CONTROL == 0 || payload_len <= CONTROL_BYTES_MAX, "{first_byte:#04x} of {payload_len} bytes");
    out.push(first_byte);
    // The guards make each conversion lossless.
    match payload_len {
        0..=125 => out.push(masked | payload_len as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_fewest_bytes() {
        for (len, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            write_header(&mut out, Opcode::Text, len);
            assert_eq!(out, header, "{len}");
        }
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        assert_eq!(close_payload(1000, ""), [0x03, 0xe8]);
        assert_eq!(close_payload(4401, "bye"), *b"\x11\x31bye");
        // 41 three-byte characters fill the 123 bytes exactly; one byte before them pushes the last one out.
        assert_eq!(close_payload(1000, &"€".repeat(50)).len(), 125);
        let shifted = close_payload(1000, &format!("x{}", "€".repeat(50)));
        assert_eq!(shifted.len(), 123);
        assert!(std::str::from_utf8(&shifted[2..]).is_ok());
    }
}
