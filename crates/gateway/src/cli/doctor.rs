//! `towline doctor`: what would keep a server from running well on this machine, and what to do about it.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use towline::Config;
use towline::config::auth_config;
use towline::webhook::Caller;
use towline::webhook::retry_after::http_date_ms;
use towline_clock::Clock;

use super::EXIT_CONFIG;
use super::settings::ConfigFlags;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
struct Finding {
    level: Level,
    what: &'static str,
    text: String,
}

impl Finding {
    fn new(level: Level, what: &'static str, text: impl Into<String>) -> Self {
        Self { level, what, text: text.into() }
    }
}

/// Descriptors that are not connections: log files, listeners, epoll, eventfds.
const OTHER_DESCRIPTORS: u64 = 200;
/// Fewer than this and a busy evening ends in refused connections.
const CONNECTIONS_WANTED: u64 = 10_000;
/// Less than this and retention can no longer keep the log from running full.
const FREE_BYTES_WANTED: u64 = 1 << 30;
/// A sync slower than this limits single publishers to a hundred events a second each.
const SYNC_WANTED: Duration = Duration::from_millis(10);
/// Renewal is tried a month before the end by most programs; a week before it has failed for long.
const CERTIFICATE_LEFT_WANTED: Duration = Duration::from_secs(7 * 86_400);
/// The clock of a machine that was started in the past is wrong: 2025-01-01.
const UNIX_MS_LEAST: u64 = 1_735_689_600_000;

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(flags: ConfigFlags) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    let mut bad_config = false;
    let config = match flags.load(Config::default()) {
        Ok(loaded) => {
            findings.push(Finding::new(Level::Ok, "configuration", "good"));
            findings.extend(loaded.warnings.into_iter().map(|text| Finding::new(Level::Warn, "configuration", text)));
            loaded.config
        }
        Err(error) => {
            bad_config = true;
            findings.extend(error.0.0.iter().map(|problem| Finding::new(Level::Fail, "configuration", problem.to_string())));
            Config::default()
        }
    };
    let clock = Clock::system();
    findings.push(descriptors(&config));
    findings.push(port(&config));
    findings.extend(certificates(&config, &clock));
    findings.extend(data_dir(&config, &clock));
    findings.push(wall_clock(&clock));
    findings.extend(backlog());
    findings.extend(issuers(&config, &clock));
    findings.extend(webhook(&config, &clock));
    let mut text = String::new();
    for Finding { level, what, text: said } in &findings {
        let mark = match level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        text.push_str(&format!("{mark}  {what:<14} {said}\n"));
    }
    super::print(&text)?;
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(match worst {
        _ if bad_config => ExitCode::from(EXIT_CONFIG),
        Some(Level::Fail) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn descriptors(config: &Config) -> Finding {
    // `serve` raises the soft limit to the hard one by itself.
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let connections = limit.saturating_sub(OTHER_DESCRIPTORS);
    let wanted = CONNECTIONS_WANTED.min(config.sockets.connections_max as u64);
    if connections < wanted {
        return Finding::new(
            Level::Warn,
            "open files",
            format!(
                "the hard limit is {limit}: at most about {connections} connections; raise it (LimitNOFILE= in the systemd unit, --ulimit nofile= in docker, ulimit -Hn)"
            ),
        );
    }
    Finding::new(Level::Ok, "open files", format!("the hard limit is {limit}: enough for about {connections} connections"))
}

fn port(config: &Config) -> Finding {
    match TcpListener::bind(config.listen) {
        Ok(_) => Finding::new(Level::Ok, "address", format!("{} is free", config.listen)),
        Err(error) => Finding::new(
            Level::Fail,
            "address",
            format!(
                "{} cannot be listened on: {error}; stop what uses it (ss -ltnp shows it; perhaps a running towline) or set `listen`",
                config.listen
            ),
        ),
    }
}

/// Whether the files of TLS are good, how long the certificate lasts, and whether the key is the server's alone.
fn certificates(config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut findings = Vec::new();
    match towline::tls::check(&config.tls, clock) {
        Ok(None) => {}
        Ok(Some(checked)) => {
            let until = towline_protocol::timestamp::iso(checked.not_after_ms);
            let left = Duration::from_millis(checked.not_after_ms.saturating_sub(clock.unix_ms()));
            findings.push(if left.is_zero() {
                let text = format!(
                    "the certificate expired at {until}: clients refuse it; install a new one, it is taken without a restart"
                );
                Finding::new(Level::Fail, "tls", text)
            } else if left < CERTIFICATE_LEFT_WANTED {
                Finding::new(Level::Warn, "tls", format!("the certificate expires soon, at {until}: see that it is renewed"))
            } else {
                Finding::new(Level::Ok, "tls", format!("the certificate is good until {until}"))
            });
        }
        Err(problem) => findings.push(Finding::new(Level::Fail, "tls", problem.to_string())),
    }
    if let Some(key) = &config.tls.key
        && let Ok(metadata) = std::fs::metadata(key)
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o007 != 0
    {
        let text = format!("everybody on this machine may read the private key: chmod o= {}", key.display());
        findings.push(Finding::new(Level::Warn, "tls", text));
    }
    findings
}

fn data_dir(config: &Config, clock: &Clock) -> Vec<Finding> {
    let wanted = &config.data_dir;
    // The directory need not be there yet; then its nearest parent that is there tells.
    let Some(place) = wanted.ancestors().map(existing).find(|path| path.is_dir()) else {
        return vec![Finding::new(Level::Fail, "data", format!("{}: no part of this path exists", wanted.display()))];
    };
    let mut findings = Vec::new();
    match rustix::fs::statvfs(&place) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let total = disk.f_blocks.saturating_mul(disk.f_frsize).max(1);
            let text = format!("{} of {} free in {}", bytes(free), bytes(total), place.display());
            findings.push(if free < FREE_BYTES_WANTED {
                Finding::new(
                    Level::Warn,
                    "disk space",
                    format!("only {text}; a full disk refuses appends: free space or lower log.retention_bytes"),
                )
            } else {
                Finding::new(Level::Ok, "disk space", text)
            });
        }
        Err(error) => findings.push(Finding::new(Level::Warn, "disk space", format!("{}: {error}", place.display()))),
    }
    findings.push(match sync_time(&place, clock) {
        Ok(middle) if middle > SYNC_WANTED => Finding::new(
            Level::Warn,
            "disk sync",
            format!("{middle:.1?} in the middle: each durable publish waits that long; use a faster disk, or durability `relaxed` for topics that may lose their last moments"),
        ),
        Ok(middle) => Finding::new(Level::Ok, "disk sync", format!("{middle:.1?} in the middle of 16")),
        Err(error) => Finding::new(
            Level::Fail,
            "data",
            format!("{} cannot be written: {error}; change its owner or set `data_dir`", place.display()),
        ),
    });
    findings
}

/// The empty path stands for the working directory.
fn existing(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

/// The middle of 16 syncs of 4 KiB each.
fn sync_time(place: &Path, clock: &Clock) -> std::io::Result<Duration> {
    let path = place.join(format!(".towline-doctor-{}", std::process::id()));
    let probe = || {
        let mut file = std::fs::File::options().write(true).create_new(true).open(&path)?;
        let mut times = Vec::with_capacity(16);
        for _ in 0..16 {
            let began = clock.uptime();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            times.push(clock.uptime().saturating_sub(began));
        }
        times.sort_unstable();
        Ok(times[8])
    };
    let middle = probe();
    let removed = std::fs::remove_file(&path);
    middle.and_then(|middle| removed.map(|()| middle))
}

fn wall_clock(clock: &Clock) -> Finding {
    let now = clock.unix_ms();
    let shown = towline_protocol::timestamp::iso(now);
    if now < UNIX_MS_LEAST {
        return Finding::new(
            Level::Fail,
            "clock",
            format!("it says {shown}; tokens cannot be judged with a wrong clock: start chrony or systemd-timesyncd"),
        );
    }
    Finding::new(Level::Ok, "clock", shown)
}

/// The queue of connections that the kernel has accepted and the server has not: after a deploy all clients come at once.
fn backlog() -> Option<Finding> {
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()?;
    Some(if most < 1_024 {
        let advice = "sysctl -w net.core.somaxconn=65535";
        Finding::new(
            Level::Warn,
            "backlog",
            format!("net.core.somaxconn is {most}: clients that come back all at once are refused; {advice}"),
        )
    } else {
        Finding::new(Level::Ok, "backlog", format!("net.core.somaxconn is {most}"))
    })
}

/// Whether the issuers' keys can be had from here, and whether their servers' clocks agree with this one.
fn issuers(config: &Config, clock: &Clock) -> Vec<Finding> {
    let issuers = auth_config(config).issuers;
    if issuers.is_empty() {
        return Vec::new();
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    issuers.iter().map(|issuer| runtime.block_on(issuer_keys(&issuer.jwks_url, clock))).collect()
}

async fn issuer_keys(url: &str, clock: &Clock) -> Finding {
    let fail = |why: String| {
        Finding::new(
            Level::Fail,
            "issuer",
            format!("{url}: {why}; nobody with its tokens can connect until the keys can be fetched"),
        )
    };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).redirect(reqwest::redirect::Policy::none()).build();
    let answer = match client {
        Ok(client) => client.get(url).send().await,
        Err(error) => return fail(error.to_string()),
    };
    match answer {
        Err(error) => fail(error.without_url().to_string()),
        Ok(answer) if !answer.status().is_success() => fail(format!("it answers {}", answer.status())),
        Ok(answer) => {
            let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()).and_then(http_date_ms);
            match date.map(|ms| clock.unix_ms().abs_diff(ms) / 1000) {
                Some(apart) if apart > 10 => Finding::new(
                    Level::Warn,
                    "clock",
                    format!(
                        "it is {apart} s away from the issuer's ({url}): fresh tokens may be refused as not valid yet; start chrony or systemd-timesyncd"
                    ),
                ),
                _ => Finding::new(Level::Ok, "issuer", format!("{url} answers")),
            }
        }
    }
}

/// Whether the webhook's target can be reached from here, at an address that it may have. It gets no message.
fn webhook(config: &Config, clock: &Clock) -> Option<Finding> {
    let caller = match Caller::new(config, clock) {
        Ok(caller) => caller?,
        Err((key, why)) => return Some(Finding::new(Level::Fail, "webhook", format!("{key}: {why}"))),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let host = caller.host();
    Some(match runtime.block_on(caller.probe()) {
        Ok(status) => Finding::new(Level::Ok, "webhook", format!("{host} answers (HEAD: {status})")),
        Err(why) => Finding::new(
            Level::Warn,
            "webhook",
            format!("{host}: {why}; messages wait in the log until it can be reached, for webhook.retry_for at most"),
        ),
    })
}

fn bytes(count: u64) -> String {
    let gib = count as f64 / f64::from(1 << 30);
    if gib >= 1.0 { format!("{gib:.1} GiB") } else { format!("{:.0} MiB", count as f64 / f64::from(1 << 20)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_judged_by_its_nearest_parent_and_left_clean() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().join("a/b"), ..Config::default() };
        let findings = data_dir(&config, &Clock::system());
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|finding| finding.level != Level::Fail));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let nowhere = Config { data_dir: "/proc/nothing/here".into(), ..Config::default() };
        assert!(data_dir(&nowhere, &Clock::system()).iter().any(|finding| finding.level == Level::Fail));
    }

    #[test]
    fn a_webhooks_target_is_looked_at_and_gets_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.webhook.url = Some(format!("http://{}/hook", listener.local_addr().unwrap()));
        config.webhook.secrets = vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()];
        let refused = webhook(&config, &Clock::system()).unwrap();
        assert!(refused.level == Level::Fail && refused.text.contains("allow_internal"), "{}", refused.text);
        config.webhook.allow_internal = true;
        // Whoever listens there is gone.
        drop(listener);
        let away = webhook(&config, &Clock::system()).unwrap();
        assert!(away.level == Level::Warn && away.text.starts_with("127.0.0.1: "), "{}", away.text);
        assert!(webhook(&Config::default(), &Clock::system()).is_none());
    }

    #[test]
    fn a_taken_port_fails_and_says_how_to_find_who_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config { listen: taken.local_addr().unwrap(), ..Config::default() };
        let finding = port(&config);
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.text.contains("ss -ltnp"));
    }
}
