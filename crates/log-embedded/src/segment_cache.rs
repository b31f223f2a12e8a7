//! Open segments for readers: a few, because a large log has more segments than a process may have open files.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{Files, LogFile};
use crate::segment;

/// One file descriptor each.
const OPEN_MAX: usize = 64;

/// The segments read last, the latest at the end.
#[derive(Default)]
pub(crate) struct SegmentCache {
    open: Mutex<Vec<(u32, Arc<dyn LogFile>)>>,
}

impl SegmentCache {
    /// The open file of a segment.
    pub fn get(&self, files: &dyn Files, seq: u32) -> io::Result<Arc<dyn LogFile>> {
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|(other, _)| *other == seq) {
            let entry = open.remove(at);
            let file = entry.1.clone();
            open.push(entry);
            return Ok(file);
        }
        drop(open);
        let file = files.open(&segment::file_name(seq))?;
        let mut open = self.open.lock();
        if open.len() >= OPEN_MAX {
            open.remove(0);
        }
        open.push((seq, file.clone()));
        Ok(file)
    }

    /// Lets go of a segment that is removed.
    pub fn forget(&self, seq: u32) {
        self.open.lock().retain(|(other, _)| *other != seq);
    }
}
