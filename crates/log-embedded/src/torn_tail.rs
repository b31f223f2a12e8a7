//! What an interrupted write, or a lost one, leaves at a log's end, and how to tell it from damage.

use std::io;

use crate::files::{LogFile, read_full_at, write_all_at};
use crate::record_codec::{self, FRAME_HEAD_BYTES, RECORD_BYTES_MAX};
use crate::segment_scan::{Found, scan};

/// Where the part begins that was never synced, if something is wrong in it. After a loss of power, pages of that part may have
/// reached the device in any order, so that whole records stand behind torn ones; none of it was promised a sync.
pub(crate) fn never_synced_from(file: &dyn LogFile, salt: u32) -> io::Result<Option<u32>> {
    let mut bad: Vec<u32> = Vec::new();
    scan(file, salt, |found| match found {
        Found::Damage { from, .. } => bad.push(from),
        // Whatever is wrong before this place went wrong later than the write.
        Found::Record { frame, .. } => bad.retain(|from| *from >= frame.synced_to),
    })?;
    Ok(bad.first().copied())
}

/// Whether the file's last record only seems to be cut short, because its length is damaged.
pub(crate) fn is_shortened(file: &dyn LogFile, from: u32, len: u64, salt: u32) -> io::Result<bool> {
    let tail_bytes = usize::try_from(len.saturating_sub(from.into())).unwrap_or(usize::MAX);
    if tail_bytes > RECORD_BYTES_MAX + FRAME_HEAD_BYTES {
        return Ok(false);
    }
    let mut tail = vec![0; tail_bytes];
    let read = read_full_at(file, from.into(), &mut tail)?;
    Ok(record_codec::is_whole_but_for_its_length(&tail[..read], salt))
}

/// Writes a segment's own bytes over themselves. If the process before ended because a sync failed, the kernel may hold bytes
/// that it believes to be on the device and that are not; written again, they are synced again.
pub(crate) fn rewrite(file: &dyn LogFile, end: u64) -> io::Result<()> {
    let mut block = vec![0; 1024 * 1024];
    let mut at = 0;
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(block.len());
        let read = read_full_at(file, at, &mut block[..count])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_all_at(file, at, &block[..read])?;
        at += read as u64;
    }
    Ok(())
}
