//! A server under measurement: started in a directory of its own, waited for, and gone when dropped.
//!
//! Each is started through `setpriv --pdeathsig`, so that it also goes when this program is interrupted or killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use towline_clock::Clock;

use crate::process;

/// How long a server may take to become ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(20);
const LOG: &str = "server.log";

/// A running server.
pub struct Server {
    child: Child,
    directory: TempDir,
    clock: Clock,
}

impl Server {
    /// Starts `program` with its output in a log inside `directory`, and waits until `ready` says so.
    pub fn start<A: AsRef<OsStr>>(
        clock: &Clock,
        directory: TempDir,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, String)],
        ready: impl Fn() -> bool,
    ) -> Result<Self> {
        let log = File::create(directory.path().join(LOG))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting through setpriv")?;
        let mut server = Self { child, directory, clock: clock.clone() };
        let until = clock.uptime() + PATIENCE;
        while !ready() {
            if let Some(status) = server.child.try_wait()? {
                bail!("it ended with {status}: {}", server.last_words());
            }
            if clock.uptime() > until {
                bail!("it was not ready after {} s: {}", PATIENCE.as_secs(), server.last_words());
            }
            pause(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// CPU time spent so far.
    pub fn cpu(&self) -> Duration {
        process::cpu(self.child.id())
    }

    /// User memory in bytes.
    pub fn memory(&self) -> Result<u64> {
        process::memory(self.child.id())
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = self.clock.uptime() + PATIENCE;
        while self.clock.uptime() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets time pass. A measurement is made over time, and a server that is being left alone sends no signal to wait for.
#[allow(clippy::disallowed_methods, reason = "the quiet second before a measurement is what is wanted")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Whether something accepts connections there.
pub fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// A loopback address that was free a moment ago, below the range from which the kernel takes ports for outgoing connections.
pub fn free_address() -> Result<SocketAddr> {
    for _ in 0..1000 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(20_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free loopback port between 20000 and 32000")
}
