//! TLS as the real binary does it: its commands, SIGHUP, and what a connection costs. Needs it built.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use towline_harness::{Authority, Binary, PATIENCE, SERVICE_KEY, eventually};

fn towline(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
    let mut command = Command::new(profile.join("towline"));
    command.args(arguments).current_dir(profile).env_remove("TOWLINE_CA").envs(environment.iter().copied());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn commands_trust_the_authority_they_are_told_and_no_other() {
    let authority = Authority::new();
    let binary = Binary::start_with_tls(&authority, &[]).await;
    let mut alice = binary.connect("alice").await;
    alice.subscribe(json!(["user:alice"])).await;
    let (url, ca) = (binary.url(""), authority.file().display().to_string());
    let publish =
        |ca: &str| towline(&["pub", "user:alice", "x", "--url", &url, "--key", SERVICE_KEY, "--patience", "1", "--ca", ca], &[]);
    let published = publish(&ca);
    assert!(published.status.success(), "{}", said(&published));
    alice.expect("x", PATIENCE).await;
    let stranger = publish(&Authority::new().file().display().to_string());
    assert!(!stranger.status.success());
    let none = publish("/nowhere/ca.pem");
    assert!(said(&none).contains("/nowhere/ca.pem"), "{}", said(&none));
    let environment = [("TOWLINE_CA", &*ca)];
    let read =
        towline(&["sub", "user:alice", "--url", &url, "--key", SERVICE_KEY, "--from", "earliest", "--count", "1"], &environment);
    assert!(read.status.success() && said(&read).contains("\"x\""), "{}", said(&read));
}

#[tokio::test]
async fn sighup_takes_new_certificates_at_once() {
    let authority = Authority::new();
    let binary = Binary::start_with_tls(&authority, &[("TOWLINE_TLS_RELOAD_INTERVAL", "1h")]).await;
    let mut before = binary.connect("alice").await;
    authority.install(&authority.server().make());
    binary.hang_up();
    eventually("the new certificate is taken", || async { binary.metric("towline_tls_reloads_total").await == 1.0 }).await;
    before.expect_quiet().await;
    binary.connect("alice").await.expect_quiet().await;
}

#[test]
fn files_are_checked_before_anything_starts() {
    let authority = Authority::new();
    let (certificate, key) = authority.install(&authority.server().make());
    let stranger = authority.write("stranger.pem", &Authority::new().server().make().key);
    let with = |certificate: &Path, key: &Path, command: &[&str]| {
        let files = [("TOWLINE_TLS_CERTIFICATE", certificate.to_str().unwrap()), ("TOWLINE_TLS_KEY", key.to_str().unwrap())];
        towline(command, &files)
    };
    let good = with(&certificate, &key, &["config", "check"]);
    assert!(good.status.success(), "{}", said(&good));
    assert!(said(&with(&certificate, &key, &["doctor"])).contains("the certificate is good until 2099-01-01"));
    for (certificate, key, why) in [
        (&certificate, &stranger, "tls.key: "),
        (&key, &key, "tls.certificate: "),
        (&certificate, &authority.file().with_file_name("not.there"), "not.there: "),
    ] {
        let bad = with(certificate, key, &["config", "check"]);
        assert!(bad.status.code() == Some(78) && said(&bad).contains(why), "{}", said(&bad));
        assert!(said(&with(certificate, key, &["doctor"])).contains(why));
        let serve = with(certificate, key, &["serve", "--listen", "127.0.0.1:0"]);
        assert!(!serve.status.success() && said(&serve).contains(why), "{}", said(&serve));
    }
}

/// Bytes of the server's memory for each connection that says nothing.
async fn bytes_per_idle_connection(binary: &Binary) -> u64 {
    const COUNT: u64 = 1_000;
    let mut sockets = Vec::new();
    // What the first ones cost is for all.
    for _ in 0..200 {
        sockets.push(binary.connect_with(SERVICE_KEY).await);
    }
    let before = binary.resident_bytes();
    for _ in 0..COUNT {
        sockets.push(binary.connect_with(SERVICE_KEY).await);
    }
    binary.resident_bytes().saturating_sub(before) / COUNT
}

#[tokio::test]
async fn an_idle_connection_holds_its_keys_and_no_buffers() {
    let authority = Authority::new();
    let plain = bytes_per_idle_connection(&Binary::start(&[]).await).await;
    let tls = bytes_per_idle_connection(&Binary::start_with_tls(&authority, &[]).await).await;
    println!("bytes per idle connection: {plain} plain, {tls} with TLS");
    assert!(tls < plain + 6_000, "{tls} bytes with TLS, {plain} without");
}
