//! What else the machine was doing, and what a process takes of it.

use anyhow::{Context, Result};

/// The kernel counts processor time in these, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// The load averages, as the kernel gives them; empty where it does not.
pub(super) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// How many threads can run at a time.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds of processor time a process has taken.
///
/// # Errors
/// There is no such process, or the kernel is another.
pub(super) fn processor_seconds(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before it may hold anything.
    let (_, rest) = text.rsplit_once(')').context("no name")?;
    let spent = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(spent.sum::<Result<f64, _>>()? / TICKS_A_SECOND)
}

/// Seconds of processor time the whole machine has spent on work, of all cores together.
///
/// # Errors
/// The kernel is another.
pub(super) fn busy_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let all = text.lines().next().context("no line")?.split_whitespace().skip(1);
    let ticks = all.map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    // The fourth and fifth are idle and waiting for the disk; those after the eighth are in others already.
    let work = ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    Ok(work.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_A_SECOND)
}

/// Megabytes of memory that a process holds, now and at most.
///
/// # Errors
/// As [`processor_seconds`].
pub(super) fn resident_megabytes(process: u32) -> Result<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let of = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kilobytes = line.split_whitespace().nth(1).context("no number")?;
        Ok(kilobytes.parse::<f64>()? * 1024.0 / 1e6)
    };
    Ok((of("VmRSS")?, of("VmHWM")?))
}
