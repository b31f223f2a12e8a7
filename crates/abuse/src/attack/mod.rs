//! The attacks. Each goes on until its process is killed, at a rate that one machine bears: what they are for is to find what the
//! server does for them, not how much it can be given.

mod credentials;
mod frames;
mod handshakes;
mod messages;
mod readers;
mod requests;

use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towline_harness::{Clock, Endpoint};

use crate::line::{From, Line};

/// What an attack knows of the server. It is run by somebody with a token: strangers get no further than the handshake.
#[derive(Clone)]
pub struct Target {
    endpoint: Arc<Endpoint>,
    done: Arc<AtomicU64>,
    /// The attack's own addresses are 127.0.`house`.x.
    house: u8,
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An attack: its name, and how it is run.
pub struct Attack {
    pub name: &'static str,
    run: fn(Target) -> Running,
}

macro_rules! attacks {
    ($($name:literal: $run:path;)+) => {
        /// All attacks.
        pub const ATTACKS: &[Attack] = &[$(Attack { name: $name, run: |target| Box::pin($run(target)) }),+];
    };
}

attacks! {
    "silent-handshakes": handshakes::silent;
    "dripping-handshakes": handshakes::dripping;
    "header-floods": handshakes::header_floods;
    "foreign-origins": handshakes::foreign_origins;
    "connect-storm": handshakes::connect_storm;
    "bad-tokens": credentials::bad_tokens;
    "stolen-tickets": credentials::tickets;
    "garbage-frames": frames::garbage;
    "tiny-fragments": frames::tiny_fragments;
    "oversized-messages": frames::oversized;
    "decompression-bombs": frames::bombs;
    "ping-floods": frames::ping_floods;
    "never-reading": readers::never_reading;
    "slow-reading": readers::slow_reading;
    "subscribe-floods": messages::subscribe_floods;
    "message-floods": messages::message_floods;
    "deep-json": messages::deep_json;
    "body-drips": requests::body_drips;
    "forbidden-publishes": requests::forbidden_publishes;
    "odd-requests": requests::odd_requests;
}

/// Runs the named attacks, or all, until the process is killed; says once a second what was done.
pub async fn run(address: SocketAddr, only: &[String]) -> anyhow::Result<ExitCode> {
    // So that the machine serves the server and the honest first.
    rustix::process::nice(19)?;
    let endpoint = Arc::new(Endpoint::at(address, Clock::system()));
    let mut tallies = Vec::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        if !only.is_empty() && !only.iter().any(|name| name == attack.name) {
            continue;
        }
        let done = Arc::new(AtomicU64::new(0));
        let house = 10 + u8::try_from(number)?;
        let target = Target { endpoint: Arc::clone(&endpoint), done: Arc::clone(&done), house };
        tokio::spawn((attack.run)(target));
        tallies.push((attack.name, done));
    }
    anyhow::ensure!(!tallies.is_empty(), "no attack has such a name");
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let counts: Vec<String> = tallies.iter().map(|(name, done)| format!("{name} {}", done.load(Ordering::Relaxed))).collect();
        println!("{}", counts.join(", "));
    }
}

impl Target {
    /// Counts something done.
    fn did(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// A line from one of the attack's addresses.
    async fn line(&self, number: u8) -> Option<Line> {
        let line = Line::open(self.endpoint.address(), From(self.house, number.max(1))).await;
        self.or_pause(line).await
    }

    /// An upgraded line on the native door, of a user of the attack's own.
    async fn upgraded(&self, number: u8) -> Option<Line> {
        let line = self.line(number).await?;
        self.upgrade(line, number, "").await
    }

    /// An upgraded line on one of the doors.
    async fn upgraded_anywhere(&self, number: u8) -> Option<Line> {
        let line = self.line(number).await?;
        match number % 3 {
            0 => self.upgrade(line, number, "").await,
            1 => self.upgrade_on(line, number, "/api/ws", "").await,
            _ => self.upgrade_on(line, number, "/ws", "").await,
        }
    }

    /// Upgrades a line on the native door.
    async fn upgrade(&self, line: Line, number: u8, headers: &str) -> Option<Line> {
        self.upgrade_on(line, number, "/ws", &format!("Sec-WebSocket-Protocol: towline.v1\r\n{headers}")).await
    }

    async fn upgrade_on(&self, mut line: Line, number: u8, path: &str, headers: &str) -> Option<Line> {
        let token = self.endpoint.token(&format!("mallory-{}-{number}", self.house)).topics(["busy"]).mint();
        match line.upgrade(path, &format!("Authorization: Bearer {token}\r\n{headers}")).await {
            Ok(101) => Some(line),
            // Turned away: what an attacker deserves.
            _ => {
                self.did();
                pause().await;
                None
            }
        }
    }

    async fn or_pause<T, E>(&self, result: Result<T, E>) -> Option<T> {
        if result.is_err() {
            pause().await;
        }
        result.ok()
    }
}

/// Between two attempts of one attacker.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Runs `work` for each of `lines` attackers at once, again and again.
async fn by_many<F, W>(target: Target, lines: u8, work: F)
where
    F: Fn(Target, u8) -> W + Copy + Send + Sync + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let mut attackers = tokio::task::JoinSet::new();
    for number in 1..=lines {
        let target = target.clone();
        attackers.spawn(async move {
            loop {
                work(target.clone(), number).await;
                pause().await;
            }
        });
    }
    // A panic is something that the server let happen: it ends the attack, and with it the campaign.
    if attackers.join_next().await.is_some_and(|ended| ended.is_err()) {
        std::process::exit(1);
    }
}
