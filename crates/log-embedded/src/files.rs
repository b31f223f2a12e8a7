//! The file operations that the log needs, as a trait, so that tests can fail, tear and lose any of them.
//!
//! Names are relative to one directory. Nothing here knows what the files mean.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::platform;

/// An open file, written and read at positions. May be shared between threads.
pub trait LogFile: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `into.len()` bytes from `at`; 0 means the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes some of `bytes` at `at` and says how many.
    ///
    /// # Errors
    /// What the system says; nothing or a part may have been written.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns once the bytes, and what is needed to read them back, are on the device.
    ///
    /// # Errors
    /// After an error it is unknown which bytes are on the device, and asking again does not tell.
    fn sync(&self) -> io::Result<()>;
}

/// Held while the directory is ours; dropping it lets go.
pub trait DirectoryLock: Send + Sync {}

/// A directory of files.
pub trait Files: Send + Sync + 'static {
    /// Where the directory is, for messages.
    fn location(&self) -> PathBuf;
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// What the system says.
    fn prepare(&self) -> io::Result<()>;
    /// Takes the directory for this process alone.
    ///
    /// # Errors
    /// `WouldBlock` with a text that says who has it; else what the system says.
    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>>;
    /// Names of all files.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Makes an empty file, replacing one of that name.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Renames a file, replacing one of the new name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns once all creations, renames and removals are on the device.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self) -> io::Result<()>;
    /// Identity of the machine's current run, where it is known: if it is the same as before, what an earlier process wrote
    /// without a sync is still there.
    fn boot_id(&self) -> Option<String>;
}

/// The operating system's files.
#[derive(Debug, Clone)]
pub struct OsFiles {
    directory: PathBuf,
}

impl OsFiles {
    /// Files in `directory`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The file that carries the lock, and the process that has it.
const LOCK_FILE: &str = "lock";

struct OsLock {
    /// The lock goes with the open file.
    _file: fs::File,
}

impl DirectoryLock for OsLock {}

impl Files for OsFiles {
    fn location(&self) -> PathBuf {
        self.directory.clone()
    }

    fn prepare(&self) -> io::Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        // The directory's own name must survive too.
        match self.directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => platform::sync_directory(parent),
            _ => platform::sync_directory(Path::new(".")),
        }
    }

    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        let path = self.path(LOCK_FILE);
        let file = fs::File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(io::Error::new(io::ErrorKind::WouldBlock, holder(&path))),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        platform::write_at(&file, 0, format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Box::new(OsLock { _file: file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // Names that are not UTF-8 are not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(OsFile(fs::File::options().read(true).write(true).open(self.path(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let options = fs::File::options().read(true).write(true).create(true).truncate(true).open(self.path(name))?;
        Ok(Arc::new(OsFile(options)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        platform::sync_directory(&self.directory)
    }

    fn boot_id(&self) -> Option<String> {
        platform::boot_id()
    }
}

fn holder(lock_file: &Path) -> String {
    let who = fs::read_to_string(lock_file).unwrap_or_default();
    match who.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid} uses it"),
        Err(_) => "another process uses it".into(),
    }
}

struct OsFile(fs::File);

impl LogFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        platform::read_at(&self.0, at, into)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        platform::write_at(&self.0, at, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Writes all of `bytes` at `at`, through short writes and interruptions.
pub(crate) fn write_all_at(file: &dyn LogFile, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(at, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                bytes = &bytes[written.min(bytes.len())..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills as much of `into` as the file has from `at`, and says how much that is.
pub(crate) fn read_full_at(file: &dyn LogFile, at: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(at + filled as u64, &mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether an error means that space ran out and may come back.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
