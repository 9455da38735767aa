//! What processes cost: CPU time and memory, read from /proc.

use std::fs;

/// CPU seconds (user and system) that a process has used, with those of its children that ended.
pub fn cpu_seconds(pid: u32) -> f64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    // The name may hold spaces and brackets, so fields are counted from the last bracket: utime, stime,
    // cutime and cstime are the 12th to 15th after it (proc_pid_stat(5), fields 14 to 17).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = (11..15).filter_map(|i| fields.get(i)?.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds of a process and of its living children: a database server with its backends.
pub fn cpu_seconds_with_children(pid: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let living: f64 = children.split_whitespace().filter_map(|c| c.parse().ok()).map(cpu_seconds).sum();
    cpu_seconds(pid) + living
}

/// The most memory a process had, bytes.
pub fn peak_rss_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}
