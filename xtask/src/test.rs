//! `cargo xtask test` and `check`: what has to hold before a change is taken, as one command.
//!
//! Everything is compiled twice at most, once to be checked (clippy) and once to be run, both with the dev profile and the whole
//! workspace's features, so that no crate is built a third time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::autobahn;
use crate::demo::{Demo, Options};
use crate::install;
use crate::process::{Group, INTERRUPTED_CODE, hear_interrupts, installed, interrupted};
use crate::prometheus;
use crate::repository::Repository;
use crate::stage::{Outcome, Run};
use crate::tally::Tally;
use crate::tidy;

const TEST_HELP: &str = "\
cargo xtask test [--only STAGE]

Runs everything that a change must pass, in these stages:

  fmt         the code is formatted
  tidy        the project's own rules hold (see: cargo xtask tidy --help)
  clippy      no warnings, in any target of any crate
  build       the workspace with its programs and examples
  tests       all tests, with cargo nextest if it is installed
  doc-tests   the examples in the documentation
  autobahn    363 cases of the Autobahn test suite against the frame code (needs CPython 2.7, else it is not run)
  proxies     nginx and HAProxy with the configurations in deploy, in front of two gateways
  prometheus  the dashboard's queries and the alert rules against a real Prometheus
  browser     a real browser loses its network while an agent works, and shows everything once, in order

What the last four need and is missing gets installed: the suite by pip, nginx, HAProxy, Prometheus (into target) and chromium by
apt-get, Node packages by npm. The last line is `N passed, N failed` over all stages; the exit code is 0 if nothing failed, 1 if something did, 130
after Ctrl-C.
";

const CHECK_HELP: &str = "\
cargo xtask check

Formatting, tidy and clippy: the stages of `cargo xtask test` that need no build. Run it before a commit.
";

const STAGES: [&str; 10] =
    ["fmt", "tidy", "clippy", "build", "tests", "doc-tests", "autobahn", "proxies", "prometheus", "browser"];
/// A cold build on two slow cores takes a quarter of this.
const BUILD_PATIENCE: Duration = Duration::from_secs(40 * 60);
/// Tests print as they go; the longest single one takes well under a minute, compilation not counted.
const SILENCE_MAX: Duration = Duration::from_secs(20 * 60);
/// Starting a program that is built.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// A server that drains may take as long as its `drain.timeout`.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// The browser test waits for a network outage and back.
const BROWSER_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The browser test's folder.
const BROWSER: &str = "crates/harness/tests/browser";

/// `cargo xtask test`.
pub fn run(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let only = match arguments {
        [] => Vec::new(),
        // These start programs, which must be those of this source.
        [flag, stage] if flag == "--only" && ["autobahn", "prometheus", "browser"].contains(&stage.as_str()) => {
            vec!["build".to_owned(), stage.clone()]
        }
        [flag, stage] if flag == "--only" && STAGES.contains(&stage.as_str()) => vec![stage.clone()],
        [flag] if flag == "--help" || flag == "-h" => {
            print!("{TEST_HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        _ => bail!("expected nothing, or --only with one of {}", STAGES.join(", ")),
    };
    hear_interrupts()?;
    let mut run = Run::new(only);
    check_stages(repository, &mut run);
    let built = run
        .stage("build", || counted_as_one(&mut repository.cargo(), &["build", "--workspace", "--all-targets"], BUILD_PATIENCE));
    if built {
        run.stage("tests", || tests(repository));
        run.stage("doc-tests", || counted(repository.cargo().args(["test", "--workspace", "--doc", "--no-fail-fast"])));
        run.stage("autobahn", || conformance(repository));
        run.stage("proxies", || proxies(repository));
        run.stage("prometheus", || prometheus::run(repository, &Scratch::new(repository, "prometheus")?.0));
        run.stage("browser", || browser(repository));
    } else {
        for stage in ["tests", "doc-tests", "autobahn", "proxies", "prometheus", "browser"] {
            run.skip(stage, "the build failed");
        }
    }
    Ok(close(run))
}

/// `cargo xtask check`.
pub fn check(repository: &Repository, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if !arguments.is_empty() {
        print!("{CHECK_HELP}");
        return Ok(ExitCode::from(if arguments[0].contains("-h") { 0 } else { 2 }));
    }
    hear_interrupts()?;
    let mut run = Run::new(Vec::new());
    check_stages(repository, &mut run);
    Ok(close(run))
}

fn check_stages(repository: &Repository, run: &mut Run) {
    run.stage("fmt", || counted_as_one(&mut repository.cargo(), &["fmt", "--all", "--check"], BUILD_PATIENCE));
    run.stage("tidy", || tidy::stage(repository));
    run.stage("clippy", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        counted_as_one(&mut repository.cargo(), &arguments, BUILD_PATIENCE)
    });
}

fn close(run: Run) -> ExitCode {
    let clean = run.close();
    match (interrupted(), clean) {
        (true, _) => ExitCode::from(INTERRUPTED_CODE),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

fn tests(repository: &Repository) -> anyhow::Result<Outcome> {
    let mut cargo = repository.cargo();
    if installed("cargo-nextest") {
        cargo.args(["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "slow", "--final-status-level", "fail"]);
        // A bar that redraws itself is of no use in a log.
        cargo.env("NEXTEST_HIDE_PROGRESS_BAR", "1");
    } else {
        cargo.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
    }
    counted(&mut cargo)
}

/// Runs a test runner and adds up what its closing lines say.
fn counted(command: &mut Command) -> anyhow::Result<Outcome> {
    let mut group = Group::start(command)?;
    let mut tally = Tally::default();
    loop {
        let line = group.line(SILENCE_MAX).inspect_err(|_| group.terminate())?;
        let Some(line) = line else { break };
        println!("{line}");
        if let Some(more) = Tally::read(&line) {
            tally += more;
        }
    }
    let status = group.finish(STOP_PATIENCE, |line| println!("{line}"))?;
    if !status.success() && tally.failed == 0 {
        // It fell over instead of counting.
        println!("the test runner ended with {status}");
        tally.failed = 1;
    }
    Ok(Outcome::Ran(tally))
}

fn counted_as_one(command: &mut Command, arguments: &[&str], patience: Duration) -> anyhow::Result<Outcome> {
    let status = Group::start(command.args(arguments))?.finish(patience, |line| println!("{line}"))?;
    ensure!(status.success(), "cargo {} ended with {status}", arguments[0]);
    Ok(Outcome::Ran(Tally::of_passed(1)))
}

fn conformance(repository: &Repository) -> anyhow::Result<Outcome> {
    let program = repository.built("debug/examples", "echo");
    let mut echo = Group::start(Command::new(program).args(["--listen", "127.0.0.1:0"]))?;
    let show = |line: &str| println!("echo | {line}");
    let address = echo.wait_for(START_PATIENCE, show, |line| line.strip_prefix("listening on ").map(str::to_owned))?;
    let outcome = autobahn::run(&format!("ws://{address}/"));
    echo.stop(STOP_PATIENCE, show);
    Ok(match outcome? {
        autobahn::Outcome::NotRun(why) => Outcome::NotRun(why),
        autobahn::Outcome::Passed(cases) => Outcome::Ran(Tally::of_passed(cases.len() as u64)),
    })
}

fn proxies(repository: &Repository) -> anyhow::Result<Outcome> {
    let programs = match install::proxies() {
        Ok(programs) => programs,
        Err(reason) => return Ok(Outcome::NotRun(format!("{reason:#}"))),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = programs.iter().filter_map(|program| program.parent().map(Path::to_path_buf));
    let path = std::env::join_paths(std::env::split_paths(&path).chain(folders))?;
    let arguments = ["test", "--workspace", "--test", "it", "--", "--ignored", "behind_a_proxy"];
    counted(repository.cargo().args(arguments).env("PATH", path))
}

fn browser(repository: &Repository) -> anyhow::Result<Outcome> {
    let chromium = install::browser()?;
    install::node_packages(repository, Path::new(BROWSER))?;
    let folder = Scratch::new(repository, "browser")?;
    let docs = ["docs", "README.md"].map(PathBuf::from);
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut demo = Demo::start(repository, &Options { listen, folder: &folder.0, docs: &docs, pace: "300ms", log: "warn" })?;
    let mut page = Group::start(
        Command::new("node")
            .arg(format!("{BROWSER}/page.mjs"))
            .arg(demo.url())
            .env("CHROMIUM", chromium)
            .current_dir(&repository.root),
    )?;
    let status = page.finish(BROWSER_PATIENCE, |line| println!("page | {line}"));
    // Politely first: the browser has process groups of its own.
    page.stop(STOP_PATIENCE, |line| println!("page | {line}"));
    demo.stop();
    let status = status.context("the page's test")?;
    ensure!(status.success(), "the page's test ended with {status}");
    Ok(Outcome::Ran(Tally::of_passed(1)))
}

/// A folder that goes away with its owner.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(repository: &Repository, name: &str) -> anyhow::Result<Self> {
        let folder = repository.target.join("scratch").join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in the target folder and hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
