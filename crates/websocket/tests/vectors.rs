//! The rules of RFC 6455 as a table of raw bytes. Each vector is fed whole, byte by byte, and cut in two at every place; the outcome must
//! not depend on it, and an error must come with the very byte that makes it certain.
// proves: RFC 6455 framing, fragmentation, UTF-8, control frames, close codes, masking

mod feed;

use feed::{Outcome, Seen, feed};
use towline_websocket::{Limits, Opcode, ProtocolError, Role};

use ProtocolError as E;
use Role::{Client, Server};

const LIMITS: Limits = Limits { message_bytes_max: 70_000, fragments_max: 4 };
/// More bytes than this are not cut at every place, which would take their square in time.
const CUT_EVERYWHERE_BYTES_MAX: usize = 600;

struct Vector {
    name: &'static str,
    role: Role,
    /// Hexadecimal, white space ignored between tokens; `300x61` is 300 times the byte 0x61.
    bytes: &'static str,
    messages: Vec<Seen>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    /// Between two messages.
    Idle,
    /// Within a message.
    Partial,
    /// The error, and the number of bytes that make it certain.
    Fails(ProtocolError, usize),
}
use End::{Fails, Idle, Partial};

fn v(name: &'static str, role: Role, bytes: &'static str, messages: Vec<Seen>, end: End) -> Vector {
    Vector { name, role, bytes, messages, end }
}

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}
fn binary(bytes: &[u8]) -> Seen {
    Seen::Binary(bytes.into())
}
fn ping(bytes: &[u8]) -> Seen {
    Seen::Ping(bytes.into())
}
fn pong(bytes: &[u8]) -> Seen {
    Seen::Pong(bytes.into())
}
fn close(code: u16, reason: &str) -> Seen {
    Seen::Close(Some((code, reason.into())))
}

fn framing() -> Vec<Vector> {
    vec![
        v("nothing", Server, "", vec![], Idle),
        // The examples of section 5.7.
        v("unmasked text", Client, "81 05 48656c6c6f", vec![text("Hello")], Idle),
        v("masked text", Server, "81 85 37fa213d 7f9f4d5158", vec![text("Hello")], Idle),
        v("fragmented text", Client, "01 03 48656c 80 02 6c6f", vec![text("Hello")], Idle),
        v("unmasked ping", Client, "89 05 48656c6c6f", vec![ping(b"Hello")], Idle),
        v("masked pong", Server, "8a 85 37fa213d 7f9f4d5158", vec![pong(b"Hello")], Idle),
        v("256 bytes of binary", Client, "82 7e 0100 256x07", vec![binary(&[7; 256])], Idle),
        v("64 KiB of binary", Client, "82 7f 0000000000010000 65536x07", vec![binary(&[7; 65536])], Idle),
        // Lengths at their borders.
        v("empty text", Server, "81 80 01020304", vec![text("")], Idle),
        v("empty binary", Server, "82 80 01020304", vec![binary(b"")], Idle),
        v("125 bytes", Client, "81 7d 125x61", vec![text(&"a".repeat(125))], Idle),
        v("126 bytes", Client, "81 7e 007e 126x61", vec![text(&"a".repeat(126))], Idle),
        v("65,535 bytes", Client, "81 7e ffff 65535x61", vec![text(&"a".repeat(65535))], Idle),
        v("125 bytes in 16 bits", Client, "81 7e 007d 125x61", vec![], Fails(E::NonMinimalLength(125), 4)),
        v("nothing in 16 bits", Server, "81 fe 0000", vec![], Fails(E::NonMinimalLength(0), 4)),
        v("65,535 bytes in 64 bits", Client, "81 7f 000000000000ffff", vec![], Fails(E::NonMinimalLength(65535), 10)),
        v("top bit of the length", Server, "82 ff 80", vec![], Fails(E::LengthTopBit, 3)),
        v("all bits of the length", Server, "82 ff ffffffffffffffff", vec![], Fails(E::LengthTopBit, 3)),
        v("as long as allowed, announced", Server, "82 ff 0000000000011170 00000000", vec![], Partial),
        v("longer than allowed", Server, "82 ff 0000000000011171", vec![], Fails(TOO_BIG, 10)),
        v("the longest length there is", Server, "82 ff 7fffffffffffffff", vec![], Fails(TOO_BIG, 10)),
        // Masking.
        v("unmasked from a client", Server, "81 05 48", vec![], Fails(E::Unmasked, 2)),
        v("unmasked close from a client", Server, "88 00", vec![], Fails(E::Unmasked, 2)),
        v("masked from a server", Client, "81 85 37fa213d", vec![], Fails(E::Masked, 2)),
        // Reserved bits and opcodes.
        v("rsv1", Server, "c1 80", vec![], Fails(E::ReservedBits(0xc1), 1)),
        v("rsv2", Server, "a1 80", vec![], Fails(E::ReservedBits(0xa1), 1)),
        v("rsv3 on a ping", Server, "99 80", vec![], Fails(E::ReservedBits(0x99), 1)),
        v("opcode 3", Server, "83 80", vec![], Fails(E::ReservedOpcode(3), 1)),
        v("opcode 7", Server, "87 80", vec![], Fails(E::ReservedOpcode(7), 1)),
        v("opcode 11", Server, "8b 80", vec![], Fails(E::ReservedOpcode(11), 1)),
        v("opcode 15", Server, "8f 80", vec![], Fails(E::ReservedOpcode(15), 1)),
        v("good, then bad", Client, "81 01 61 82 01 62 8b", vec![text("a"), binary(b"b")], Fails(E::ReservedOpcode(11), 7)),
        // Ends in the middle.
        v("half a header", Server, "81", vec![], Partial),
        v("half a length", Server, "81 fe 01", vec![], Partial),
        v("half a mask", Server, "81 85 3700", vec![], Partial),
        v("half a payload", Server, "81 85 00000000 6161", vec![], Partial),
    ]
}

const TOO_BIG: ProtocolError = E::MessageTooBig { bytes_max: 70_000 };

fn fragmentation() -> Vec<Vector> {
    vec![
        v("three fragments", Client, "02 01 61 00 01 62 80 01 63", vec![binary(b"abc")], Idle),
        v("masks differ", Server, "01 82 00000000 6162 80 81 01020304 62", vec![text("abc")], Idle),
        v("empty fragments", Client, "01 00 00 00 80 00", vec![text("")], Idle),
        v("an empty last fragment", Client, "02 02 6162 80 00", vec![binary(b"ab")], Idle),
        v("controls within", Client, "01 01 61 89 01 70 00 01 62 8a 00 80 01 63", vec![ping(b"p"), pong(b""), text("abc")], Idle),
        v("a close within", Client, "01 01 61 88 02 03e8", vec![close(1000, "")], Partial),
        v("two in a row", Client, "01 01 61 80 01 62 02 01 63 80 01 64", vec![text("ab"), binary(b"cd")], Idle),
        v("open at the end", Client, "01 01 61", vec![], Partial),
        v("nothing to continue", Server, "80", vec![], Fails(E::UnexpectedContinuation, 1)),
        v("nothing to continue, not final", Server, "00", vec![], Fails(E::UnexpectedContinuation, 1)),
        v("continued after its end", Client, "01 01 61 80 01 62 80", vec![text("ab")], Fails(E::UnexpectedContinuation, 7)),
        v("interrupted by text", Client, "01 01 61 81", vec![], Fails(E::InterruptedMessage(Opcode::Text), 4)),
        v("interrupted by a fragment", Client, "01 01 61 02", vec![], Fails(E::InterruptedMessage(Opcode::Binary), 4)),
        v("four fragments", Client, "02 00 00 00 00 00 80 00", vec![binary(b"")], Idle),
        v("a fifth", Client, "02 00 00 00 00 00 00 00 80 00", vec![], Fails(E::TooManyFragments { fragments_max: 4 }, 10)),
        v("whole frames are not fragments", Client, "81 00 81 00 81 00 81 00 81 00", vec![text(""); 5], Idle),
        v("too long together", Client, "02 7f 0000000000010000 65536x07 80 7e 1171", vec![], Fails(TOO_BIG, 65550)),
        v(
            "as long as allowed together",
            Client,
            "02 7f 0000000000010000 65536x07 80 7e 1170 4464x07",
            vec![binary(&[7; 70_000])],
            Idle,
        ),
    ]
}

fn control() -> Vec<Vector> {
    vec![
        v("empty ping", Server, "89 80 00000000", vec![ping(b"")], Idle),
        v("ping of 125 bytes", Client, "89 7d 125x01", vec![ping(&[1; 125])], Idle),
        v("ping of 126 bytes", Client, "89 7e", vec![], Fails(E::ControlTooLong(Opcode::Ping), 2)),
        v("pong of 64 bits", Client, "8a 7f", vec![], Fails(E::ControlTooLong(Opcode::Pong), 2)),
        v("close of 126 bytes", Server, "88 fe", vec![], Fails(E::ControlTooLong(Opcode::Close), 2)),
        v("fragmented ping", Server, "09", vec![], Fails(E::FragmentedControl(Opcode::Ping), 1)),
        v("fragmented close", Server, "08", vec![], Fails(E::FragmentedControl(Opcode::Close), 1)),
        v("pings are not text", Client, "89 02 fffe", vec![ping(&[0xff, 0xfe])], Idle),
        v("empty close", Server, "88 80 00000000", vec![Seen::Close(None)], Idle),
        v("close of one byte", Client, "88 01 03", vec![], Fails(E::CloseTooShort, 3)),
        v("close with a reason", Client, "88 06 1131 c3a97e21", vec![close(4401, "é~!")], Idle),
        v("close with 123 bytes of reason", Client, "88 7d 03e8 123x61", vec![close(1000, &"a".repeat(123))], Idle),
        v("a reason that is not UTF-8", Client, "88 03 03e8 ff", vec![], Fails(E::InvalidCloseReason, 5)),
        v("a reason cut within a character", Client, "88 04 03e8 e282", vec![], Fails(E::InvalidCloseReason, 6)),
    ]
}

fn utf8() -> Vec<Vector> {
    vec![
        v("every length", Client, "81 0a 24 c2a2 e282ac f09f9880", vec![text("$¢€😀")], Idle),
        v("the borders", Client, "81 14 00 7f c280 dfbf e0a080 efbfbf f0908080 f48fbfbf", vec![text(BORDERS)], Idle),
        v("around the surrogates", Client, "81 06 ed9fbf ee8080", vec![text("\u{d7ff}\u{e000}")], Idle),
        v("a byte order mark stays", Client, "81 03 efbbbf", vec![text("\u{feff}")], Idle),
        v("cut within a character", Client, "01 02 f09f 00 01 98 80 01 80", vec![text("😀")], Idle),
        v("cut, with an empty fragment and a ping", Client, "01 01 e2 00 00 89 00 80 02 82ac", vec![ping(b""), text("€")], Idle),
        v("ends within a character", Client, "81 02 e282", vec![], Fails(E::InvalidText, 4)),
        v("fragments end within a character", Client, "01 02 e282 80 00", vec![], Fails(E::InvalidText, 6)),
        // What follows the failing byte is announced and does not have to arrive.
        v("a lone continuation", Client, "81 7d 61 80", vec![], Fails(E::InvalidText, 4)),
        v("overlong slash", Client, "81 7d c0", vec![], Fails(E::InvalidText, 3)),
        v("overlong, three bytes", Client, "81 7d e0 9f", vec![], Fails(E::InvalidText, 4)),
        v("overlong, four bytes", Client, "81 7d f0 8f", vec![], Fails(E::InvalidText, 4)),
        v("a surrogate", Client, "81 7d ed a0", vec![], Fails(E::InvalidText, 4)),
        v("above U+10FFFF", Client, "81 7d f4 90", vec![], Fails(E::InvalidText, 4)),
        v("F5", Client, "81 7d 6161 f5", vec![], Fails(E::InvalidText, 5)),
        v("FE", Client, "81 7d fe", vec![], Fails(E::InvalidText, 3)),
        v("a second start", Client, "81 7d e2 82 e2", vec![], Fails(E::InvalidText, 5)),
        v("bad in a later fragment", Client, "01 01 ce 00 01 ba 80 02 61 ff", vec![], Fails(E::InvalidText, 10)),
        v("a cut surrogate", Client, "01 01 ed 80 05 a0", vec![], Fails(E::InvalidText, 6)),
        v("binary is not text", Client, "82 03 fffefd", vec![binary(&[0xff, 0xfe, 0xfd])], Idle),
        v("fragmented binary is not text", Client, "02 01 ff 80 01 c0", vec![binary(&[0xff, 0xc0])], Idle),
    ]
}

const BORDERS: &str = "\0\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}";

#[test]
fn every_vector_ends_the_same_however_it_is_cut() {
    for vector in [framing(), fragmentation(), control(), utf8()].into_iter().flatten() {
        check(&vector);
    }
}

#[test]
fn close_codes_are_those_of_the_registry() {
    for code in 0..=u16::MAX {
        let [high, low] = code.to_be_bytes();
        let (outcome, _) = feed(Client, &LIMITS, &[0x88, 2, high, low], []);
        // RFC 6455 section 7.4 and the registry that it opened: 1012–1014 were added since.
        if [1000..=1003, 1007..=1014, 3000..=4999].iter().any(|range| range.contains(&code)) {
            assert_eq!(outcome.messages, [close(code, "")]);
        } else {
            assert_eq!(outcome.error, Some(E::InvalidCloseCode(code)));
        }
    }
}

#[test]
fn errors_close_with_the_code_that_their_rule_names() {
    let big = E::MessageTooBig { bytes_max: 1 };
    let many = E::TooManyFragments { fragments_max: 1 };
    for (code, errors) in
        [(1007, [E::InvalidText, E::InvalidCloseReason]), (1009, [big, many]), (1002, [E::Unmasked, E::CloseTooShort])]
    {
        assert!(errors.iter().all(|error| error.close_code() == code));
    }
}

fn check(vector: &Vector) {
    let bytes = bytes(vector.bytes);
    let run = |pieces: &[usize]| feed(vector.role, &LIMITS, &bytes, pieces.iter().copied());
    let (error, idle) = match vector.end {
        Idle => (None, true),
        Partial => (None, false),
        Fails(error, _) => (Some(error), true),
    };
    let expected = Outcome { messages: vector.messages.clone(), error, idle };
    assert_eq!(run(&[]).0, expected, "{}, whole", vector.name);
    let (outcome, fed) = run(&vec![1; bytes.len()]);
    assert_eq!(outcome, expected, "{}, byte by byte", vector.name);
    if let Fails(_, at) = vector.end {
        assert_eq!(fed, at, "{}: bytes fed when it failed", vector.name);
    }
    if bytes.len() <= CUT_EVERYWHERE_BYTES_MAX {
        for at in 0..=bytes.len() {
            assert_eq!(run(&[at]).0, expected, "{}, cut at {at}", vector.name);
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .flat_map(|token| match token.split_once('x') {
            Some((count, byte)) => vec![u8::from_str_radix(byte, 16).expect("hexadecimal"); count.parse().expect("a count")],
            None => {
                (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16).expect("hexadecimal")).collect()
            }
        })
        .collect()
}
