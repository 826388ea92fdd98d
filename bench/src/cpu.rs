//! CPU time and memory of processes, from `/proc`.
use std::collections::HashMap;
use std::fs;

/// Nanoseconds of one tick of `/proc/PID/stat`; 100 Hz on every Linux that matters.
const TICK_NS: u64 = 10_000_000;

/// CPU time of each process and of this one's upstream thread, at one moment; nanoseconds.
pub(crate) struct Sample {
    server: u64,
    children: HashMap<u32, u64>,
    client: u64,
    upstream: u64,
}

/// CPU time between two samples; nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// The servers' own processes.
    pub(crate) server: u64,
    /// All processes below them: of ours, its PostgreSQL.
    pub(crate) postgres: u64,
    /// This process without the upstream.
    pub(crate) client: u64,
    /// The scripted upstream's thread.
    pub(crate) upstream: u64,
}

impl Spent {
    /// Of all serving processes, without the measuring one.
    pub(crate) fn serving(&self) -> u64 {
        self.server + self.postgres
    }
}

impl Sample {
    /// Now, for the servers `pids` and all below them.
    pub(crate) fn take(pids: &[u32]) -> Self {
        let own = std::process::id();
        let upstream = tasks(own, |name| name == crate::upstream::THREAD);
        let below = pids.iter().flat_map(|pid| descendants(*pid));
        Self {
            server: pids.iter().map(|pid| tasks(*pid, |_| true)).sum(),
            children: below.map(|p| (p, tasks(p, |_| true))).collect(),
            client: tasks(own, |_| true) - upstream,
            upstream,
        }
    }

    /// The CPU time since `earlier`. A process that ended in between takes its time with it.
    pub(crate) fn since(&self, earlier: &Self) -> Spent {
        let before = |pid: &u32| earlier.children.get(pid).copied().unwrap_or(0);
        let children = self.children.iter().map(|(pid, ns)| ns.saturating_sub(before(pid)));
        Spent {
            server: self.server.saturating_sub(earlier.server),
            postgres: children.sum(),
            client: self.client.saturating_sub(earlier.client),
            upstream: self.upstream.saturating_sub(earlier.upstream),
        }
    }
}

/// CPU time of the process's threads whose name `counts`.
fn tasks(pid: u32, counts: impl Fn(&str) -> bool) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
            counts(read("comm")?.trim()).then_some(())?;
            let exact = read("schedstat").and_then(|s| s.split(' ').next()?.parse().ok());
            exact.or_else(|| ticks(&read("stat")?)).or(Some(0))
        })
        .sum()
}

/// User and system time, the 12th and 13th field behind the name.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * TICK_NS)
}

/// All processes below `pid`.
fn descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let child = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((child, parent))
        })
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let above = found[next];
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(child, _)| child));
        next += 1;
    }
    found.split_off(1)
}

/// Memory in use; bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// The server's peak of resident memory.
    pub(crate) server_peak: u64,
    /// PostgreSQL's processes, shared pages counted once; zero where it may not be read.
    pub(crate) postgres: u64,
}

/// The highest resident memory of a process since its start, or since `forget_peak`; bytes.
pub(crate) fn peak(pid: u32) -> u64 {
    kib(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Lets `peak` begin anew. Without the right to reset it, the peak is too high, never too low.
pub(crate) fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Memory of the server `pid` and of all below it.
pub(crate) fn memory(pid: u32) -> Memory {
    let share = |p: u32| kib(&format!("/proc/{p}/smaps_rollup"), "Pss:");
    Memory { server_peak: peak(pid), postgres: descendants(pid).into_iter().map(share).sum() }
}

/// Resident memory of a process now; bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    kib(&format!("/proc/{pid}/status"), "VmRSS:")
}

fn kib(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next());
    value.and_then(|v| v.parse::<u64>().ok()).unwrap_or(0) * 1024
}
