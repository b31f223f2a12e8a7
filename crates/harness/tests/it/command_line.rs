//! `towline pub` and `towline sub` against the real binary. Needs it built.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use towline_harness::{Binary, PATIENCE, SERVICE_KEY, eventually};

/// A running command, killed on drop.
struct Running {
    child: Child,
    /// Its standard output, line by line.
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(server: &Binary, key: &str, args: &[&str], input: &str) -> Self {
        let own = std::env::current_exe().unwrap();
        let profile = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
        let mut command = Command::new(profile.join("towline"));
        command.args(args).env("TOWLINE_URL", server.url("")).env("TOWLINE_KEY", key).env_remove("TOWLINE_TOKEN");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Small enough for the pipe; its end is the end of the input.
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel(64);
        std::thread::spawn(move || {
            for line in output.lines() {
                if sender.blocking_send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Its code, what else it printed, and what it complained about.
    async fn end(mut self) -> (ExitStatus, String, String) {
        let mut stdout = String::new();
        while let Some(line) = timeout(PATIENCE, self.lines.recv()).await.expect("the command does not end") {
            stdout.push_str(&line);
            stdout.push('\n');
        }
        let mut status = None;
        eventually("the command ends", || {
            status = self.child.try_wait().unwrap();
            let ended = status.is_some();
            async move { ended }
        })
        .await;
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (status.unwrap(), stdout, stderr)
    }

    async fn offsets(&mut self, count: usize) -> Vec<u64> {
        let mut seen = Vec::new();
        while seen.len() < count {
            let line = timeout(PATIENCE, self.lines.recv()).await.expect("no event for too long").expect("the output ended");
            seen.push(serde_json::from_str::<Value>(&line).unwrap()["offset"].as_u64().unwrap());
        }
        seen
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn run(server: &Binary, key: &str, args: &[&str], input: &str) -> (ExitStatus, String, String) {
    Running::start(server, key, args, input).end().await
}

fn statuses(stdout: &str) -> Vec<String> {
    let results = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    results.map(|result| result["status"].as_str().unwrap().to_owned()).collect()
}

// proves: A3
#[tokio::test]
async fn sub_prints_each_event_once_over_a_crash_of_the_server() {
    let mut server = Binary::start(&[]).await;
    let mut watching = Running::start(&server, SERVICE_KEY, &["sub", "user:cli", "--from", "earliest", "--count", "20"], "");
    let ten: String = (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect();

    let (status, stdout, stderr) = run(&server, SERVICE_KEY, &["pub", "user:cli", "step.done", "-"], &ten).await;
    assert!(status.success() && statuses(&stdout) == vec!["stored"; 10], "{stdout}{stderr}");
    assert_eq!(watching.offsets(10).await, (1..=10).collect::<Vec<_>>());

    server.restart().await;
    let (status, stdout, stderr) = run(&server, SERVICE_KEY, &["pub", "user:cli", "step.done", "-"], &ten).await;
    assert!(status.success() && statuses(&stdout) == vec!["stored"; 10], "{stdout}{stderr}");
    assert_eq!(watching.offsets(10).await, (11..=20).collect::<Vec<_>>());
    let (status, _, stderr) = watching.end().await;
    assert!(status.success() && stderr.contains("reconnected"), "{stderr}");
}

#[tokio::test]
async fn pub_waits_for_a_server_that_is_away() {
    let mut server = Binary::start(&[]).await;
    server.kill();
    let mut publishing = Running::start(&server, SERVICE_KEY, &["pub", "user:cli", "late", "--id", "only-once"], "");
    // Long enough that a first attempt has failed on most machines; on others the test proves less, and still holds.
    let early = timeout(Duration::from_millis(300), publishing.lines.recv()).await;
    assert!(early.is_err(), "it spoke before the server was there: {early:?}");
    server.restart().await;
    let (_, stdout, stderr) = publishing.end().await;
    assert_eq!(statuses(&stdout), ["stored"], "{stderr}");
    let (status, stdout, _) = run(&server, SERVICE_KEY, &["pub", "user:cli", "late", "--id", "only-once"], "").await;
    assert!(status.success());
    assert_eq!(statuses(&stdout), ["duplicate"]);
}

#[tokio::test]
async fn what_is_refused_is_said_and_ends_with_a_code() {
    let server = Binary::start(&[]).await;
    let (status, stdout, stderr) = run(&server, SERVICE_KEY, &["pub", "user:cli", "not plain"], "").await;
    assert!(!status.success() && statuses(&stdout) == ["refused"] && stderr.contains("1 of 1"), "{stdout}{stderr}");
    let (status, stdout, stderr) = run(&server, SERVICE_KEY, &["pub", "user:cli", "x", "-"], "1\nno json\n2\n").await;
    assert!(!status.success() && statuses(&stdout) == ["stored"] && stderr.contains("line 2"), "{stdout}{stderr}");
    for args in [&["pub", "user:cli", "x"][..], &["sub", "user:cli"][..]] {
        let (status, stdout, stderr) = run(&server, "a-wrong-key-a-wrong-key", args, "").await;
        assert!(!status.success() && stdout.is_empty() && stderr.contains("not a"), "{stdout}{stderr}");
        assert!(!stderr.contains("a-wrong-key"), "the key is not shown: {stderr}");
    }
}

#[tokio::test]
async fn runs_are_listed_and_stopped_and_brakes_engaged() {
    let server = Binary::start(&[]).await;
    let line = |text: &str| -> Value { serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}")) };
    let body =
        r#"[{"topic":"user:42","type":"agent.started","run_id":"a"},{"topic":"user:42","type":"agent.started","run_id":"b"}]"#;
    assert_eq!(server.post_events("", body).await.0, 200);
    let (_, out, _) = Running::start(&server, SERVICE_KEY, &["runs", "list", "--user-id", "42", "--limit", "1"], "").end().await;
    assert_eq!(line(&out)["state"], "running");
    let (_, out, _) = Running::start(&server, SERVICE_KEY, &["runs", "stop", "a", "--reason", "enough"], "").end().await;
    assert_eq!(line(&out)["run"]["stop"]["reason"], "enough");
    let (_, out, _) = Running::start(&server, SERVICE_KEY, &["brake", "on", "42"], "").end().await;
    assert_eq!(line(&out)["state"], "pausing");
    let (_, out, _) = Running::start(&server, SERVICE_KEY, &["brake", "status", "42"], "").end().await;
    assert_eq!(line(&out)["scope"]["id"], "42");
    let (_, out, _) = Running::start(&server, SERVICE_KEY, &["brake", "off", "42"], "").end().await;
    assert_eq!(line(&out)["state"], "running");
    let (status, _, error) = Running::start(&server, SERVICE_KEY, &["runs", "stop", "none"], "").end().await;
    assert!(!status.success() && error.contains("no such run"), "{error}");
}
