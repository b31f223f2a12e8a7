//! Random streams: what was sent comes out, however it was fragmented, interleaved, masked and cut; garbage is refused, not fatal.

mod feed;

use feed::{Seen, feed};
use proptest::collection::vec;
use proptest::prelude::*;
use towline_websocket::{Limits, Opcode, Role, close_payload, write_frame, write_masked_frame};

const LIMITS: Limits = Limits { message_bytes_max: 4096, fragments_max: 64 };

/// A message with its way over the wire: where it is cut into fragments, and the control frames sent between them.
#[derive(Debug, Clone)]
struct Sent {
    message: Seen,
    cuts: Vec<prop::sample::Index>,
    between: Vec<Seen>,
}

fn control() -> impl Strategy<Value = Seen> {
    prop_oneof![vec(any::<u8>(), 0..=125).prop_map(Seen::Ping), vec(any::<u8>(), 0..=125).prop_map(Seen::Pong)]
}

fn sent() -> impl Strategy<Value = Sent> {
    let message = prop_oneof![
        any::<String>().prop_map(Seen::Text),
        "[a-zé€😀]{0,300}".prop_map(Seen::Text),
        vec(any::<u8>(), 0..1000).prop_map(Seen::Binary)
    ];
    (message, vec(any::<prop::sample::Index>(), 0..8), vec(control(), 0..4)).prop_map(|(message, cuts, between)| Sent {
        message,
        cuts,
        between,
    })
}

/// Appends a frame as the role's peer sends it.
fn frame(out: &mut Vec<u8>, role: Role, fin: bool, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    let start = out.len();
    match role {
        Role::Server => write_masked_frame(out, opcode, payload, mask),
        Role::Client => write_frame(out, opcode, payload),
    }
    if !fin {
        out[start] &= 0x7f;
    }
}

/// Writes all messages as one stream. The second value is what a decoder must make of it.
fn stream(role: Role, all: &[Sent], mask: [u8; 4], closing: Option<(u16, String)>) -> (Vec<u8>, Vec<Seen>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for sent in all {
        let (first, payload) = match &sent.message {
            Seen::Text(text) => (Opcode::Text, text.as_bytes()),
            Seen::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            other => unreachable!("{other:?} is not a data message"),
        };
        let mut ends: Vec<usize> = sent.cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        ends.push(payload.len());
        ends.sort_unstable();
        let (mut start, mut between) = (0, sent.between.iter());
        for (index, end) in ends.iter().enumerate() {
            let opcode = if index == 0 { first } else { Opcode::Continuation };
            let fin = index + 1 == ends.len();
            frame(&mut out, role, fin, opcode, &payload[start..*end], mask.map(|key| key.wrapping_add(index as u8)));
            start = *end;
            if !fin && let Some(control) = between.next() {
                let (opcode, payload) = match control {
                    Seen::Ping(payload) => (Opcode::Ping, payload),
                    Seen::Pong(payload) => (Opcode::Pong, payload),
                    other => unreachable!("{other:?} is not sent between fragments"),
                };
                frame(&mut out, role, true, opcode, payload, mask);
                expected.push(control.clone());
            }
        }
        expected.push(sent.message.clone());
    }
    if let Some((code, reason)) = closing {
        frame(&mut out, role, true, Opcode::Close, &close_payload(code, &reason), mask);
        expected.push(Seen::Close(Some((code, reason))));
    }
    (out, expected)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_was_sent_comes_out(
        role in role(),
        all in vec(sent(), 0..6),
        mask in any::<[u8; 4]>(),
        closing in prop::option::of((3000..5000u16, "[a-zé]{0,60}")),
        pieces in vec(0..40usize, 0..200),
    ) {
        let (bytes, expected) = stream(role, &all, mask, closing);
        for pieces in [&pieces[..], &[], &vec![1; bytes.len()]] {
            let (outcome, _) = feed(role, &LIMITS, &bytes, pieces.iter().copied());
            prop_assert_eq!(outcome.error, None);
            prop_assert_eq!(&outcome.messages, &expected);
            prop_assert!(outcome.idle);
        }
    }

    /// A stream with a few bytes changed, so that errors come in all depths: every way to cut it has one outcome.
    #[test]
    fn cutting_never_changes_the_outcome(
        role in role(),
        all in vec(sent(), 1..4),
        mask in any::<[u8; 4]>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        pieces in vec(0..20usize, 0..200),
    ) {
        let (mut bytes, _) = stream(role, &all, mask, None);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (whole, _) = feed(role, &LIMITS, &bytes, []);
        let (cut, _) = feed(role, &LIMITS, &bytes, pieces);
        prop_assert_eq!(&whole, &cut);
        let (bytewise, failed_at) = feed(role, &LIMITS, &bytes, vec![1; bytes.len()]);
        prop_assert_eq!(&whole, &bytewise);
        if whole.error.is_some() {
            // Byte by byte the error is as early as can be: without its last byte the stream is still possible.
            prop_assert_eq!(feed(role, &LIMITS, &bytes[..failed_at - 1], []).0.error, None);
        }
    }

    #[test]
    fn garbage_is_never_fatal(role in role(), bytes in vec(any::<u8>(), 0..300), pieces in vec(0..20usize, 0..40)) {
        let (whole, _) = feed(role, &LIMITS, &bytes, []);
        prop_assert_eq!(whole, feed(role, &LIMITS, &bytes, pieces).0);
    }

    /// Text is refused exactly if the standard library refuses it.
    #[test]
    fn text_is_utf8_and_nothing_else(
        start in "[a-zé€😀]{0,9}",
        odd in vec(any::<u8>(), 0..5),
        end in "[a-zé€😀]{0,9}",
        cut in any::<prop::sample::Index>(),
    ) {
        let payload = [start.as_bytes(), &odd, end.as_bytes()].concat();
        let (one, two) = payload.split_at(cut.index(payload.len() + 1));
        let mut bytes = Vec::new();
        frame(&mut bytes, Role::Client, false, Opcode::Text, one, [0; 4]);
        frame(&mut bytes, Role::Client, true, Opcode::Continuation, two, [0; 4]);
        let (outcome, _) = feed(Role::Client, &LIMITS, &bytes, []);
        match String::from_utf8(payload) {
            Ok(text) => prop_assert_eq!(outcome.messages, [Seen::Text(text)]),
            Err(_) => prop_assert_eq!(outcome.error.map(|error| error.close_code()), Some(1007)),
        }
    }
}
