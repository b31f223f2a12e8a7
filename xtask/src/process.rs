//! Child processes that end when their owner does, together with whatever they started.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use towline_clock::Clock;

/// Lines that were read from a child and not yet asked for. More make the child wait.
const LINES_MAX: usize = 1024;
/// A line is cut here, so that a child cannot fill the memory with one.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The process groups that are alive, so that a signal to this program reaches them. Zero is a free seat.
static GROUPS: [AtomicI32; 8] = [const { AtomicI32::new(0) }; 8];
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A child process and all that it started. Dropping it kills them.
pub struct Group {
    name: String,
    child: Child,
    seat: &'static AtomicI32,
    lines: Receiver<String>,
}

impl Group {
    /// Starts a command in a process group of its own. What it prints comes out of [`Group::line`]; it gets no input.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        let name = std::path::Path::new(&program).file_name().unwrap_or(&program).to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let seat = GROUPS.iter().find(|seat| seat.load(SeqCst) == 0).context("too many children at once")?;
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        seat.store(child.id().cast_signed(), SeqCst);
        let (send, lines) = sync_channel(LINES_MAX);
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, send.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            read_lines(stderr, send);
        }
        Ok(Self { name, child, seat, lines })
    }

    /// The next line that it printed, on either stream; `None` once both have ended.
    ///
    /// # Errors
    /// If none comes within `patience`.
    pub fn line(&self, patience: Duration) -> anyhow::Result<Option<String>> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("{} said nothing for {} s", self.name, patience.as_secs()),
        }
    }

    /// Reads until a line for which `found` says something. All lines go through `show`.
    ///
    /// # Errors
    /// If it ends before, or takes longer than `patience`.
    pub fn wait_for<T>(
        &self,
        patience: Duration,
        mut show: impl FnMut(&str),
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let clock = Clock::system();
        loop {
            let left = patience.saturating_sub(clock.uptime());
            let line = self.line(left)?.with_context(|| format!("{} ended before it was ready", self.name))?;
            show(&line);
            if let Some(found) = found(&line) {
                return Ok(found);
            }
        }
    }

    /// Shows what it prints until it ends.
    ///
    /// # Errors
    /// If it does not end within `patience`; it is asked to end then.
    pub fn finish(&mut self, patience: Duration, mut show: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
        let clock = Clock::system();
        while let Some(line) = self.line(patience.saturating_sub(clock.uptime())).inspect_err(|_| self.terminate())? {
            show(&line);
        }
        Ok(self.child.wait()?)
    }

    /// Asks it to end, and kills it if it has not after `patience`. Shows what it still prints.
    pub fn stop(&mut self, patience: Duration, show: impl FnMut(&str)) {
        self.signal(Signal::TERM);
        // Whatever goes wrong, dropping it kills it.
        let _ = self.finish(patience, show);
    }

    /// Asks it to end, without waiting.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        send(self.child.id().cast_signed(), signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
        self.seat.store(0, SeqCst);
    }
}

fn send(group: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(group) {
        // It may be gone already.
        let _ = kill_process_group(pid, signal);
    }
}

/// Asks all children to end.
pub fn terminate_all() {
    send_all(Signal::TERM);
}

fn send_all(signal: Signal) {
    GROUPS.iter().for_each(|seat| send(seat.load(SeqCst), signal));
}

/// From now on Ctrl-C (or a polite kill) ends the children first: the children have groups of their own, so the terminal does not tell them.
/// The second time it ends everything at once.
///
/// # Errors
/// If the signals cannot be heard.
pub fn hear_interrupts() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if INTERRUPTED.swap(true, SeqCst) {
                send_all(Signal::KILL);
                std::process::exit(INTERRUPTED_CODE.into());
            }
            terminate_all();
        }
    });
    Ok(())
}

/// What a program that was interrupted ends with.
pub const INTERRUPTED_CODE: u8 = 130;

/// Whether somebody asked this program to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(SeqCst)
}

fn read_lines(stream: impl Read + Send + 'static, lines: SyncSender<String>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match stream.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                    if lines.send(text).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

/// Whether a program is on the PATH.
pub fn installed(program: impl AsRef<OsStr>) -> bool {
    let program = program.as_ref();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn lines_come_from_both_streams_and_the_end_is_seen() {
        let mut group = Group::start(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"])).unwrap();
        let mut lines = Vec::new();
        let status = group.finish(PATIENCE, |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        assert_eq!((lines, status.code()), (vec!["one".to_owned(), "two".to_owned()], Some(3)));
    }

    #[test]
    fn the_signal_reaches_what_the_child_started() {
        // The grandchild holds the output open; only its death ends the stream.
        let mut group = Group::start(Command::new("sh").args(["-c", "sleep 600 & echo up; wait"])).unwrap();
        assert_eq!(group.line(PATIENCE).unwrap().as_deref(), Some("up"));
        group.terminate();
        assert!(!group.finish(PATIENCE, |_| ()).unwrap().success());
    }
}
