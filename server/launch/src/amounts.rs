//! Amounts as users write them: `32GB`, `4:00:00`. Each is checked where it is read.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// `512`, `64KB`, `4GB`, `1.5GiB`: bytes. KB, MB, GB, TB are powers of 1000; KiB … and the bare
/// letters K, M, G, T are powers of 1024.
///
/// # Errors
/// A sentence that says what a size is.
pub fn bytes(text: &str) -> Result<f64, String> {
    let wrong = || {
        let units = "B, KB, MB, GB, TB, KiB, MiB, GiB or TiB";
        format!("'{text}' is no size; write a number with a unit ({units}), such as 32GB")
    };
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "K" | "KIB" => 1 << 10,
        "M" | "MIB" => 1 << 20,
        "G" | "GIB" => 1 << 30,
        "T" | "TIB" => 1 << 40,
        _ => return Err(wrong()),
    };
    Ok(number * factor as f64)
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub u64);

/// How long a job may run, in seconds; 0 for as long as the queue lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Walltime(pub u64);

impl Bytes {
    /// Mebibytes, rounded up: what all queues call MB or M.
    pub fn mebibytes(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = bytes(text)?;
        // below that, no job starts; above, no machine has it
        if !((1 << 20) as f64..(1_u64 << 50) as f64).contains(&bytes) {
            return Err(format!("{text} is not what one job can have; write a size such as 32GB"));
        }
        Ok(Self(bytes as u64))
    }
}

impl Walltime {
    const SECONDS_MAX: u64 = 366 * 24 * 3600;

    /// When an executor takes no more tasks, so that it is done in time: five minutes before the
    /// end, but at most a tenth of the time. None if there is no end.
    pub fn drain_after_seconds(self) -> Option<u64> {
        (self.0 > 0).then(|| self.0 - (self.0 / 10).min(300))
    }
}

impl FromStr for Walltime {
    type Err = String;

    /// `4:00:00`, `1-12:00:00`, `90m`, `4h`, `2d`, `0`. Not `4:00`, which is minutes for one queue
    /// and hours for another.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no time; write H:MM:SS, D-HH:MM:SS, 90m, 4h or 2d");
        let text = text.trim();
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let unit =
            |count: &str, seconds: u64| number(count)?.checked_mul(seconds).ok_or_else(wrong);
        let seconds = if text == "0" {
            0
        } else if let Some(minutes) = text.strip_suffix('m') {
            unit(minutes, 60)?
        } else if let Some(hours) = text.strip_suffix('h') {
            unit(hours, 3600)?
        } else if let Some(days) = text.strip_suffix('d') {
            unit(days, 24 * 3600)?
        } else {
            let (days, clock) = text.split_once('-').unwrap_or(("0", text));
            let parts: Vec<u64> = clock.split(':').map(number).collect::<Result<_, _>>()?;
            let [hours, minutes, seconds] = parts[..] else { return Err(wrong()) };
            if minutes > 59 || seconds > 59 || hours > Self::SECONDS_MAX {
                return Err(wrong());
            }
            unit(days, 24 * 3600)?.saturating_add(hours * 3600 + minutes * 60 + seconds)
        };
        if seconds > Self::SECONDS_MAX || (seconds > 0 && seconds < 60) {
            return Err(format!("{text} is out of range; jobs run from a minute to a year"));
        }
        Ok(Self(seconds))
    }
}

impl fmt::Display for Walltime {
    /// `H:MM:SS`, which all queues read alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(seconds) = self;
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Walltime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("32GB".parse(), Ok(Bytes(32_000_000_000)));
        assert_eq!("1.5GiB".parse(), Ok(Bytes(3 << 29)));
        assert_eq!(Bytes(32_000_000_000).mebibytes(), 30_518);
        for wrong in ["", "GB", "4 parsecs", "1", "0GB", "-1GB", "1e30TB", "1.2.3GB", "nan"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_unambiguous() {
        let seconds = |text: &str| text.parse::<Walltime>().map(|time| time.0);
        assert_eq!(seconds("4:00:00"), Ok(14_400));
        assert_eq!(seconds("1-12:00:30"), Ok(36 * 3600 + 30));
        assert_eq!((seconds("90m"), seconds("2d"), seconds("0")), (Ok(5400), Ok(172_800), Ok(0)));
        assert_eq!(Walltime(36 * 3600 + 61).to_string(), "36:01:01");
        let huge = format!("{}h", u64::MAX);
        for wrong in ["", "4:00", "4", "1:60:00", "a:b:c", "-1:00:00", "30s", "0:00:10", &huge] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn executors_drain_before_their_time_is_up() {
        assert_eq!(Walltime(4 * 3600).drain_after_seconds(), Some(4 * 3600 - 300));
        assert_eq!(Walltime(600).drain_after_seconds(), Some(540));
        assert_eq!(Walltime(0).drain_after_seconds(), None);
    }
}
