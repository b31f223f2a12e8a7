//! `cargo xtask demo`: a server, and an agent that works on real documents, in one terminal.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::process::{Group, hear_interrupts, interrupted, terminate_all};
use crate::repository::Repository;

const HELP: &str = "\
cargo xtask demo [--port PORT] [--docs PATH]… [--pace TIME]

Builds, starts `towline dev` and `towline-demo-agent`, and says where to look. Ctrl-C ends both.

  --port PORT   listen here; else on 8080, or on any free port if that is taken
  --docs PATH   a file or folder that the agent searches, as often as you like; else this repository's own documents
  --pace TIME   the agent's pause between two steps, for example 300ms (the default) or 0s

What was published stays in .towline/demo, so a restarted demo still shows it.
";

/// The quickest way to the first screen, and the same build that the tests use.
const PROFILE: &str = "debug";
const PORT: u16 = 8080;
const START_PATIENCE: Duration = Duration::from_secs(60);
/// A little more than the default of `drain.timeout`.
const STOP_PATIENCE: Duration = Duration::from_secs(35);
/// A demo may stand for days.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Each event that is stored, and no line for each request.
const LOG: &str = "info,towline::http=warn";
/// Stands in the last sentence of the server's banner.
const BANNER_ENDS: &str = "End with Ctrl-C";
/// What the agent searches.
const DOCS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "PROTOCOL.md", "docs"];

/// A server in development mode and an agent.
pub struct Demo {
    server: Group,
    agent: Group,
    address: SocketAddr,
}

/// How to start one.
pub struct Options<'a> {
    /// Where the server listens; port 0 takes any.
    pub listen: SocketAddr,
    /// Where both keep what they have to remember.
    pub folder: &'a Path,
    /// What the agent searches.
    pub docs: &'a [PathBuf],
    /// The agent's pause between two steps.
    pub pace: &'a str,
    /// What the server says of itself while it runs, as its setting `logging.filter` has it.
    pub log: &'a str,
}

impl Demo {
    /// Starts both. They must have been built.
    ///
    /// # Errors
    /// If one of them ends before it is ready.
    pub fn start(repository: &Repository, options: &Options<'_>) -> anyhow::Result<Self> {
        let mut command = Command::new(repository.built(PROFILE, "towline"));
        command.args(["dev", "--listen", &options.listen.to_string(), "--data-dir"]).arg(options.folder.join("log"));
        command.args(["--set", "logging.format=text", "--set", &format!("logging.filter={}", options.log)]);
        let server = Group::start(without_settings(&mut command))?;
        let address = server.wait_for(START_PATIENCE, show("towline"), address_in)?;
        server.wait_for(START_PATIENCE, show("towline"), |line| line.contains(BANNER_ENDS).then_some(()))?;

        let mut command = Command::new(repository.built(PROFILE, "towline-demo-agent"));
        command
            .args(["--url", &format!("http://{address}"), "--pace", options.pace, "--state"])
            .arg(options.folder.join("agent"));
        // The agent names documents as they were given: from here they are short.
        command.current_dir(&repository.root);
        for docs in options.docs {
            command.arg("--docs").arg(docs);
        }
        let agent = Group::start(without_settings(&mut command))?;
        Ok(Self { server, agent, address })
    }

    /// Where to point a browser.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Shows what both print until one of them ends.
    fn show(&mut self) {
        let Self { server, agent, .. } = self;
        std::thread::scope(|threads| {
            for (group, name) in [(agent, "agent"), (server, "towline")] {
                threads.spawn(move || {
                    let _ = group.finish(FOREVER, show(name));
                    // One without the other is no demo. Asked twice, the server would not take its time.
                    if !interrupted() {
                        terminate_all();
                    }
                });
            }
        });
    }

    /// Ends both, the agent first.
    pub fn stop(&mut self) {
        self.agent.stop(STOP_PATIENCE, show("agent"));
        self.server.stop(STOP_PATIENCE, show("towline"));
    }
}

/// `cargo xtask demo`.
pub fn run(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (mut port, mut docs, mut pace) = (None, Vec::new(), "300ms".to_owned());
    let mut arguments = arguments.iter();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            "--port" => port = Some(value()?.parse::<u16>().context("--port needs a number below 65536")?),
            "--docs" => docs.push(std::path::absolute(value()?)?),
            "--pace" => pace.clone_from(value()?),
            other => bail!("unknown argument {other}; see cargo xtask demo --help"),
        }
    }
    if docs.is_empty() {
        docs.extend(DOCS.iter().filter(|name| repository.root.join(name).exists()).map(PathBuf::from));
    }
    eprintln!("building (the first time takes some minutes)…");
    let status = repository.cargo().args(["build", "--package", "towline", "--package", "towline-demo", "--bins"]).status()?;
    ensure!(status.success(), "the build failed");

    hear_interrupts()?;
    let folder = repository.root.join(".towline/demo");
    std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or_else(free_port)));
    let mut demo = Demo::start(repository, &Options { listen, folder: &folder, docs: &docs, pace: &pace, log: LOG })?;
    println!("{}", invitation(&demo.url()));
    demo.show();
    demo.stop();
    ensure!(interrupted(), "a program ended by itself; what it said stands above");
    Ok(ExitCode::SUCCESS)
}

fn invitation(url: &str) -> String {
    format!(
        "
  The demo is running.  Open  {url}/?user_id=demo

    Ask a question about the documents, for example: What is an epoch?
    The agent searches them and publishes each step; the page shows the steps as they happen.
    Press \"cut my network for 10 s\" while it works: the page reconnects and says how much it replayed.
    Kill the server or the browser at any time: nothing that was acknowledged is lost.

  Ctrl-C ends both programs.
"
    )
}

/// The usual port, or 0 for any if that is taken.
fn free_port() -> u16 {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).is_ok() { PORT } else { 0 }
}

/// Reads the address off the server's banner: `… Listening on 127.0.0.1:8080 only.`
fn address_in(line: &str) -> Option<SocketAddr> {
    line.split_once("Listening on ")?.1.split_whitespace().next()?.parse().ok()
}

fn show(name: &str) -> impl Fn(&str) + Send {
    move |line| println!("{name:>7} | {line}")
}

/// The demo must not pick up the settings of a server that is set up in this shell.
fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("TOWLINE_")) {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_where() {
        let line = "  everything. Never use it for anything but development. Listening on 127.0.0.1:4711 only.";
        assert_eq!(address_in(line), Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 4711))));
        assert_eq!(address_in("  Watch      in a browser     http://127.0.0.1:4711/?user_id=42"), None);
    }
}
