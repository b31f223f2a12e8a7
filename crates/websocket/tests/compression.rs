//! Compressed messages (RFC 7692): what was sent comes out however it was cut, RSV1 stands only where it may, and a bomb bursts early.

mod feed;

use feed::{Outcome, Seen, feed, feed_to};
use proptest::collection::vec;
use proptest::prelude::*;
use towline_websocket::{Decoder, Limits, Opcode, ProtocolError, Role, Window, deflate, write_masked_frame};

const LIMITS: Limits = Limits { message_bytes_max: 4096, fragments_max: 64 };
const COMPRESSED: u8 = 0x40;

fn feed_compressed(bytes: &[u8], pieces: impl IntoIterator<Item = usize>) -> (Outcome, usize) {
    let mut decoder = Decoder::new(Role::Server);
    decoder.allow_compressed();
    feed_to(decoder, &LIMITS, bytes, pieces)
}

/// Appends a client's frame with these bits in its first byte beside the opcode.
fn frame(out: &mut Vec<u8>, bits: u8, opcode: Opcode, payload: &[u8]) {
    let start = out.len();
    write_masked_frame(out, opcode, payload, [3, 141, 59, 26]);
    out[start] = bits | opcode as u8;
}

fn deflated(payload: &[u8], window: Window) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(deflate(payload, 6, window, &mut out));
    out
}

/// A message with the places where it is cut into fragments, and whether a ping stands between them.
#[derive(Debug, Clone)]
struct Sent {
    message: Seen,
    cuts: Vec<prop::sample::Index>,
    window: bool,
    ping: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let message = prop_oneof![
        "([a-z]{1,4}é€😀){0,60}".prop_map(Seen::Text),
        (any::<String>(), 1..20usize)
            .prop_map(|(text, times)| Seen::Text(text.chars().take(40).collect::<String>().repeat(times))),
        (vec(any::<u8>(), 0..40), 0..50usize).prop_map(|(bytes, times)| Seen::Binary(bytes.repeat(times))),
        vec(any::<u8>(), 0..1000).prop_map(Seen::Binary),
    ];
    (message, vec(any::<prop::sample::Index>(), 0..5), any::<bool>(), any::<bool>())
        .prop_map(|(message, cuts, window, ping)| Sent { message, cuts, window, ping })
}

fn stream(all: &[Sent]) -> (Vec<u8>, Vec<Seen>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for sent in all {
        let (first, payload) = match &sent.message {
            Seen::Text(text) => (Opcode::Text, text.as_bytes()),
            Seen::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            other => unreachable!("{other:?} is not a data message"),
        };
        // What does not shrink goes as it is, among what does.
        let mut wire = Vec::new();
        let window = if sent.window { Window::Full } else { Window::Small };
        let rsv1 = if deflate(payload, 6, window, &mut wire) { COMPRESSED } else { 0 };
        let wire = if rsv1 == 0 { payload } else { &wire };
        let mut ends: Vec<usize> = sent.cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        ends.push(wire.len());
        ends.sort_unstable();
        let mut start = 0;
        for (index, end) in ends.iter().enumerate() {
            let (opcode, rsv1) = if index == 0 { (first, rsv1) } else { (Opcode::Continuation, 0) };
            let fin = if index + 1 == ends.len() { 0x80 } else { 0 };
            frame(&mut out, fin | rsv1, opcode, &wire[start..*end]);
            start = *end;
            if fin == 0 && sent.ping {
                frame(&mut out, 0x80, Opcode::Ping, b"p");
                expected.push(Seen::Ping(b"p".to_vec()));
            }
        }
        expected.push(sent.message.clone());
    }
    (out, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // proves: C14
    #[test]
    fn what_was_sent_comes_out(all in vec(sent(), 0..5), pieces in vec(0..40usize, 0..200)) {
        let (bytes, expected) = stream(&all);
        for pieces in [&pieces[..], &[], &vec![1; bytes.len()]] {
            let (outcome, _) = feed_compressed(&bytes, pieces.iter().copied());
            prop_assert_eq!(outcome.error, None);
            prop_assert_eq!(&outcome.messages, &expected);
            prop_assert!(outcome.idle);
        }
    }

    #[test]
    fn cutting_never_changes_the_outcome(
        all in vec(sent(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        pieces in vec(0..20usize, 0..200),
    ) {
        let (mut bytes, _) = stream(&all);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (whole, _) = feed_compressed(&bytes, []);
        prop_assert_eq!(&whole, &feed_compressed(&bytes, pieces).0);
        prop_assert_eq!(&whole, &feed_compressed(&bytes, vec![1; bytes.len()]).0);
    }
}

#[test]
fn an_idle_connection_owns_nothing_for_compression() {
    assert_eq!(size_of::<Decoder>(), 16);
    let mut decoder = Decoder::new(Role::Server);
    decoder.allow_compressed();
    assert!(decoder.is_idle() && decoder.buffered_bytes() == 0);
}

#[test]
fn rsv1_stands_on_the_first_frame_of_a_data_message_and_nowhere_else() {
    let hello = deflated(b"hello hello hello hello", Window::Full);
    let one = |bits, opcode, payload: &[u8]| {
        let mut bytes = Vec::new();
        frame(&mut bytes, bits, opcode, payload);
        bytes
    };
    let first = one(COMPRESSED, Opcode::Text, &hello[..3]);
    for (bytes, byte) in [
        (one(0xc0, Opcode::Ping, b""), 0xc9),
        (one(0xc0, Opcode::Pong, b""), 0xca),
        (one(0xc0, Opcode::Close, b""), 0xc8),
        ([first.clone(), one(0xc0, Opcode::Continuation, &hello[3..])].concat(), 0xc0),
        (one(0xa0, Opcode::Text, &hello), 0xa1),
        (one(0x90, Opcode::Text, &hello), 0x91),
        (one(0xe0, Opcode::Binary, &hello), 0xe2),
    ] {
        let (outcome, _) = feed_compressed(&bytes, []);
        assert_eq!(outcome.error, Some(ProtocolError::ReservedBits(byte)), "{bytes:x?}");
    }
    let whole = [first, one(0x80, Opcode::Continuation, &hello[3..])].concat();
    assert_eq!(feed_compressed(&whole, []).0.messages, [Seen::Text("hello hello hello hello".into())]);
    // Nobody agreed to it.
    let error = feed(Role::Server, &LIMITS, &whole, []).0.error;
    assert_eq!(error, Some(ProtocolError::ReservedBits(0x41)));
}

// proves: C14
#[test]
fn a_bomb_ends_with_1009_and_what_is_no_deflate_or_no_text_with_1007() {
    let case = |opcode, payload: &[u8]| {
        let mut bytes = Vec::new();
        frame(&mut bytes, 0xc0, opcode, payload);
        // In one piece, and in many: `feed` also checks how much is held.
        let (whole, _) = feed_compressed(&bytes, []);
        assert_eq!(whole, feed_compressed(&bytes, vec![3; bytes.len()]).0);
        assert!(whole.idle, "all memory is released");
        whole.error
    };
    let bomb = deflated(&vec![b'a'; 4 << 20], Window::Full);
    assert!(bomb.len() < 5_000);
    // The frame itself is within the limit.
    assert_eq!(case(Opcode::Text, &bomb[..4_000]), Some(ProtocolError::MessageTooBig { bytes_max: 4096 }));
    assert_eq!(case(Opcode::Binary, &deflated(&[b'a'; 4097], Window::Full)).map(|error| error.close_code()), Some(1009));
    assert_eq!(case(Opcode::Binary, &deflated(&[b'a'; 4096], Window::Full)), None);
    assert_eq!(case(Opcode::Binary, &[0xff; 20]), Some(ProtocolError::InvalidDeflate));
    assert_eq!(case(Opcode::Binary, &[0xff; 20]).map(|error| error.close_code()), Some(1007));
    let not_text = deflated(&[b"aaaaaaaaaaaaaaaaaaaa".as_slice(), &[0xff]].concat(), Window::Full);
    assert_eq!(case(Opcode::Text, &not_text), Some(ProtocolError::InvalidText));
    assert_eq!(case(Opcode::Binary, &not_text), None);
}
