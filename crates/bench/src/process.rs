//! What the kernel says about a server's processes: CPU time and user memory, summed over the process and its children.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// `root` and all its living descendants.
fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, stat_field(pid, 1)?.try_into().ok()?)))
        .collect();
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        tree.extend(
            parents.iter().filter(|(pid, of)| *of == parent && !tree.contains(pid)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        at += 1;
    }
    tree
}

/// User plus system time of all threads of the tree, in steps of the kernel's clock tick (10 ms).
pub fn cpu(root: u32) -> Duration {
    // Fields 14 and 15 of proc_pid_stat(5), counted here from the one after the command's closing parenthesis.
    let ticks: u64 = tree(root).into_iter().filter_map(|pid| Some(stat_field(pid, 11)? + stat_field(pid, 12)?)).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Bytes of user memory of the tree: anonymous pages, and shared memory by its share (nginx keeps channels there). Neither mapped
/// files nor the kernel's socket memory are in it.
pub fn memory(root: u32) -> Result<u64> {
    let mut kilobytes = 0;
    for pid in tree(root) {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("reading smaps_rollup")?;
        kilobytes += rollup
            .lines()
            .filter(|line| line.starts_with("Pss_Anon:") || line.starts_with("Pss_Shmem:"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(kilobytes * 1024)
}

fn stat_field(pid: u32, index: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_tree() {
        let own = std::process::id();
        assert!(tree(own).contains(&own));
        assert!(memory(own).expect("smaps_rollup") > 100_000);
    }
}
