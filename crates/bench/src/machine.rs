//! The machine under the figures: what matters for them, and no names.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// Facts that a reader needs to judge the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors this process may use.
    pub cores: usize,
    /// The processor's model.
    pub processor: String,
    /// The kernel's release number, without a builder's suffix.
    pub kernel: String,
    /// Main memory in GiB.
    pub memory_gib: u64,
    /// Open files a process may have.
    pub open_files: u64,
}

impl Machine {
    /// Reads the facts, and raises this process's limit of open files as far as it goes; servers inherit it.
    pub fn inspect() -> Self {
        let limit = getrlimit(Resource::Nofile);
        if limit.current < limit.maximum {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kilobytes = field(&read("/proc/meminfo"), "MemTotal");
        let kilobytes: u64 = kilobytes.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            kernel: release.trim().split('-').next().unwrap_or_default().to_owned(),
            memory_gib: (kilobytes + 524_288) / 1_048_576,
            open_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        }
    }

    /// One line for the terminal and the document.
    pub fn describe(&self) -> String {
        let Self { cores, processor, kernel, memory_gib, open_files } = self;
        format!(
            "{cores} cores ({processor}), Linux {kernel}, {memory_gib} GiB of memory, at most {open_files} open files per process"
        )
    }
}
