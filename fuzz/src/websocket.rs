//! The WebSocket frame decoder.

use towline_websocket::{Decoder, Limits, Message, ProtocolError, Role};

/// Small, so that short inputs reach every limit.
const LIMITS: Limits = Limits { message_bytes_max: 300, fragments_max: 5 };

/// As a server: frames must be masked. The first byte says how the rest is cut.
pub fn server(data: &[u8]) {
    run(|| Decoder::new(Role::Server), data);
}

/// As a client: frames must not be masked. The first byte says how the rest is cut.
pub fn client(data: &[u8]) {
    run(|| Decoder::new(Role::Client), data);
}

/// As a server that has agreed upon compression. The first byte says how the rest is cut.
pub fn compressed(data: &[u8]) {
    let decoder = || {
        let mut decoder = Decoder::new(Role::Server);
        decoder.allow_compressed();
        decoder
    };
    run(decoder, data);
}

fn run(decoder: impl Fn() -> Decoder, data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let whole = feed(decoder(), bytes, usize::MAX);
    let cut = feed(decoder(), bytes, usize::from(cut).max(1));
    assert_eq!(whole, cut, "the outcome depends on how the bytes are cut");
    assert_eq!(whole, feed(decoder(), bytes, 1), "the outcome depends on how the bytes are cut");
}

/// What came out, in words, and how it ended.
fn feed(mut decoder: Decoder, bytes: &[u8], piece_bytes: usize) -> (Vec<String>, Result<bool, ProtocolError>) {
    let mut seen = Vec::new();
    let mut bytes = bytes.to_vec();
    for mut piece in bytes.chunks_mut(piece_bytes) {
        loop {
            match decoder.next(&LIMITS, &mut piece) {
                Ok(Some(message)) => {
                    check(message);
                    seen.push(format!("{message:?}"));
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(error.close_code(), 1002 | 1007 | 1009));
                    assert!(error.to_string().len() <= 123, "the text fits a close frame");
                    return (seen, Err(error));
                }
            }
        }
        assert!(piece.is_empty(), "`None` means that all input was taken");
        assert!(decoder.buffered_bytes() <= 2 * LIMITS.message_bytes_max + 512, "{} bytes held", decoder.buffered_bytes());
        assert_eq!(decoder.is_idle(), decoder.buffered_bytes() == 0);
    }
    (seen, Ok(decoder.is_idle()))
}

fn check(message: Message<'_>) {
    match message {
        Message::Text(text) => assert!(text.len() <= LIMITS.message_bytes_max),
        Message::Binary(bytes) => assert!(bytes.len() <= LIMITS.message_bytes_max),
        Message::Ping(bytes) | Message::Pong(bytes) => assert!(bytes.len() <= 125),
        Message::Close(None) => {}
        Message::Close(Some((code, reason))) => {
            assert!((1000..5000).contains(&code) && reason.len() <= 123);
        }
    }
}
