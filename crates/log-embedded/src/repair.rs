//! Replaces a damaged segment by one with all that could be read of it, and keeps the damaged file under another name.

use std::io;
use std::sync::Arc;

use crate::files::{Files, LogFile, read_full_at, write_all_at};
use crate::segment::{self, SegmentHeader};
use crate::segment_scan::{Found, scan};

const REPAIRED_FILE: &str = "repaired.next";
const BLOCK_BYTES: usize = 1024 * 1024;

/// A segment to repair.
pub(crate) struct Repair {
    pub seq: u32,
    pub file: Arc<dyn LogFile>,
}

/// Returns the name under which the damaged file is kept. A crash at any moment leaves either the damaged or the repaired segment.
pub(crate) fn replace(files: &dyn Files, repair: &Repair, log_id: u64, now_ms: u64) -> io::Result<String> {
    let kept_as = format!("damaged-{now_ms}-{}", segment::file_name(repair.seq));
    let kept = files.create(&kept_as)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    loop {
        let read = read_full_at(&*repair.file, at, &mut block)?;
        write_all_at(&*kept, at, &block[..read])?;
        at += read as u64;
        if read < block.len() {
            break;
        }
    }
    kept.sync()?;
    let repaired = files.create(REPAIRED_FILE)?;
    let header = SegmentHeader { seq: repair.seq, log_id, created_ms: now_ms, previous_end: 0 };
    let mut out = header.encode().to_vec();
    let mut written = 0;
    let mut failed = None;
    scan(&*repair.file, segment::salt(log_id, repair.seq), |found| {
        let Found::Record { raw, .. } = found else { return };
        out.extend_from_slice(raw);
        if out.len() >= BLOCK_BYTES && failed.is_none() {
            failed = write_all_at(&*repaired, written, &out).err();
            written += out.len() as u64;
            out.clear();
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    write_all_at(&*repaired, written, &out)?;
    repaired.sync()?;
    files.rename(REPAIRED_FILE, &segment::file_name(repair.seq))?;
    files.sync_directory()?;
    Ok(kept_as)
}
