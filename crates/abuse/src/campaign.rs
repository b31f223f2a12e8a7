//! The campaign: quiet, under attack, afterwards; and what must hold.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use towline_clock::Clock;
use towline_harness::Binary;

use crate::honest::{Crowd, Seen};
use crate::latency::Latencies;
use crate::memory::Memory;

/// The honest may wait this many times as long under attack, at the 99th percentile…
const SLOWER_MAX: f64 = 1.5;
/// …and nobody notices a delay below this, whatever its ratio.
const UNNOTICED: Duration = Duration::from_millis(5);

/// What can be attacked is switched on.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("TOWLINE_SOCKETS_COMPRESSION", "true"),
    ("TOWLINE_USERS_MESSAGES_PER_MINUTE_MAX", "600"),
    ("TOWLINE_USERS_CONNECTIONS_MAX", "20"),
];
/// Limits per address hold for the attackers, who come from some hundred addresses, as they hold for strangers in production; the honest
/// are behind one.
const LIMITS: (&str, &str) = ("TOWLINE_ADDRESSES_EXEMPT", "127.0.0.1/32");

/// How long, how many.
#[derive(Debug)]
pub struct Settings {
    pub attacked: Duration,
    pub quiet: Duration,
    pub honest: usize,
    pub only: Vec<String>,
    pub no_address_limits: bool,
}

/// Runs all of it and prints what was found. True if everything holds.
pub async fn run(settings: &Settings) -> anyhow::Result<bool> {
    let clock = Clock::system();
    let limits = (!settings.no_address_limits).then_some(LIMITS);
    let environment: Vec<_> = ENVIRONMENT.iter().copied().chain(limits).collect();
    let server = Binary::start(&environment).await;
    println!("{} honest clients, quiet for {:?}", settings.honest, settings.quiet);
    let quiet = phase(&server, &clock, settings.honest, settings.quiet, None).await;
    let mut memory = Memory::begin(&server);

    println!("under attack for {:?}", settings.attacked);
    let mut attackers = start_attackers(&server, &settings.only)?;
    let attacked = phase(&server, &clock, settings.honest, settings.attacked, Some(&mut memory)).await;
    let gave_up = attackers.try_wait()?.is_some();
    let done = end_attackers(&mut attackers).await?;

    println!("afterwards");
    memory.settle(&server).await;
    let connections = open_connections(&server).await;
    let after = phase(&server, &clock, settings.honest, settings.quiet, None).await;

    println!("\nattempts: {done}\n");
    report("quiet", &quiet.latencies);
    report("under attack", &attacked.latencies);
    report("afterwards", &after.latencies);
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    println!("memory: {:.1} MiB before, {:.1} at most, {:.1} after", mib(memory.before), mib(memory.peak), mib(memory.after));

    let slow = slower(&quiet.latencies, &attacked.latencies);
    let mut verdict = Verdict::default();
    for (name, seen) in [("quiet", &quiet), ("under attack", &attacked), ("afterwards", &after)] {
        let first = seen.errors.first().map(String::as_str).unwrap_or_default();
        verdict.holds(
            seen.errors.is_empty(),
            &format!("{name}: the honest see no error and miss nothing ({} errors) {first}", seen.errors.len()),
        );
    }
    verdict.holds(slow.is_none(), &format!("the honest wait at most {SLOWER_MAX} times as long {}", slow.unwrap_or_default()));
    verdict.holds(memory.returned(), "the server's memory is back at its level");
    verdict.holds(!gave_up, "no attack got what it wanted");
    verdict.holds(connections == 0, &format!("no connection of an attacker is left ({connections})"));
    Ok(verdict.good)
}

/// Honest clients for a while.
async fn phase(server: &Binary, clock: &Clock, honest: usize, long: Duration, mut memory: Option<&mut Memory>) -> Seen {
    let crowd = Crowd::gather(server, clock, honest).await;
    let begun = clock.uptime();
    while clock.uptime().saturating_sub(begun) < long {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(memory) = memory.as_deref_mut() {
            memory.sample(server);
        }
    }
    println!("  {} rounds", crowd.published());
    crowd.part().await
}

/// Sockets and event streams that are open, of all doors.
async fn open_connections(server: &Binary) -> u64 {
    let text = server.metrics().await;
    let counts = text.lines().filter(|line| line.starts_with("towline_connections{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn start_attackers(server: &Binary, only: &[String]) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(["attack", "--address", &server.address().to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
    if !only.is_empty() {
        command.args(["--only", &only.join(",")]);
    }
    command.spawn().context("the attackers cannot be started")
}

/// Kills them, so that all their connections end at once, and returns what they said last.
async fn end_attackers(attackers: &mut Child) -> anyhow::Result<String> {
    attackers.kill().await?;
    let mut last = String::new();
    if let Some(output) = attackers.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            last = line;
        }
    }
    anyhow::ensure!(!last.is_empty(), "the attackers did nothing");
    Ok(last)
}

fn report(name: &str, latencies: &Latencies) {
    let ms = |share| latencies.quantile(share).as_secs_f64() * 1e3;
    println!("{name:>13}: {} deliveries, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", latencies.len(), ms(0.5), ms(0.99), ms(1.0));
}

/// Says so if the honest had to wait.
fn slower(quiet: &Latencies, attacked: &Latencies) -> Option<String> {
    let (before, during) = (quiet.quantile(0.99), attacked.quantile(0.99));
    let ratio = during.as_secs_f64() / before.as_secs_f64().max(1e-6);
    (ratio > SLOWER_MAX && during > UNNOTICED).then(|| format!("(p99 is {ratio:.2} times the quiet one)"))
}

#[derive(Debug)]
struct Verdict {
    good: bool,
}

impl Default for Verdict {
    fn default() -> Self {
        Self { good: true }
    }
}

impl Verdict {
    fn holds(&mut self, holds: bool, what: &str) {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
        self.good &= holds;
    }
}
