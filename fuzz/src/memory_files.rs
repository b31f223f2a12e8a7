//! The log's files in memory, to be damaged at will.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use towline_log_embedded::{DirectoryLock, Files, LogFile};

/// The contents of a directory.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// A file that grows beyond this means that a damaged number was believed.
const FILE_BYTES_MAX: u64 = 1 << 26;

/// A directory in memory.
#[derive(Default)]
pub struct MemoryFiles(Mutex<BTreeMap<String, Arc<MemoryFile>>>);

#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

struct NoLock;

impl DirectoryLock for NoLock {}

impl MemoryFiles {
    /// A directory with these contents.
    #[must_use]
    pub fn new(contents: Contents) -> Self {
        Self(Mutex::new(contents.into_iter().map(|(name, bytes)| (name, Arc::new(MemoryFile(Mutex::new(bytes))))).collect()))
    }

    /// A copy of what is there now.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.0.lock().iter().map(|(name, file)| (name.clone(), file.0.lock().clone())).collect()
    }
}

impl Files for MemoryFiles {
    fn location(&self) -> PathBuf {
        "memory".into()
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        Ok(Box::new(NoLock))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = self.0.lock().get(name).cloned();
        file.map(|file| file as Arc<dyn LogFile>).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = Arc::new(MemoryFile::default());
        self.0.lock().insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn boot_id(&self) -> Option<String> {
        Some("one run".to_owned())
    }
}

impl LogFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.lock();
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, at: u64, new: &[u8]) -> io::Result<usize> {
        let mut bytes = self.0.lock();
        let end = at + new.len() as u64;
        assert!(end <= FILE_BYTES_MAX, "a write up to byte {end}");
        let (at, end) = (at as usize, end as usize);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at..end].copy_from_slice(new);
        Ok(new.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        assert!(len <= FILE_BYTES_MAX, "a length of {len} bytes");
        self.0.lock().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
