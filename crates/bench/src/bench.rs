//! What every scenario needs: the programs that can be measured, a clock, a place for temporary data, and how long to measure.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tempfile::TempDir;
use towline_clock::Clock;

use crate::systems::install::{self, Program};

type Found = OnceCell<Result<Program, String>>;

/// One run of the bench.
pub struct Bench {
    /// All durations are read from it.
    pub clock: Clock,
    /// Fewer and shorter repetitions, to see that everything works; such figures are not for the record.
    pub quick: bool,
    /// Only systems whose name begins with one of these; empty: all.
    systems: Vec<String>,
    target: PathBuf,
    gateway: PathBuf,
    nginx: Found,
    nats_of_debian: Found,
    nats_of_pypi: Found,
    redis: Found,
}

impl Bench {
    /// A run whose results and temporary data go below `target`.
    pub fn new(target: PathBuf, quick: bool, systems: Vec<String>) -> Result<Self> {
        let run = target.join("bench/run");
        // What an interrupted run left behind.
        if run.exists() {
            std::fs::remove_dir_all(&run)?;
        }
        std::fs::create_dir_all(&run)?;
        let found = Found::new;
        Ok(Self {
            clock: Clock::system(),
            quick,
            systems,
            gateway: target.join("release/towline"),
            target,
            nginx: found(),
            nats_of_debian: found(),
            nats_of_pypi: found(),
            redis: found(),
        })
    }

    /// Whether this system is to be measured.
    pub fn wants(&self, system: &str) -> bool {
        self.systems.is_empty() || self.systems.iter().any(|prefix| system.starts_with(prefix.as_str()))
    }

    /// Whether the figures are for the record: whole, and of all systems.
    pub fn for_the_record(&self) -> bool {
        !self.quick && self.systems.is_empty()
    }

    /// How often each system is measured.
    pub fn repetitions(&self, full: usize) -> usize {
        if self.quick { full.min(2) } else { full }
    }

    /// How long one measurement lasts.
    pub fn span(&self, full: Duration) -> Duration {
        if self.quick { full.min(Duration::from_secs(1)) } else { full }
    }

    /// A fresh directory on the disk that holds `target`: not in memory, because durable systems are measured in it.
    pub fn directory(&self) -> Result<TempDir> {
        Ok(TempDir::new_in(self.target.join("bench/run"))?)
    }

    /// Where results are kept.
    pub fn results(&self) -> PathBuf {
        self.target.join("bench")
    }

    /// The release build of the gateway.
    pub fn towline(&self) -> Result<&Path> {
        if self.gateway.is_file() {
            return Ok(&self.gateway);
        }
        Err(anyhow!("the release build of the gateway is not there: cargo build --release -p towline"))
    }

    /// nginx with nchan.
    pub fn nginx(&self) -> Result<&Program> {
        look(&self.nginx, install::nginx_with_nchan)
    }

    /// Debian's nats-server.
    pub fn nats_of_debian(&self) -> Result<&Program> {
        look(&self.nats_of_debian, install::nats_of_debian)
    }

    /// The current nats-server.
    pub fn nats_of_pypi(&self) -> Result<&Program> {
        look(&self.nats_of_pypi, || install::nats_of_pypi(&self.target))
    }

    /// Debian's Redis.
    pub fn redis(&self) -> Result<&Program> {
        look(&self.redis, install::redis)
    }
}

/// Looks once: a peer that could not be installed is not tried again for every scenario.
fn look(found: &Found, find: impl FnOnce() -> Result<Program>) -> Result<&Program> {
    found.get_or_init(|| find().map_err(|error| format!("{error:#}"))).as_ref().map_err(|why| anyhow!("{why}"))
}
