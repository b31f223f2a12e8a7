//! What the log finds in its files. Random bytes never pass a checksum, so each target also tries them with the right one.

use towline_log_embedded::{Checkpoint, DecodeError, RECORD_BYTES_MAX, SegmentHeader, decode_record};

const SEGMENT_HEADER_BYTES: usize = 40;

/// A record. The first four bytes are the salt of its checksum.
pub fn record(data: &[u8]) {
    let Some((salt, bytes)) = data.split_first_chunk() else { return };
    let salt = u32::from_le_bytes(*salt);
    check_record(bytes, salt);
    let mut summed = bytes.to_vec();
    sum_record(&mut summed, salt);
    check_record(&summed, salt);
}

/// The checkpoint.
pub fn checkpoint(data: &[u8]) {
    check_checkpoint(data);
    let mut summed = data.to_vec();
    sum_checkpoint(&mut summed);
    check_checkpoint(&summed);
}

/// A segment's header.
pub fn segment_header(data: &[u8]) {
    let _ = SegmentHeader::decode(data);
    let mut summed = data.to_vec();
    sum_segment_header(&mut summed);
    let _ = SegmentHeader::decode(&summed);
}

fn check_record(bytes: &[u8], salt: u32) {
    match decode_record(bytes, salt) {
        Ok(frame) => {
            assert!(frame.frame_bytes <= bytes.len() && frame.topic.len() + frame.body.len() < frame.frame_bytes);
            assert_eq!(frame.id().len(), usize::from(frame.id_len));
            assert!(usize::from(frame.id_len) + usize::from(frame.kind_len) + frame.extras_len as usize <= frame.body.len());
            // What follows a record does not change it, and less than all of it is none.
            assert_eq!(decode_record(&bytes[..frame.frame_bytes], salt), Ok(frame));
            assert!(decode_record(&bytes[..frame.frame_bytes - 1], salt).is_err());
        }
        // Who reads on until then must not wait for ever, nor be made to hold more than a record.
        Err(DecodeError::Incomplete { needed }) => assert!(needed > bytes.len() && needed <= RECORD_BYTES_MAX + 8),
        Err(DecodeError::Malformed | DecodeError::Checksum) => {}
    }
}

fn check_checkpoint(bytes: &[u8]) {
    if let Some(checkpoint) = Checkpoint::decode(bytes) {
        // Every entry takes some bytes of the file, so a count cannot make it large.
        assert!(checkpoint.segments.len() * 8 + checkpoint.topics.len() * 30 <= bytes.len());
    }
}

/// Puts the right checksum on the record at the start of `bytes`, if there is one, and gives its length.
pub(crate) fn sum_record(bytes: &mut [u8], salt: u32) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes.get(4..end)?);
    bytes[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
    Some(end)
}

/// Puts the right checksum at the end of a checkpoint.
pub(crate) fn sum_checkpoint(bytes: &mut [u8]) {
    if let Some((content, sum)) = bytes.split_last_chunk_mut() {
        *sum = crc32fast::hash(content).to_le_bytes();
    }
}

/// Puts the right checksum into a segment's header.
pub(crate) fn sum_segment_header(bytes: &mut [u8]) {
    if let Some(header) = bytes.get_mut(..SEGMENT_HEADER_BYTES)
        && let Some((content, sum)) = header.split_last_chunk_mut()
    {
        *sum = crc32fast::hash(content).to_le_bytes();
    }
}

/// Puts the right checksums on a segment's header and on all its records that can be found by their lengths.
pub(crate) fn sum_segment(bytes: &mut [u8], log_id: u64, seq: u32) {
    sum_segment_header(bytes);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&log_id.to_le_bytes());
    hasher.update(&seq.to_le_bytes());
    let salt = hasher.finalize();
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(length) = bytes.get_mut(at..).and_then(|rest| sum_record(rest, salt)) {
        at += length;
    }
}
