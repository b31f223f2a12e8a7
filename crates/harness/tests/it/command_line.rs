//! `towline pub` and `towline sub` against the real binary. Needs it built.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use towline_harness::{Binary, PATIENCE, SERVICE_KEY};

fn command(server: &Binary, key: &str, args: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
    let mut command = Command::new(profile.join("towline"));
    command.args(args).env("TOWLINE_URL", server.url("")).env("TOWLINE_KEY", key).env_remove("TOWLINE_TOKEN");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a command to its end, with this on its standard input.
async fn run(server: &Binary, key: &str, args: &[&str], input: &str) -> (ExitStatus, String, String) {
    let mut child = command(server, key, args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("the command does not end").unwrap();
    (output.status, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn statuses(stdout: &str) -> Vec<String> {
    let results = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    results.map(|result| result["status"].as_str().unwrap().to_owned()).collect()
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

async fn offsets(lines: &mut Lines<BufReader<ChildStdout>>, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("no event for too long").unwrap().expect("the output ended");
        seen.push(serde_json::from_str::<Value>(&line).unwrap()["offset"].as_u64().unwrap());
    }
    seen
}

// proves: A3
#[tokio::test]
async fn sub_prints_each_event_once_over_a_crash_of_the_server() {
    let mut server = Binary::start(&[]).await;
    let mut watching = command(&server, SERVICE_KEY, &["sub", "user:cli", "--from", "earliest", "--count", "20"]).spawn().unwrap();
    let mut events = lines(&mut watching);
    let ten: String = (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect();

    let (status, stdout, stderr) = run(&server, SERVICE_KEY, &["pub", "user:cli", "step.done", "-"], &ten).await;
    assert!(status.success() && statuses(&stdout) == vec!["stored"; 10], "{stdout}{stderr}");
    assert_eq!(offsets(&mut events, 10).await, (1..=10).collect::<Vec<_>>());

    server.restart().await;
    let (status, stdout, stderr) = run(&server, SERVICE_KEY, &["pub", "user:cli", "step.done", "-"], &ten).await;
    assert!(status.success() && statuses(&stdout) == vec!["stored"; 10], "{stdout}{stderr}");
    assert_eq!(offsets(&mut events, 10).await, (11..=20).collect::<Vec<_>>());
    let status = timeout(PATIENCE, watching.wait()).await.unwrap().unwrap();
    let mut stderr = String::new();
    watching.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    assert!(status.success() && stderr.contains("reconnected"), "{stderr}");
}

#[tokio::test]
async fn pub_waits_for_a_server_that_is_away() {
    let mut server = Binary::start(&[]).await;
    server.kill();
    let mut publishing = command(&server, SERVICE_KEY, &["pub", "user:cli", "late", "--id", "only-once"]).spawn().unwrap();
    // Long enough that a first attempt has surely failed on most machines; on others the test proves less, and still holds.
    let early = timeout(Duration::from_millis(300), publishing.wait()).await;
    assert!(early.is_err(), "it ended before the server was there");
    server.restart().await;
    let output = timeout(PATIENCE, publishing.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(statuses(&String::from_utf8(output.stdout).unwrap()), ["stored"]);
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
