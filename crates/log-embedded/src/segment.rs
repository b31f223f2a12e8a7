//! Segment files: their names and headers. A segment holds the records of all topics in the order of their commit.
//!
//! ```text
//! magic 8 | version u32 | seq u32 | log_id u64 | created_ms u64 | previous_end u32 | crc u32 | records …
//! ```
//!
//! `previous_end` is where the segment before it ended, so that a sealed segment which lost its tail is noticed even where it was cut
//! exactly between two records.

use crate::record_codec::{u32_at, u64_at};

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: u32 = 40;
/// Version of segment and record format together. A reader refuses what it does not know.
pub(crate) const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"TOWLSEG\n";

/// What stands at the start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Number of the segment; grows by one, and says the order of segments.
    pub seq: u32,
    /// Identity of the log, the same in all its files.
    pub log_id: u64,
    /// When it was created, Unix milliseconds.
    pub created_ms: u64,
    /// Bytes of the segment before it, 0 for the first.
    pub previous_end: u32,
}

/// Why a segment's header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// The file is shorter than a header: its creation was interrupted.
    Short,
    /// Not a segment's header, or a damaged one.
    Damaged,
    /// Written by a newer Towline.
    Version(u32),
}

impl SegmentHeader {
    /// Decodes a header; never panics.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(bytes) = bytes.get(..HEADER_BYTES as usize) else { return Err(HeaderError::Short) };
        if &bytes[..8] != MAGIC || u32_at(bytes, 36) != crc32fast::hash(&bytes[..36]) {
            return Err(HeaderError::Damaged);
        }
        match u32_at(bytes, 8) {
            FORMAT_VERSION => Ok(Self {
                seq: u32_at(bytes, 12),
                log_id: u64_at(bytes, 16),
                created_ms: u64_at(bytes, 24),
                previous_end: u32_at(bytes, 32),
            }),
            other => Err(HeaderError::Version(other)),
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut out = [0; HEADER_BYTES as usize];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.seq.to_le_bytes());
        out[16..24].copy_from_slice(&self.log_id.to_le_bytes());
        out[24..32].copy_from_slice(&self.created_ms.to_le_bytes());
        out[32..36].copy_from_slice(&self.previous_end.to_le_bytes());
        let sum = crc32fast::hash(&out[..36]);
        out[36..].copy_from_slice(&sum.to_le_bytes());
        out
    }
}

/// The salt of all checksums in a segment. Derived, not stored, so that a damaged header does not take the records with it.
pub(crate) fn salt(log_id: u64, seq: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&log_id.to_le_bytes());
    hasher.update(&seq.to_le_bytes());
    hasher.finalize()
}

/// `segment-0000000007.log`
pub(crate) fn file_name(seq: u32) -> String {
    format!("segment-{seq:010}.log")
}

/// The number in a segment's file name, or `None` for other files.
pub(crate) fn seq_of(file_name: &str) -> Option<u32> {
    let digits = file_name.strip_prefix("segment-")?.strip_suffix(".log")?;
    if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The last number has no successor.
    digits.parse().ok().filter(|seq| (1..u32::MAX).contains(seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_and_every_flipped_byte_is_noticed() {
        let header = SegmentHeader { seq: 7, log_id: 99, created_ms: 5, previous_end: 1234 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 0x10;
            assert_eq!(SegmentHeader::decode(&bad), Err(HeaderError::Damaged), "byte {at}");
        }
        assert_eq!(SegmentHeader::decode(&bytes[..39]), Err(HeaderError::Short));
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(seq_of(&file_name(42)), Some(42));
        for other in
            ["segment-42.log", "segment-0000000000.log", "segment-00000000x1.log", "checkpoint", "segment-9999999999.log"]
        {
            assert_eq!(seq_of(other), None, "{other}");
        }
    }
}
