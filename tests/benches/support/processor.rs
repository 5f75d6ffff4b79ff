//! Processor time, as the kernel counts it.

use std::collections::HashMap;
use std::fs;

/// The length of the kernel's tick for user programs: 100 a second on every Linux.
const TICK: f64 = 0.01;

/// Seconds of processor time that a process and all of its descendants took so far, those included
/// that are over and were waited for.
pub fn seconds(process: u32) -> f64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut ticks: HashMap<u32, u64> = HashMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name of the program, in parentheses, may hold anything.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<u64> = rest.split(' ').map(|field| field.parse().unwrap_or_default()).collect();
        children.entry(u32::try_from(fields[1]).expect("a process id")).or_default().push(id);
        // User and system time, its own and that of the children it waited for.
        ticks.insert(id, fields[11..15].iter().sum());
    }
    let mut wanted = vec![process];
    let mut sum = 0;
    while let Some(id) = wanted.pop() {
        sum += ticks.get(&id).copied().unwrap_or_default();
        wanted.extend(children.remove(&id).unwrap_or_default());
    }
    u32::try_from(sum).map_or(f64::NAN, f64::from) * TICK
}
