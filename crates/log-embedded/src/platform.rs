//! Everything that differs between operating systems. The other modules build everywhere.

use std::fs::File;
use std::io;
use std::path::Path;

#[cfg(unix)]
pub(crate) fn read_at(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, at)
}

#[cfg(unix)]
pub(crate) fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, at)
}

/// Where files have one shared position, seeking and reading must not be torn apart by another thread.
#[cfg(not(unix))]
static SEEKING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

#[cfg(not(unix))]
pub(crate) fn read_at(mut file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    use io::{Read, Seek};
    let _alone = SEEKING.lock();
    file.seek(io::SeekFrom::Start(at))?;
    file.read(into)
}

#[cfg(not(unix))]
pub(crate) fn write_at(mut file: &File, at: u64, bytes: &[u8]) -> io::Result<usize> {
    use io::{Seek, Write};
    let _alone = SEEKING.lock();
    file.seek(io::SeekFrom::Start(at))?;
    file.write(bytes)
}

/// On Unix a new name is durable only once its directory is synced.
#[cfg(unix)]
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// Changes with every start of the machine's kernel.
#[cfg(target_os = "linux")]
pub(crate) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Unknown: recovery then assumes the worst after every unclean end.
#[cfg(not(target_os = "linux"))]
pub(crate) fn boot_id() -> Option<String> {
    None
}
