//! What differs between operating systems. Everything else in this crate is portable.

use std::net::TcpStream;
use std::time::Duration;

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

/// Gives a connection up once its peer has taken nothing of what was sent for `patience`: also while its window is shut, and also
/// after this process has closed it. For HTTP answers, which have no deadline of their own. Only on systems that know such an option.
pub fn give_up_after<'s>(stream: impl Into<SockRef<'s>>, patience: Duration) {
    // Where it cannot be set the connection is merely held longer.
    let _ = limit_patience(&stream.into(), patience);
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

#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_patience(socket: &SockRef<'_>, patience: Duration) -> std::io::Result<()> {
    socket.set_tcp_user_timeout(Some(patience))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_patience(_: &SockRef<'_>, _: Duration) -> std::io::Result<()> {
    Ok(())
}
