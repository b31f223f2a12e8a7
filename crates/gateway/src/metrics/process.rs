//! What the kernel says about this process. Reads `/proc`; where there is none, there are no figures.

/// Figures of the process.
pub(super) struct Process {
    pub resident_bytes: u64,
    pub memory_limit_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub cpu_seconds: f64,
    pub threads: u64,
}

/// Clock ticks per second in `/proc`: 100 on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn read() -> Option<Process> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold blanks; it ends at the last parenthesis. Then `utime` is field 12 and `stime` 13.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Process {
        resident_bytes: field("VmRSS")? * 1024,
        memory_limit_bytes: memory_limit()?,
        open_fds: open_fds()?,
        max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX),
        cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
        threads: field("Threads")?,
    })
}

/// What the process may use before the system kills it: its control group's limit, else the machine's memory.
fn memory_limit() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total: u64 = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|limit| limit.trim().parse::<u64>().ok());
    Some(group.unwrap_or(u64::MAX).min(total * 1024))
}

/// Since Linux 6.2 the directory's size is the number of descriptors; before, they have to be counted.
fn open_fds() -> Option<u64> {
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 { Some(size) } else { u64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok() }
}
