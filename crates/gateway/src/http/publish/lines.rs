//! Cuts a stream of bytes into lines, however it arrives. Holds at most one unfinished line.

use bytes::{Bytes, BytesMut};

/// The cutter.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// Bytes of `buffer` that were searched and hold no line break.
    searched: usize,
    line_bytes_max: usize,
    /// Inside a line that was too long and has been reported.
    skipping: bool,
}

/// One line, without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(Bytes),
    /// Longer than allowed; it was thrown away.
    TooLong,
}

impl Lines {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, line_bytes_max, skipping: false }
    }

    /// Takes the next bytes. Call `next` until it has no more before the next `push`, or the buffer grows.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line that is not blank.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.skipping || self.buffer.len() > self.line_bytes_max {
                    self.buffer.clear();
                    self.searched = 0;
                    return (!std::mem::replace(&mut self.skipping, true)).then_some(Line::TooLong);
                }
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + at + 1);
            self.searched = 0;
            line.truncate(line.len() - 1);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if let Some(line) = self.whole(line.freeze()) {
                return Some(line);
            }
        }
    }

    /// The last line, which needs no line break.
    pub(super) fn finish(&mut self) -> Option<Line> {
        let rest = self.buffer.split().freeze();
        self.searched = 0;
        if std::mem::take(&mut self.skipping) { None } else { self.whole(rest) }
    }

    fn whole(&self, line: Bytes) -> Option<Line> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        Some(if line.len() > self.line_bytes_max { Line::TooLong } else { Line::Text(line) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&[u8]], line_bytes_max: usize) -> Vec<Line> {
        let mut lines = Lines::new(line_bytes_max);
        let mut out = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next() {
                out.push(line);
            }
            assert!(lines.buffer.len() <= line_bytes_max, "no more than one allowed line is held");
        }
        out.extend(lines.finish());
        out
    }

    fn text(line: &str) -> Line {
        Line::Text(Bytes::copy_from_slice(line.as_bytes()))
    }

    #[test]
    fn lines_come_out_whole_and_long_ones_once() {
        assert_eq!(cut(&[b"ab\ncd", b"e\r\n\n  \nf"], 10), [text("ab"), text("cde\r"), text("f")]);
        assert_eq!(cut(&[b"12345\n123456\n1"], 5), [text("12345"), Line::TooLong, text("1")]);
        assert_eq!(cut(&[b"1234", b"5678", b"9012", b"3\nok\n"], 5), [Line::TooLong, text("ok")]);
        assert_eq!(cut(&[b"123456789"], 5), [Line::TooLong]);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_changes_nothing(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), cuts in proptest::collection::vec(0usize..200, 0..8), max in 1usize..40) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            // One difference is allowed: a blank line that is too long is skipped if seen whole, and reported if not.
            let blank_and_long = bytes.split(|b| *b == b'\n').any(|line| line.len() > max && line.iter().all(u8::is_ascii_whitespace));
            prop_assume!(!blank_and_long);
            prop_assert_eq!(cut(&pieces, max), bytes.split(|b| *b == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)).map(|line| {
                if line.len() > max { Line::TooLong } else { Line::Text(Bytes::copy_from_slice(line)) }
            }).collect::<Vec<_>>());
        }
    }
}
