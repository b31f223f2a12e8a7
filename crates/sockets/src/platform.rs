//! What differs between operating systems. Everything else in this crate is portable.

use std::net::TcpStream;

use socket2::SockRef;

/// Sets a socket up for many small frames: no delay, and at most `unsent_bytes_max` not yet sent in the kernel (where the system
/// knows that option), so that a slow reader's backlog stays in the log and not in kernel memory.
///
/// # Errors
/// If the socket is gone.
pub fn prepare_socket(stream: &TcpStream, unsent_bytes_max: u32) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    limit_unsent(&SockRef::from(stream), unsent_bytes_max)
}

/// Lets a last frame into a socket that is full, so that the client learns why it is closed.
pub(crate) fn make_room(stream: &mio::net::TcpStream) {
    // Where it cannot be done the client sees the close without a code.
    let _ = limit_unsent(&SockRef::from(stream), u32::MAX);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unsent(socket: &SockRef<'_>, bytes: u32) -> std::io::Result<()> {
    socket.set_tcp_notsent_lowat(bytes)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unsent(_: &SockRef<'_>, _: u32) -> std::io::Result<()> {
    Ok(())
}
