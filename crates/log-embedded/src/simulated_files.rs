//! Files that live in memory and fail on request: full disks, failing syncs, short writes, killed processes, lost power, flipped bytes.
//!
//! They are stricter than a real file system: what was not synced may be lost in any part and any order, a new name lasts only once its
//! directory is synced, and after a failed sync the bytes concerned are readable but never become durable.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{DirectoryLock, Files, LogFile};
use crate::simulated_device::{Change, Device, Inode, NameChange, apply};

/// A directory on a simulated device, as one process sees it. Clones are the same process.
#[derive(Clone)]
pub struct SimulatedFiles {
    device: Arc<Mutex<Device>>,
    process: u64,
}

impl SimulatedFiles {
    /// An empty directory on a device with space enough. `seed` decides what short writes and losses of power leave.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let device = Device {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            process: 1,
            boot: 1,
            locked: false,
            bytes_max: usize::MAX,
            fail_syncs: false,
            fail_writes: false,
            short_writes: false,
            changes_left: None,
            random: fastrand::Rng::with_seed(seed),
        };
        Self { process: device.process, device: Arc::new(Mutex::new(device)) }
    }

    /// Another device with the same content, independent from here on. Nobody has its lock.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut device = self.device.lock().clone();
        device.locked = false;
        device.process += 1;
        Self { process: device.process, device: Arc::new(Mutex::new(device)) }
    }

    /// The device is full once all files together have this many bytes.
    pub fn set_space(&self, bytes_max: usize) {
        self.device.lock().bytes_max = bytes_max;
    }

    /// Bytes in use.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.device.lock().used()
    }

    /// Whether syncs fail.
    pub fn fail_syncs(&self, fail: bool) {
        self.device.lock().fail_syncs = fail;
    }

    /// Whether writes fail, other than for lack of space.
    pub fn fail_writes(&self, fail: bool) {
        self.device.lock().fail_writes = fail;
    }

    /// Whether writes take a random part of what they are given.
    pub fn short_writes(&self, short: bool) {
        self.device.lock().short_writes = short;
    }

    /// The process dies in the middle of the `count`th change from now on; everything after it fails.
    pub fn die_after_changes(&self, count: u64) {
        self.device.lock().changes_left = Some(count.max(1));
    }

    /// The process is killed: what it wrote stays, synced or not; nothing that it holds works any longer, its lock is free.
    /// Returns the directory as the next process sees it.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut device = self.device.lock();
        device.process += 1;
        device.locked = false;
        device.changes_left = None;
        device.fail_syncs = false;
        device.fail_writes = false;
        Self { process: device.process, device: self.device.clone() }
    }

    /// The power fails: of what was not synced, any part may be lost, in any order. The machine starts again.
    /// Returns the directory as the next process sees it.
    #[must_use]
    pub fn lose_power(&self) -> Self {
        let next = self.kill();
        let mut device = self.device.lock();
        device.lose_power();
        drop(device);
        next
    }

    /// Names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.device.lock().names.keys().cloned().collect()
    }

    /// A file's bytes, empty if there is no such file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let device = self.device.lock();
        device.names.get(name).map(|inode| device.inodes[*inode].seen.clone()).unwrap_or_default()
    }

    /// Changes a file behind everybody's back, as a failing device does.
    pub fn corrupt(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut device = self.device.lock();
        if let Some(inode) = device.names.get(name).copied() {
            let inode = &mut device.inodes[inode];
            change(&mut inode.seen);
            inode.durable = inode.seen.clone();
            inode.unsynced.clear();
        }
    }

    fn handle(&self, inode: usize) -> Arc<dyn LogFile> {
        Arc::new(Handle { device: self.device.clone(), inode, process: self.process })
    }
}

struct Handle {
    device: Arc<Mutex<Device>>,
    inode: usize,
    process: u64,
}

impl LogFile for Handle {
    fn len(&self) -> io::Result<u64> {
        let device = self.device.lock();
        device.check(self.process)?;
        Ok(device.inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let device = self.device.lock();
        device.check(self.process)?;
        let seen = &device.inodes[self.inode].seen;
        let rest = usize::try_from(at).ok().and_then(|at| seen.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut device = self.device.lock();
        let dying = device.change(self.process)?;
        if device.fail_writes {
            return Err(io::Error::other("simulated: the device cannot write"));
        }
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let grows_from = device.inodes[self.inode].seen.len();
        let space = grows_from + device.bytes_max.saturating_sub(device.used());
        let fits = space.saturating_sub(at).min(bytes.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let partly = (dying || device.short_writes) && fits > 0;
        let count = if partly { device.random.usize(1..=fits) } else { fits };
        let change = Change::Write { at, bytes: bytes[..count].to_vec() };
        let inode = &mut device.inodes[self.inode];
        apply(&mut inode.seen, &change);
        inode.unsynced.push(change);
        if dying { Err(io::Error::other("the process was killed")) } else { Ok(count) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut device = self.device.lock();
        device.change(self.process)?;
        let change = Change::SetLen(usize::try_from(len).map_err(io::Error::other)?);
        let inode = &mut device.inodes[self.inode];
        apply(&mut inode.seen, &change);
        inode.unsynced.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut device = self.device.lock();
        let dying = device.change(self.process)?;
        let failing = device.fail_syncs;
        let inode = &mut device.inodes[self.inode];
        let unsynced = std::mem::take(&mut inode.unsynced);
        if failing {
            // The kernel forgets that these bytes still have to be written.
            return Err(io::Error::other("simulated: the device cannot sync"));
        }
        for change in &unsynced {
            apply(&mut inode.durable, change);
        }
        if dying { Err(io::Error::other("the process was killed")) } else { Ok(()) }
    }
}

struct Lock {
    device: Arc<Mutex<Device>>,
    process: u64,
}

impl DirectoryLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut device = self.device.lock();
        if device.process == self.process {
            device.locked = false;
        }
    }
}

impl Files for SimulatedFiles {
    fn location(&self) -> PathBuf {
        "simulated".into()
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        let mut device = self.device.lock();
        if std::mem::replace(&mut device.locked, true) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another log uses it"));
        }
        Ok(Box::new(Lock { device: self.device.clone(), process: device.process }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let device = self.device.lock();
        device.check(self.process)?;
        let inode = *device.names.get(name).ok_or_else(|| Device::not_found(name))?;
        drop(device);
        Ok(self.handle(inode))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut device = self.device.lock();
        device.change(self.process)?;
        let inode = device.inodes.len();
        device.inodes.push(Inode::default());
        device.set_name(name, inode);
        drop(device);
        Ok(self.handle(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut device = self.device.lock();
        device.change(self.process)?;
        let inode = device.names.remove(from).ok_or_else(|| Device::not_found(from))?;
        device.set_name(to, inode);
        device.unsynced_names.push(NameChange::Remove(from.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut device = self.device.lock();
        device.change(self.process)?;
        device.names.remove(name).ok_or_else(|| Device::not_found(name))?;
        device.unsynced_names.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut device = self.device.lock();
        device.change(self.process)?;
        device.durable_names = device.names.clone();
        device.unsynced_names.clear();
        Ok(())
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!("boot {}", self.device.lock().boot))
    }
}
