//! One record's bytes on disk. Knows nothing of files, offsets' meaning or policies; every decoder here is total.
//!
//! A record describes itself, so that a log can be rebuilt from its segments alone:
//!
//! ```text
//! crc u32 | len u32 | flags u8 | topic_len u8 | id_len u8 | kind_len u8 | extras_len u32 | synced_to u32 | epoch u64 | offset u64 | ts_ms u64 | topic | body
//! ```
//!
//! All numbers are little-endian; `len` counts what follows it; the checksum covers everything after itself and begins with the
//! segment's salt, so that bytes from another segment, or bytes that a publisher crafted, never pass for a record here.

use bytes::{BufMut, BytesMut};
use towline_log::NewEvent;

/// Bytes before the part that `len` counts.
pub(crate) const FRAME_HEAD_BYTES: usize = 8;
/// Bytes between `len` and the topic.
pub(crate) const FIXED_BYTES: usize = 36;
/// The longest record that is written or believed: a damaged length never makes recovery allocate more than this.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Epochs and times come from clocks in milliseconds and offsets count events, so what is greater was never written. Believed, such a
/// number would overflow the arithmetic of recovery.
pub(crate) const NUMBER_MAX: u64 = (1 << 53) - 1;

const FLAG_CONTINUES: u8 = 1;
const FLAG_RELAXED: u8 = 2;

/// Where an event goes, decided by the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    pub epoch: u64,
    pub offset: u64,
    pub ts_ms: u64,
    /// Up to here the segment was synced when the record was written.
    pub synced_to: u32,
    /// Acknowledged before it was synced.
    pub relaxed: bool,
}

/// A record as it lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The topic's name, as written; not checked against the rules for names.
    pub topic: &'a str,
    /// The epoch it was written in.
    pub epoch: u64,
    /// Its offset.
    pub offset: u64,
    /// When it was taken, Unix milliseconds.
    pub ts_ms: u64,
    /// Up to here the segment was synced when this was written: damage before that place is not the trace of an interrupted write,
    /// even where the machine lost power and pages reached the device out of order.
    pub synced_to: u32,
    /// The next record belongs to the same call.
    pub continues: bool,
    /// It was acknowledged before it was synced.
    pub relaxed: bool,
    /// Length of the id at the start of the body.
    pub id_len: u8,
    /// Length of the type behind the id.
    pub kind_len: u8,
    /// Length of the extras behind the type.
    pub extras_len: u32,
    /// Id, type, extras and data end to end.
    pub body: &'a [u8],
    /// Bytes of the whole record, checksum and length included.
    pub frame_bytes: usize,
}

impl<'a> Frame<'a> {
    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &'a [u8] {
        &self.body[..usize::from(self.id_len)]
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the record does.
    #[error("the record needs {needed} bytes")]
    Incomplete {
        /// How many bytes, from the record's start, are needed to tell more.
        needed: usize,
    },
    /// The lengths contradict each other.
    #[error("not a record")]
    Malformed,
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
}

/// Decodes and verifies the record at the start of `bytes`.
///
/// # Errors
/// [`DecodeError`] for every input that is not exactly a record written with `salt`; never panics.
pub fn decode_record(bytes: &[u8], salt: u32) -> Result<Frame<'_>, DecodeError> {
    let frame = layout(bytes)?;
    if verify(bytes, &frame, salt) { Ok(frame) } else { Err(DecodeError::Checksum) }
}

/// Whether the checksum of a frame, laid out from these bytes, is right.
pub(crate) fn verify(bytes: &[u8], frame: &Frame<'_>, salt: u32) -> bool {
    u32_at(bytes, 0) == checksum(salt, &bytes[4..frame.frame_bytes])
}

/// Reads the layout without verifying the checksum: enough to step over the records of other topics.
pub(crate) fn layout(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    if bytes.len() < FRAME_HEAD_BYTES {
        return Err(DecodeError::Incomplete { needed: FRAME_HEAD_BYTES });
    }
    let len = u32_at(bytes, 4) as usize;
    if !(FIXED_BYTES..=RECORD_BYTES_MAX).contains(&len) {
        return Err(DecodeError::Malformed);
    }
    if bytes.len() >= FRAME_HEAD_BYTES + 4 {
        // Known early, so that a search for the next record among damaged bytes is cheap.
        let (flags, topic_len) = (bytes[8], usize::from(bytes[9]));
        if flags & !(FLAG_CONTINUES | FLAG_RELAXED) != 0 || topic_len == 0 || FIXED_BYTES + topic_len > len {
            return Err(DecodeError::Malformed);
        }
    }
    let frame_bytes = FRAME_HEAD_BYTES + len;
    if bytes.len() < frame_bytes {
        return Err(DecodeError::Incomplete { needed: frame_bytes });
    }
    let (flags, topic_len, id_len, kind_len) = (bytes[8], usize::from(bytes[9]), bytes[10], bytes[11]);
    let extras_len = u32_at(bytes, 12);
    let topic_start = FRAME_HEAD_BYTES + FIXED_BYTES;
    let (topic, body) = bytes[topic_start..frame_bytes].split_at(topic_len);
    let parts = usize::from(id_len) + usize::from(kind_len) + extras_len as usize;
    let Ok(topic) = std::str::from_utf8(topic) else { return Err(DecodeError::Malformed) };
    let (epoch, offset, ts_ms) = (u64_at(bytes, 20), u64_at(bytes, 28), u64_at(bytes, 36));
    if parts > body.len() || offset == 0 || epoch.max(offset).max(ts_ms) > NUMBER_MAX {
        return Err(DecodeError::Malformed);
    }
    // What recovery takes, reads must be able to hand out.
    if !body[..usize::from(id_len) + usize::from(kind_len)].is_ascii() {
        return Err(DecodeError::Malformed);
    }
    Ok(Frame {
        topic,
        epoch,
        offset,
        ts_ms,
        synced_to: u32_at(bytes, 16),
        continues: flags & FLAG_CONTINUES != 0,
        relaxed: flags & FLAG_RELAXED != 0,
        id_len,
        kind_len,
        extras_len,
        body,
        frame_bytes,
    })
}

/// How many bytes [`encode`] will add for an event.
pub(crate) fn encoded_bytes(event: &NewEvent) -> usize {
    FRAME_HEAD_BYTES + FIXED_BYTES + event.topic.as_str().len() + event.body_bytes()
}

/// Whether an event can be written; `Err` says why not.
pub(crate) fn check(event: &NewEvent) -> Result<(), String> {
    let plain = |text: &str| !text.is_empty() && text.len() <= usize::from(u8::MAX) && text.is_ascii();
    if !plain(&event.id) || !plain(&event.kind) {
        return Err("an event's id and type must be 1 to 255 ASCII bytes".into());
    }
    let bytes = encoded_bytes(event);
    if bytes > RECORD_BYTES_MAX {
        return Err(format!("an event may take {RECORD_BYTES_MAX} bytes, this one takes {bytes}"));
    }
    Ok(())
}

/// Appends a checked event's record to `out`, still without its checksum: [`seal`] adds it once it is known whether the call goes on.
pub(crate) fn encode(out: &mut BytesMut, event: &NewEvent, at: &Placement) {
    let topic = event.topic.as_str().as_bytes();
    let len = FIXED_BYTES + topic.len() + event.body_bytes();
    out.reserve(FRAME_HEAD_BYTES + len);
    out.put_u32_le(0);
    // `check` bounds each of these below its type's range.
    out.put_u32_le(len as u32);
    out.put_u8(if at.relaxed { FLAG_RELAXED } else { 0 });
    out.put_u8(topic.len() as u8);
    out.put_u8(event.id.len() as u8);
    out.put_u8(event.kind.len() as u8);
    out.put_u32_le(event.extras.len() as u32);
    out.put_u32_le(at.synced_to);
    out.put_u64_le(at.epoch);
    out.put_u64_le(at.offset);
    out.put_u64_le(at.ts_ms);
    out.put_slice(topic);
    out.put_slice(event.id.as_bytes());
    out.put_slice(event.kind.as_bytes());
    out.put_slice(&event.extras);
    out.put_slice(&event.data);
}

/// Completes an encoded record. `continues`: the next record belongs to the same call, so that both are kept or both are cut.
pub(crate) fn seal(frame: &mut [u8], salt: u32, continues: bool) {
    if continues {
        frame[FRAME_HEAD_BYTES] |= FLAG_CONTINUES;
    }
    let sum = checksum(salt, &frame[4..]);
    frame[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Whether `bytes`, which end where the file does, would be a whole record if only its length were right: then not an interrupted
/// write but damage made it too short.
pub(crate) fn is_whole_but_for_its_length(bytes: &[u8], salt: u32) -> bool {
    let Some(len) = bytes.len().checked_sub(FRAME_HEAD_BYTES).and_then(|len| u32::try_from(len).ok()) else { return false };
    let mut mended = bytes.to_vec();
    mended[4..FRAME_HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
    decode_record(&mended, salt).is_ok()
}

fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Callers have checked that the four bytes are there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

/// Callers have checked that the eight bytes are there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_log::conformance::{event, topic};

    fn record(n: u64, continues: bool) -> BytesMut {
        let mut out = BytesMut::new();
        let at = Placement { epoch: 3, offset: n, ts_ms: 5, synced_to: 77, relaxed: true };
        let event = event(&topic("user:1"), n);
        check(&event).unwrap();
        encode(&mut out, &event, &at);
        assert_eq!(out.len(), encoded_bytes(&event));
        seal(&mut out, 9, continues);
        out
    }

    #[test]
    fn a_record_survives_and_every_flipped_bit_is_noticed() {
        let bytes = record(4, true);
        let event = event(&topic("user:1"), 4);
        let frame = decode_record(&bytes, 9).unwrap();
        assert_eq!((frame.topic, frame.id(), frame.epoch, frame.offset, frame.ts_ms), ("user:1", event.id.as_bytes(), 3, 4, 5));
        assert_eq!((frame.continues, frame.relaxed, frame.synced_to, frame.frame_bytes), (true, true, 77, bytes.len()));
        assert!(frame.body.ends_with(&event.data));
        assert!(decode_record(&bytes, 10).is_err(), "another segment's record");
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_record(&bad, 9).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(matches!(decode_record(&bytes[..end], 9), Err(DecodeError::Incomplete { .. })));
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let mut bytes = record(random.u64(1..9), random.bool());
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            let end = random.usize(..=bytes.len());
            let _ = decode_record(&bytes[..end], random.u32(..));
            let _ = layout(&bytes[..end]);
            let _ = is_whole_but_for_its_length(&bytes[..end], 9);
        }
    }

    #[test]
    fn events_that_do_not_fit_are_refused_in_words() {
        let good = event(&topic("user:1"), 1);
        let refused = |event: NewEvent| check(&event).unwrap_err();
        assert!(refused(NewEvent { id: "x".repeat(256).into(), ..good.clone() }).contains("id"));
        assert!(refused(NewEvent { kind: "é".into(), ..good.clone() }).contains("type"));
        assert!(refused(NewEvent { data: vec![b'1'; RECORD_BYTES_MAX].into(), ..good }).contains("bytes"));
    }
}
