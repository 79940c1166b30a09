//! Processes of this machine, told apart by their number and when they started.
//!
//! A number alone is not enough: the system gives it to another process later.

use std::path::Path;

/// When a process started, in the system's ticks since its own start; none if it is gone.
pub fn start_time(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    parse_start(&text.ok()?)
}

/// Whether the process of this number is still the one that started then.
pub fn is_alive(pid: u32, started: u64) -> bool {
    start_time(pid) == Some(started)
}

/// The 22nd field of `/proc/PID/stat`; none for a process that only waits to be forgotten. The
/// second field is a name in brackets that may hold anything.
fn parse_start(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    match state {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_number_is_another_process() {
        let own = std::process::id();
        let started = start_time(own).unwrap();
        assert!(is_alive(own, started));
        assert!(!is_alive(own, started + 1));
        assert_eq!(start_time(u32::MAX), None);
    }

    #[test]
    fn names_of_processes_may_hold_anything() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_start(&format!("7 (a) b (c)) {fields}")), Some(4242));
        let gone = fields.replace('S', "Z");
        assert_eq!(parse_start(&format!("7 (a) {gone}")), None);
        for odd in ["", "7", "7 (", "7 (a)", "7 (a) S 1 2"] {
            assert_eq!(parse_start(odd), None, "{odd}");
        }
    }
}
