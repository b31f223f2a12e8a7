//! The three plain protocols whose answers the loader reads beside WebSocket: NATS, Redis (RESP) and HTTP/1.1.
//!
//! Each function looks at the start of a buffer and says what stands there. They read what the measured servers send, not the
//! whole of each protocol: anything else is [`Parsed::Unexpected`].

/// What stands at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A payload: a NATS message's body, a Redis reply, the body of an HTTP answer below 300.
    Message { body: &'a [u8], length: usize },
    /// A line that carries no payload (`PING`, `PONG`, `INFO …`).
    Line { line: &'a [u8], length: usize },
    /// The server said no.
    Refused { why: &'a [u8], length: usize },
    /// Not all of it has arrived.
    Incomplete,
    /// Not understood.
    Unexpected,
}

/// The longest line or header block that is waited for, in bytes; a NATS `INFO` takes about 500.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Reads one NATS operation of a server.
#[must_use]
pub fn nats(bytes: &[u8]) -> Parsed<'_> {
    let Some((line, start)) = line(bytes) else { return waiting(bytes) };
    if line.starts_with(b"MSG ") || line.starts_with(b"HMSG ") {
        let Some(size) = last_number(line) else { return Parsed::Unexpected };
        let Some(length) = start.checked_add(size).and_then(|end| end.checked_add(2)) else { return Parsed::Unexpected };
        return match bytes.get(start..length) {
            Some(body) => Parsed::Message { body: &body[..size], length },
            None => Parsed::Incomplete,
        };
    }
    if line.starts_with(b"-ERR") {
        return Parsed::Refused { why: line, length: start };
    }
    Parsed::Line { line, length: start }
}

/// Reads one Redis reply: a bulk string, a simple string, a number, or an error. Arrays are not asked for.
#[must_use]
pub fn redis(bytes: &[u8]) -> Parsed<'_> {
    let Some((line, start)) = line(bytes) else { return waiting(bytes) };
    match line.split_first() {
        Some((b'-', _)) => Parsed::Refused { why: line, length: start },
        Some((b'+' | b':', body)) => Parsed::Message { body, length: start },
        Some((b'$', _)) => {
            let Some(size) = last_number(&line[1..]) else { return Parsed::Unexpected };
            let Some(length) = start.checked_add(size).and_then(|end| end.checked_add(2)) else { return Parsed::Unexpected };
            match bytes.get(start..length) {
                Some(body) => Parsed::Message { body: &body[..size], length },
                None => Parsed::Incomplete,
            }
        }
        _ => Parsed::Unexpected,
    }
}

/// Reads one HTTP/1.1 answer with a `Content-Length`; an answer of 300 and above is a refusal whose `why` is the whole answer.
#[must_use]
pub fn http(bytes: &[u8]) -> Parsed<'_> {
    let Some((status, start)) = http_head(bytes) else { return waiting(bytes) };
    let size = header(&bytes[..start], b"content-length").and_then(last_number).unwrap_or(0);
    let Some(length) = start.checked_add(size) else { return Parsed::Unexpected };
    let Some(body) = bytes.get(start..length) else { return Parsed::Incomplete };
    match status {
        0 => Parsed::Unexpected,
        200..300 => Parsed::Message { body, length },
        _ => Parsed::Refused { why: &bytes[..length], length },
    }
}

/// The status of an HTTP answer whose header block is complete, and where its body begins. Status 0: not a number.
#[must_use]
pub fn http_head(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let status = bytes.get(9..12).and_then(last_number).and_then(|status| u16::try_from(status).ok()).unwrap_or(0);
    Some((status, end))
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
    })
}

fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes[..end].trim_ascii_end(), end + 1))
}

fn waiting(bytes: &[u8]) -> Parsed<'_> {
    if bytes.len() > HEAD_BYTES_MAX { Parsed::Unexpected } else { Parsed::Incomplete }
}

fn last_number(text: &[u8]) -> Option<usize> {
    let word = text.rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nats_message_is_told_from_lines_and_waits_for_its_body() {
        assert_eq!(nats(b"PING\r\n"), Parsed::Line { line: b"PING", length: 6 });
        assert_eq!(nats(b"MSG a.b 1 5\r\nhel"), Parsed::Incomplete);
        assert_eq!(nats(b"MSG a.b 1 inbox 5\r\nhello\r\nPI"), Parsed::Message { body: b"hello", length: 26 });
        assert!(matches!(nats(b"-ERR 'no'\r\n"), Parsed::Refused { .. }));
    }

    #[test]
    fn a_redis_reply_is_read() {
        assert_eq!(redis(b"$3\r\n1-0\r\n"), Parsed::Message { body: b"1-0", length: 9 });
        assert_eq!(redis(b"$3\r\n1-"), Parsed::Incomplete);
        assert!(matches!(redis(b"-MISCONF disk\r\n"), Parsed::Refused { .. }));
        assert_eq!(redis(b"*2\r\n"), Parsed::Unexpected);
    }

    #[test]
    fn an_http_answer_is_read_with_its_body() {
        assert_eq!(http(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP"), Parsed::Message { body: b"{}", length: 40 });
        assert_eq!(http(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"), Parsed::Incomplete);
        assert!(matches!(http(b"HTTP/1.1 401 Unauthorized\r\n\r\n"), Parsed::Refused { .. }));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = (nats(&bytes), redis(&bytes), http(&bytes));
        }
    }
}
