//! The checkpoint: what the segments alone cannot tell. Which segments there are, how far each topic was trimmed, which epoch it is in,
//! which of its events were lost to damage, and whether the log was closed cleanly.
//!
//! One file, replaced atomically, always written before a segment is removed. What was appended since is found in the segments.

use std::io;

use crate::files::{Files, is_full, read_full_at, write_all_at};
use crate::record_codec::NUMBER_MAX;

/// The file's name, and the name under which the next one is prepared.
pub(crate) const FILE: &str = "checkpoint";
const NEXT_FILE: &str = "checkpoint.next";
/// Zeros, given up for a checkpoint when the disk is full.
const RESERVE_FILE: &str = "reserve";
const RESERVE_BYTES_MIN: usize = 64 * 1024;
const MAGIC: &[u8; 8] = b"TOWLCKP\n";
const VERSION: u32 = 1;
const BOOT_ID_BYTES_MAX: usize = 255;

/// What stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Identity of the log.
    pub log_id: u64,
    /// The highest epoch ever given out.
    pub last_epoch: u64,
    /// The epoch of topics that were never written to.
    pub base_epoch: u64,
    /// The newest time ever given to an event, Unix milliseconds.
    pub last_ts_ms: u64,
    /// Some topic may be acknowledged before it is synced.
    pub relaxed_in_use: bool,
    /// Written as the last act of an orderly close: heads are exact, nothing was appended since.
    pub clean: bool,
    /// The machine's run, where known.
    pub boot_id: String,
    /// All segments in order; the end of each in bytes, 0 where it was still growing.
    pub segments: Vec<(u32, u32)>,
    /// All topics that were ever written to.
    pub topics: Vec<TopicState>,
}

/// A topic in the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicState {
    /// Its name, not checked against the rules for names.
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Events up to this offset are gone.
    pub floor: u64,
    /// The last offset when the checkpoint was written.
    pub head: u64,
    /// Its last event was acknowledged before it was synced.
    pub relaxed: bool,
    /// First and last offset of stretches that were lost to damage, and that the operator was told of.
    pub holes: Vec<(u64, u64)>,
}

impl Checkpoint {
    /// Decodes a checkpoint file; never panics, never allocates more than a few times the input.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = Reader(content);
        if rest.bytes(8)? != MAGIC || rest.u32()? != VERSION {
            return None;
        }
        let mut checkpoint = Self {
            log_id: rest.u64()?,
            last_epoch: rest.u64()?,
            base_epoch: rest.u64()?,
            last_ts_ms: rest.u64()?,
            relaxed_in_use: rest.u8()? != 0,
            clean: rest.u8()? != 0,
            boot_id: rest.text()?,
            ..Self::default()
        };
        for _ in 0..rest.u32()? {
            checkpoint.segments.push((rest.u32()?, rest.u32()?));
        }
        for _ in 0..rest.u32()? {
            let mut topic = TopicState {
                name: rest.text()?,
                epoch: rest.u64()?,
                floor: rest.u64()?,
                head: rest.u64()?,
                relaxed: rest.u8()? != 0,
                holes: Vec::new(),
            };
            for _ in 0..rest.u32()? {
                topic.holes.push((rest.u64()?, rest.u64()?));
            }
            checkpoint.topics.push(topic);
        }
        (rest.0.is_empty() && checkpoint.is_plausible()).then_some(checkpoint)
    }

    /// Whether the numbers could have been written by a log: a checksum shows what a disk did, not what a program or a person did.
    fn is_plausible(&self) -> bool {
        let topic = |topic: &TopicState| {
            let mut before = 0;
            let mut ordered = |&(first, last): &(u64, u64)| {
                let follows = before < first && first <= last && last <= topic.head;
                before = last;
                follows
            };
            topic.epoch <= NUMBER_MAX
                && topic.floor <= topic.head
                && topic.head <= NUMBER_MAX
                && topic.holes.iter().all(&mut ordered)
        };
        self.last_epoch.max(self.base_epoch).max(self.last_ts_ms) <= NUMBER_MAX
            && self.segments.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && self.segments.iter().all(|(seq, _)| (1..u32::MAX).contains(seq))
            && self.topics.iter().all(topic)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.topics.len() * 64);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.log_id, self.last_epoch, self.base_epoch, self.last_ts_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[u8::from(self.relaxed_in_use), u8::from(self.clean)]);
        put_text(&mut out, &self.boot_id);
        out.extend_from_slice(&(self.segments.len() as u32).to_le_bytes());
        for (seq, end) in &self.segments {
            out.extend_from_slice(&seq.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(&(self.topics.len() as u32).to_le_bytes());
        for topic in &self.topics {
            put_text(&mut out, &topic.name);
            for number in [topic.epoch, topic.floor, topic.head] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.push(u8::from(topic.relaxed));
            out.extend_from_slice(&(topic.holes.len() as u32).to_le_bytes());
            for (first, last) in &topic.holes {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&last.to_le_bytes());
            }
        }
        let sum = crc32fast::hash(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Replaces the file; on return the new one is on the device under its name, or the old one still stands.
    ///
    /// A full disk must not prevent it, since without a checkpoint no segment can be removed: some space is kept in reserve for it.
    pub(crate) fn store(&self, files: &dyn Files) -> io::Result<()> {
        let bytes = self.encode();
        match write_next(files, &bytes) {
            Err(error) if is_full(&error) => {
                files.remove(RESERVE_FILE)?;
                write_next(files, &bytes)?;
            }
            other => other?,
        }
        files.rename(NEXT_FILE, FILE)?;
        files.sync_directory()?;
        keep_reserve(files, bytes.len());
        Ok(())
    }

    /// Reads the file's bytes, or `None` if there is none.
    pub(crate) fn load(files: &dyn Files) -> io::Result<Option<Vec<u8>>> {
        let file = match files.open(FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        let read = read_full_at(&*file, 0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }
}

fn write_next(files: &dyn Files, bytes: &[u8]) -> io::Result<()> {
    let file = files.create(NEXT_FILE)?;
    write_all_at(&*file, 0, bytes)?;
    file.sync()
}

/// Holds space for the next checkpoint, twice the size of this one so that it may grow. Where there is no space, there is none to hold.
fn keep_reserve(files: &dyn Files, checkpoint_bytes: usize) {
    let needed = checkpoint_bytes as u64;
    if files.open(RESERVE_FILE).and_then(|file| file.len()).is_ok_and(|len| len >= needed) {
        return;
    }
    let hold = || {
        let file = files.create(RESERVE_FILE)?;
        write_all_at(&*file, 0, &vec![0; checkpoint_bytes.saturating_mul(2).max(RESERVE_BYTES_MIN)])?;
        file.sync()
    };
    if let Err(error) = hold() {
        let held = files.open(RESERVE_FILE).and_then(|file| file.len()).unwrap_or(0);
        tracing::debug!(%error, held, needed, "could not hold the full reserve for the next checkpoint");
    }
}

/// Names and boot ids are shorter than this by construction.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(BOOT_ID_BYTES_MAX)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4).map(|b| crate::record_codec::u32_at(b, 0))
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes(8).map(|b| crate::record_codec::u64_at(b, 0))
    }

    fn text(&mut self) -> Option<String> {
        let len = self.u8()?;
        String::from_utf8(self.bytes(len.into())?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_survives_and_every_flipped_byte_is_noticed() {
        let checkpoint = Checkpoint {
            log_id: 1,
            last_epoch: 2,
            base_epoch: 3,
            last_ts_ms: 4,
            relaxed_in_use: true,
            clean: true,
            boot_id: "boot".into(),
            segments: vec![(1, 500), (3, 0)],
            topics: vec![TopicState { name: "user:1".into(), epoch: 9, floor: 4, head: 10, relaxed: true, holes: vec![(6, 7)] }],
        };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Checkpoint::decode(&bad), None, "byte {at}");
            assert_eq!(Checkpoint::decode(&bytes[..at]), None);
        }
    }
}
