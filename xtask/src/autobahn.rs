//! The Autobahn test suite against an echo server: some 300 cases of RFC 6455, judged by other people's code.
//!
//! The suite runs on CPython 2.7 alone, so it gets a virtual environment of its own in `target/autobahn`, made on first use (pip needs a
//! package index and, for a few C extensions, a compiler). Where that cannot be made the outcome is [`Outcome::NotRun`], never success.
//! Does not start the server.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

/// Framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing, limits and performance, automatic fragmentation; and of compression
/// the text of one kind in all sizes.
const CASES: [&str; 10] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.1.*"];
/// Groups of which a part is run: compression of other payloads (12), and with other parameters (13). Each group sends a thousand messages
/// in each of 18 sizes; all of them take ten minutes, most of it the suite's own.
const COMPRESSION: [&str; 11] = ["12.2", "12.3", "12.4", "12.5", "13.1", "13.2", "13.3", "13.4", "13.5", "13.6", "13.7"];
/// 16, 256 and 8,192 bytes in one frame, and 8,192 bytes in fragments.
const SIZES: [u32; 4] = [1, 3, 6, 11];
/// How many cases the pinned suite has in [`CASES`] and the parts; fewer results mean that something was silently skipped.
const CASE_COUNT: usize = 301 + 18 + COMPRESSION.len() * SIZES.len();
/// A good server takes a minute or two; each failing case takes some seconds of waiting.
const DEADLINE: Duration = Duration::from_secs(900);
/// The last virtualenv line that can make environments for Python 2.7.
const VIRTUALENV: &str = "virtualenv<20.22";
/// The name that the suite's report has for the server.
const AGENT: &str = "towline";

/// What became of the suite.
#[derive(Debug)]
pub enum Outcome {
    /// The suite could not be made to run here, and why. Proves nothing; say so loudly.
    NotRun(String),
    /// Every case ran, and all of them passed.
    Passed(Vec<CaseResult>),
}

/// What the suite found in one case.
#[derive(Debug)]
pub struct CaseResult {
    /// For example `6.4.2`.
    pub case: String,
    /// `OK`, `NON-STRICT` or `INFORMATIONAL` if it passed.
    pub behavior: String,
    /// The same for the closing handshake.
    pub behavior_close: String,
    /// As the suite measured it.
    pub duration: Duration,
}

impl CaseResult {
    fn passed(&self) -> bool {
        let good = |behavior: &str| matches!(behavior, "OK" | "NON-STRICT" | "INFORMATIONAL");
        good(&self.behavior) && good(&self.behavior_close)
    }
}

impl fmt::Display for CaseResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, closing {}, {} ms", self.case, self.behavior, self.behavior_close, self.duration.as_millis())
    }
}

/// Runs the suite against the server at `server_url` (`ws://127.0.0.1:PORT/…`), which must echo text and binary messages of up to 16 MiB in up
/// to 65,536 fragments.
///
/// # Errors
/// A case failed, or did not run; the text names each one. Also if the suite itself could not be started or did not end.
pub fn run(server_url: &str) -> anyhow::Result<Outcome> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/autobahn");
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let wstest = match suite(&folder) {
        Ok(wstest) => wstest,
        Err(reason) => return Ok(Outcome::NotRun(format!("{reason:#}"))),
    };

    let (spec, reports) = (folder.join("spec.json"), folder.join("reports"));
    // A report of an earlier run must not pass for this one's.
    if reports.exists() {
        fs::remove_dir_all(&reports)?;
    }
    let parts = COMPRESSION.iter().flat_map(|group| SIZES.map(|size| format!("{group}.{size}")));
    let cases: Vec<String> = CASES.map(str::to_owned).into_iter().chain(parts).collect();
    let content = json!({
        "outdir": reports, "servers": [{ "agent": AGENT, "url": server_url }],
        "cases": cases, "exclude-cases": [], "exclude-agent-cases": {},
    });
    fs::write(&spec, content.to_string())?;
    let mut command = Command::new(wstest);
    command.args(["-m", "fuzzingclient", "-s"]).arg(&spec).current_dir(&folder);
    let log = folder.join("wstest.log");
    run_within(command, &log, DEADLINE).with_context(|| format!("the Autobahn test suite; see {}", log.display()))?;

    let index = reports.join("index.json");
    let index = fs::read_to_string(&index).with_context(|| format!("no report in {}; see {}", index.display(), log.display()))?;
    let results = read_report(&index)?;
    let failed: Vec<String> = results.iter().filter(|result| !result.passed()).map(ToString::to_string).collect();
    ensure!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), results.len(), failed.join("\n"));
    ensure!(results.len() == CASE_COUNT, "{} cases ran, {CASE_COUNT} were expected; see {}", results.len(), log.display());
    Ok(Outcome::Passed(results))
}

/// The suite's program, installed if it is not yet.
fn suite(folder: &Path) -> anyhow::Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("autobahn.requirements.txt");
    let wanted = fs::read_to_string(&requirements)?;
    let (bootstrap, environment, installed) = (folder.join("bootstrap"), folder.join("venv"), folder.join("installed.txt"));
    let wstest = environment.join("bin/wstest");
    // Written last, so an installation that broke off is done again.
    if wstest.exists() && fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(wstest);
    }
    let python = python_2_7().context("there is no CPython 2.7, neither on the PATH nor under pyenv")?;
    for old in [&bootstrap, &environment] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    output("python3", ["-m".as_ref(), "venv".as_ref(), bootstrap.as_os_str()])?;
    output(bootstrap.join("bin/pip"), ["install", "--quiet", VIRTUALENV])?;
    output(bootstrap.join("bin/virtualenv"), ["-p".as_ref(), python.as_os_str(), environment.as_os_str()])?;
    output(environment.join("bin/pip"), ["install".as_ref(), "--quiet".as_ref(), "-r".as_ref(), requirements.as_os_str()])?;
    fs::write(&installed, wanted)?;
    Ok(wstest)
}

/// Asks each candidate to run: a pyenv shim stands on the PATH even where no 2.7 is chosen, and then fails.
fn python_2_7() -> Option<PathBuf> {
    let mut candidates = vec![PathBuf::from("python2.7")];
    if let Ok(root) = output("pyenv", ["root"])
        && let Ok(versions) = fs::read_dir(Path::new(root.trim()).join("versions"))
    {
        let versions = versions.flatten().filter(|version| version.file_name().to_string_lossy().starts_with("2.7."));
        candidates.extend(versions.map(|version| version.path().join("bin/python2.7")));
    }
    candidates.into_iter().find_map(|python| {
        let path = output(python, ["-c", "import sys; assert sys.version_info[:2] == (2, 7); print(sys.executable)"]).ok()?;
        Some(PathBuf::from(path.trim()))
    })
}

/// Runs a command to its end and gives what it printed.
fn output<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
    let program = program.as_ref();
    let name = program.display();
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().with_context(|| format!("{name}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {}", output.status, errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, or kills it at the deadline. What it prints goes to `log`.
fn run_within(mut command: Command, log: &Path, deadline: Duration) -> anyhow::Result<()> {
    let mut log = File::create(log)?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?).spawn()?;
    let mut printed = child.stdout.take().context("the child's output")?;
    let (ended, end) = sync_channel(1);
    // The output ends when the child does, and unlike the child itself it can be waited for with a deadline.
    let copier = std::thread::spawn(move || {
        let copied = std::io::copy(&mut printed.by_ref(), &mut log);
        // Nobody listens any more only if the deadline has passed.
        let _ = ended.send(());
        copied
    });
    if end.recv_timeout(deadline).is_err() {
        child.kill()?;
        child.wait()?;
        bail!("killed after {} s", deadline.as_secs());
    }
    let status = child.wait()?;
    copier.join().map_err(|_| anyhow::anyhow!("copying the output panicked"))??;
    ensure!(status.success(), "ended with {status}");
    Ok(())
}

/// The results in the order of the cases' numbers.
fn read_report(index: &str) -> anyhow::Result<Vec<CaseResult>> {
    let report: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(index).context("the suite's report")?;
    let cases = report.get(AGENT).context("the suite's report has no results: could it reach the server?")?;
    let mut results = Vec::new();
    for (case, found) in cases {
        let text = |name: &str| {
            found.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("{case}: no `{name}`"))
        };
        results.push(CaseResult {
            case: case.clone(),
            behavior: text("behavior")?,
            behavior_close: text("behaviorClose")?,
            duration: Duration::from_millis(found.get("duration").and_then(Value::as_u64).unwrap_or(0)),
        });
    }
    results.sort_by_key(|result| result.case.split('.').map(|part| part.parse().unwrap_or(u32::MAX)).collect::<Vec<_>>());
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_in_the_cases_order_and_says_what_failed() {
        let index = json!({ AGENT: {
            "10.1.1": { "behavior": "OK", "behaviorClose": "OK", "duration": 3 },
            "7.1.6": { "behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL", "duration": 1 },
            "7.10.1": { "behavior": "OK", "behaviorClose": "WRONG CODE", "duration": 1 },
            "6.1.1": { "behavior": "FAILED", "behaviorClose": "OK", "duration": 1 },
        }});
        let results = read_report(&index.to_string()).unwrap();
        let read: Vec<_> = results.iter().map(|result| (&*result.case, result.passed())).collect();
        assert_eq!(read, [("6.1.1", false), ("7.1.6", true), ("7.10.1", false), ("10.1.1", true)]);
        assert!(read_report(r#"{"other":{}}"#).is_err());
    }
}
