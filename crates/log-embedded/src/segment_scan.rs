//! Goes through a segment's bytes and tells records from damage. Knows nothing of topics.

use std::io;

use crate::files::{LogFile, read_full_at};
use crate::record_codec::{self, DecodeError, FIXED_BYTES, FRAME_HEAD_BYTES, Frame};
use crate::segment::HEADER_BYTES;

/// Read at once while scanning.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Fewer bytes than this are no record.
const RECORD_BYTES_MIN: u64 = (FRAME_HEAD_BYTES + FIXED_BYTES) as u64;

/// What a scan comes across, in the file's order.
pub(crate) enum Found<'a> {
    /// A whole record, and its bytes.
    Record { position: u32, frame: Frame<'a>, raw: &'a [u8] },
    /// Bytes that are no record, with a record behind them.
    Damage { from: u32, to: u32 },
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanEnd {
    /// Where the last whole record ends.
    pub valid_end: u32,
    /// Bytes behind it that hold no record at all.
    pub tail_bytes: u64,
    /// The tail begins with a record that the file is too short for: as an interrupted write leaves it.
    pub tail_cut_short: bool,
}

/// Scans from the first record to the end of the file.
pub(crate) fn scan(file: &dyn LogFile, salt: u32, mut visit: impl FnMut(Found<'_>)) -> io::Result<ScanEnd> {
    // Positions have 32 bits; the writer never goes beyond, so what lies there is not ours.
    let len = file.len()?.min(u64::from(u32::MAX));
    let mut window = Window { file, len, at: 0, bytes: Vec::new() };
    let mut at = u64::from(HEADER_BYTES);
    while at < len {
        let (next, cut_short) = match window.record_at(at, salt)? {
            Ok(frame) => {
                let frame_bytes = frame.frame_bytes;
                let raw = window.have(at);
                // Decoded just now from the same bytes.
                if let Ok(frame) = record_codec::layout(raw) {
                    visit(Found::Record { position: at as u32, frame, raw: &raw[..frame_bytes] });
                }
                at += frame_bytes as u64;
                continue;
            }
            Err(error) => {
                let cut_short = matches!(error, DecodeError::Incomplete { .. });
                (window.next_record(at + 1, salt)?, cut_short)
            }
        };
        match next {
            Some(next) => {
                visit(Found::Damage { from: at as u32, to: next as u32 });
                at = next;
            }
            None => return Ok(ScanEnd { valid_end: at as u32, tail_bytes: len - at, tail_cut_short: cut_short }),
        }
    }
    Ok(ScanEnd { valid_end: at.min(len) as u32, tail_bytes: 0, tail_cut_short: false })
}

struct Window<'a> {
    file: &'a dyn LogFile,
    len: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `at` on that are in memory.
    fn have(&self, at: u64) -> &[u8] {
        let within = usize::try_from(at.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if at < self.at { &[] } else { self.bytes.get(within..).unwrap_or_default() }
    }

    /// Brings at least `count` bytes from `at` on into memory, as far as the file has them.
    fn load(&mut self, at: u64, count: usize) -> io::Result<()> {
        let count = count.min(usize::try_from(self.len - at).unwrap_or(usize::MAX));
        if self.have(at).len() >= count {
            return Ok(());
        }
        let want = count.max(WINDOW_BYTES).min(usize::try_from(self.len - at).unwrap_or(usize::MAX));
        self.bytes.resize(want, 0);
        self.at = at;
        let read = read_full_at(self.file, at, &mut self.bytes)?;
        self.bytes.truncate(read);
        Ok(())
    }

    fn record_at(&mut self, at: u64, salt: u32) -> io::Result<Result<Frame<'_>, DecodeError>> {
        let mut count = RECORD_BYTES_MIN as usize;
        loop {
            self.load(at, count)?;
            match record_codec::layout(self.have(at)) {
                Err(DecodeError::Incomplete { needed }) if at + needed as u64 <= self.len && needed > self.have(at).len() => {
                    count = needed;
                }
                _ => return Ok(record_codec::decode_record(self.have(at), salt)),
            }
        }
    }

    /// The first place from `at` on where a whole, valid record lies.
    fn next_record(&mut self, mut at: u64, salt: u32) -> io::Result<Option<u64>> {
        while at + RECORD_BYTES_MIN <= self.len {
            if self.record_at(at, salt)?.is_ok() {
                return Ok(Some(at));
            }
            at += 1;
        }
        Ok(None)
    }
}
