//! What a simulated directory lies on: what a process sees of it, and what of that survives.

use std::collections::BTreeMap;
use std::io;

/// What the device tears writes at.
const PAGE_BYTES: usize = 512;

#[derive(Clone)]
pub(crate) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Default)]
pub(crate) struct Inode {
    /// What a process sees.
    pub seen: Vec<u8>,
    /// What survives a loss of power for certain.
    pub durable: Vec<u8>,
    /// What has happened since the last sync.
    pub unsynced: Vec<Change>,
}

#[derive(Clone)]
pub(crate) enum NameChange {
    Set(String, usize),
    Remove(String),
}

#[derive(Clone)]
pub(crate) struct Device {
    pub inodes: Vec<Inode>,
    pub names: BTreeMap<String, usize>,
    pub durable_names: BTreeMap<String, usize>,
    pub unsynced_names: Vec<NameChange>,
    /// Grows with every kill: handles of an earlier process are dead.
    pub process: u64,
    pub boot: u64,
    pub locked: bool,
    pub bytes_max: usize,
    pub fail_syncs: bool,
    pub fail_writes: bool,
    pub short_writes: bool,
    /// Counted down by each change; at zero the process is as good as dead.
    pub changes_left: Option<u64>,
    pub random: fastrand::Rng,
}

impl Device {
    pub fn check(&self, process: u64) -> io::Result<()> {
        if self.process != process || self.changes_left == Some(0) {
            return Err(io::Error::other("the process was killed"));
        }
        Ok(())
    }

    /// As `check`, for something that changes the device. Returns whether this is the change in which the process dies.
    pub fn change(&mut self, process: u64) -> io::Result<bool> {
        self.check(process)?;
        if let Some(left) = &mut self.changes_left {
            *left -= 1;
            return Ok(*left == 0);
        }
        Ok(false)
    }

    /// Of what was not synced, any part may be lost, in any order.
    pub fn lose_power(&mut self) {
        let Device { inodes, random, .. } = self;
        for inode in inodes.iter_mut() {
            // Either the first changes arrived, the last of them in part, or each page of each change came or did not.
            let scattered = random.bool();
            let arrived = random.usize(..=inode.unsynced.len());
            for (at, change) in std::mem::take(&mut inode.unsynced).into_iter().enumerate() {
                match change {
                    Change::SetLen(_) if at < arrived => apply(&mut inode.durable, &change),
                    Change::Write { at: start, bytes } if scattered => {
                        for (page, bytes) in bytes.chunks(PAGE_BYTES).enumerate() {
                            if random.bool() {
                                let write = Change::Write { at: start + page * PAGE_BYTES, bytes: bytes.to_vec() };
                                apply(&mut inode.durable, &write);
                            }
                        }
                    }
                    Change::Write { .. } if at < arrived => apply(&mut inode.durable, &change),
                    Change::Write { at: start, bytes } if at == arrived => {
                        let bytes = bytes[..random.usize(..=bytes.len())].to_vec();
                        apply(&mut inode.durable, &Change::Write { at: start, bytes });
                    }
                    Change::SetLen(_) | Change::Write { .. } => {}
                }
            }
            inode.seen = inode.durable.clone();
        }
        let changed = self.unsynced_names.len();
        let arrived = self.random.usize(..=changed);
        let changes: Vec<_> = std::mem::take(&mut self.unsynced_names).into_iter().take(arrived).collect();
        for change in changes {
            match change {
                NameChange::Set(name, inode) => self.durable_names.insert(name, inode),
                NameChange::Remove(name) => self.durable_names.remove(&name),
            };
        }
        self.names = self.durable_names.clone();
        self.boot += 1;
    }

    pub fn used(&self) -> usize {
        self.names.values().map(|id| self.inodes[*id].seen.len()).sum()
    }

    pub fn set_name(&mut self, name: &str, inode: usize) {
        self.names.insert(name.to_owned(), inode);
        self.unsynced_names.push(NameChange::Set(name.to_owned(), inode));
    }

    pub fn not_found(name: &str) -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, name.to_owned())
    }
}

pub(crate) fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => bytes.resize(*len, 0),
        Change::Write { at, bytes: written } => {
            if bytes.len() < at + written.len() {
                bytes.resize(at + written.len(), 0);
            }
            bytes[*at..at + written.len()].copy_from_slice(written);
        }
    }
}
