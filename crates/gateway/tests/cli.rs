//! The binary as an operator runs it: exit codes, what goes to which stream, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The binary with nothing of this process's environment.
fn towline(directory: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command.env_clear().current_dir(directory.path()).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

// proves: C11
#[test]
fn a_bad_configuration_ends_with_78_and_everything_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("towline.toml"), "listn = 1\n[sockets]\nworkers = 0\n").unwrap();
    for arguments in [&["config", "check"][..], &["config", "print"], &["serve"], &["doctor"]] {
        let (code, out, err) =
            run(towline(&directory).args(arguments).env("TOWLINE_DATA_DIR", "data").env("WEBSOCKET_HEARTBEAT_INTERVAL", "soon"));
        assert_eq!(code, 78, "{arguments:?}: {err}");
        let text = out + &err;
        for expected in [
            "listn (towline.toml:1): no such setting; did you mean listen?",
            "sockets.workers (towline.toml:3): 0 is out of range",
            "sockets.heartbeat_interval (environment WEBSOCKET_HEARTBEAT_INTERVAL): expected a whole number of milliseconds",
        ] {
            assert!(text.contains(expected), "{arguments:?}: {expected} is missing in\n{text}");
        }
    }
    assert!(!directory.path().join("data").exists(), "a server that cannot start touches nothing");
}

// proves: A10
#[test]
fn without_authentication_it_serves_loopback_only() {
    let directory = tempfile::tempdir().unwrap();
    for (name, value) in [("AUTH_DISABLED", "true"), ("WEBSOCKET_REQUIRE_AUTH", "false"), ("ENVIRONMENT", "development")] {
        let (code, _, err) = run(towline(&directory).arg("serve").env(name, value).env("TOWLINE_LISTEN", "0.0.0.0:0"));
        assert_eq!(code, 78, "{name}: {err}");
    }
    let (code, _, err) = run(towline(&directory).args(["dev", "--listen", "0.0.0.0:0"]));
    assert!(code == 78 && err.contains("loopback only"), "{err}");
}

#[test]
fn the_configuration_prints_as_a_file_that_reads_back() {
    let directory = tempfile::tempdir().unwrap();
    let (code, printed, _) =
        run(towline(&directory).args(["config", "print", "--set", "sockets.idle_timeout=90s"]).env("TOWLINE_JWT_SECRET", SECRET));
    assert_eq!(code, 0);
    assert!(!printed.contains(SECRET) && printed.contains("flag --set sockets.idle_timeout"), "{printed}");
    std::fs::write(directory.path().join("again.toml"), printed).unwrap();
    let (code, out, err) = run(towline(&directory).args(["config", "check", "--config", "again.toml"]));
    assert_eq!((code, out.as_str()), (0, "the configuration is good\n"), "{err}");
}

#[test]
fn tokens_are_minted_and_looked_into() {
    let directory = tempfile::tempdir().unwrap();
    let with_secret = |arguments: &[&str]| run(towline(&directory).args(arguments).env("TOWLINE_JWT_SECRET", SECRET));
    let (code, token, _) = with_secret(&["token", "mint", "42", "--ttl", "5m", "--publish", "user:*"]);
    assert_eq!((code, token.split('.').count()), (0, 3));
    let (code, said, _) = with_secret(&["token", "inspect", token.trim()]);
    assert!(code == 0 && said.contains("\"sub\": \"42\"") && said.contains("accepted   as \"42\""), "{said}");
    let other = "ffffffffffffffffffffffffffffffff";
    let (code, said, _) = run(towline(&directory).args(["token", "inspect", token.trim()]).env("TOWLINE_JWT_SECRET", other));
    assert!(code == 1 && said.contains("refused    the token's signature is not valid"), "{said}");
    let (code, _, err) = run(towline(&directory).args(["token", "mint", "42"]));
    assert!(code == 1 && err.contains("TOWLINE_JWT_SECRET"), "{err}");
}

#[test]
fn documents_and_completions_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, word) in [
        (&["openapi"][..], "\"openapi\": \"3.1.0\""),
        (&["asyncapi"], "\"asyncapi\": \"3.0.0\""),
        (&["completions", "bash"], "_towline"),
        (&["config", "reference"], "sockets.idle_timeout"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["serve", "--help"], "TOWLINE_LISTEN"),
    ] {
        let (code, out, err) = run(towline(&directory).args(arguments));
        assert!(code == 0 && out.contains(word), "{arguments:?}: {out}{err}");
    }
}

/// A server that is killed if a test ends early.
struct Serving {
    child: Child,
    address: String,
    log: BufReader<std::process::ChildStdout>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        let mut serving = Self { child, address: String::new(), log };
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert!(serving.log.read_line(&mut line).unwrap() > 0, "it ended before it listened:\n{seen}");
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            if json["message"] == "listening" {
                json["address"].as_str().unwrap().clone_into(&mut serving.address);
                return serving;
            }
            seen.push_str(&line);
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code, and the rest of both streams.
    fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.log.read_to_string(&mut text).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }

    fn ready(&self) -> String {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn a_server_serves_until_it_is_told_to_end_and_then_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let serving = Serving::start(
            towline(&directory)
                .arg("serve")
                .env("TOWLINE_LISTEN", "127.0.0.1:0")
                .env("TOWLINE_DATA_DIR", "data")
                .env("TOWLINE_JWT_SECRET", SECRET),
        );
        assert!(serving.ready().starts_with("HTTP/1.1 200"));
        serving.signal(signal);
        let (code, text) = serving.end();
        assert!(code == Some(0) && text.contains("ended in order"), "{code:?}\n{text}");
    }
    assert!(directory.path().join("data").exists());
}

#[test]
fn dev_says_that_it_asks_for_nothing_and_forgets_a_temporary_log() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let serving =
        Serving::start(towline(&directory).args(["dev", "--temp", "--listen", "127.0.0.1:0"]).env("TMPDIR", temporary.path()));
    let address = serving.address.clone();
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    serving.signal(Signal::TERM);
    let (code, text) = serving.end();
    assert_eq!(code, Some(0), "{text}");
    for word in ["NO AUTHENTICATION", &format!("http://{address}/?user_id=42"), "towline sub user:42", "curl "] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn two_servers_never_share_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = towline(&directory);
        command
            .arg("serve")
            .env("TOWLINE_LISTEN", "127.0.0.1:0")
            .env("TOWLINE_DATA_DIR", "data")
            .env("TOWLINE_JWT_SECRET", SECRET);
        command
    };
    let _first = Serving::start(&mut command());
    let (code, _, err) = run(&mut command());
    assert!(code == 1 && err.contains("the log cannot be opened"), "{err}");
}
