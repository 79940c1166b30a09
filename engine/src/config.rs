//! Settings whose names begin with `almagest.`: `SET almagest.scheduler = 'threads'`.
//!
//! Written by hand, as DataFusion's macro gives entries without their prefix, and settings that
//! travel by name would be lost.

use std::any::Any;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::Result as DfResult;

use crate::Error;

/// Where queries run, in Dask's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// In this process, in one thread, one piece after another: for finding faults.
    Sync,
    /// In this process, on its threads.
    #[default]
    Threads,
    /// On executors that are processes of this machine and end with the session.
    Processes,
    /// On the executors of a scheduler elsewhere.
    Cluster,
}

impl Scheduler {
    const ALL: [(&'static str, Self); 4] = [
        ("sync", Self::Sync),
        ("threads", Self::Threads),
        ("processes", Self::Processes),
        ("cluster", Self::Cluster),
    ];
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(_, scheduler)| scheduler == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

impl FromStr for Scheduler {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let word = text.trim().to_ascii_lowercase();
        let found = Self::ALL.iter().find(|(name, _)| *name == word);
        found.map(|(_, scheduler)| *scheduler).ok_or_else(|| {
            Error::plan(format!(
                "almagest.scheduler is '{text}'; choose 'sync', 'threads', 'processes' or 'cluster'"
            ))
        })
    }
}

/// After how long a query in which nothing moves fails, in seconds; 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallTimeout(pub Option<Duration>);

impl Default for StallTimeout {
    fn default() -> Self {
        Self(Some(Duration::from_secs(60)))
    }
}

impl fmt::Display for StallTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.unwrap_or_default().as_secs_f64().fmt(f)
    }
}

impl FromStr for StallTimeout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let seconds = text.trim().parse::<f64>().ok();
        let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let time = time.ok_or_else(|| {
            Error::plan(format!(
                "almagest.stall_timeout is '{text}'; give a number of seconds, or 0 for never"
            ))
        })?;
        Ok(Self((!time.is_zero()).then_some(time)))
    }
}

/// The settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlmagestOptions {
    /// Where queries run.
    pub scheduler: Scheduler,
    /// How many processes `processes` means; 0 for one on each core.
    pub processes: usize,
    /// The scheduler that `cluster` means, as a URL; empty for none.
    pub cluster: String,
    /// The file of the key to that cluster; empty for none.
    pub cluster_key: String,
    /// After how long a query of this process in which nothing moves fails.
    pub stall_timeout: StallTimeout,
}

impl AlmagestOptions {
    /// Whether queries run in this process.
    pub fn runs_here(&self) -> bool {
        matches!(self.scheduler, Scheduler::Sync | Scheduler::Threads)
    }

    /// The settings in these options; defaults if there are none.
    pub fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

impl ConfigExtension for AlmagestOptions {
    const PREFIX: &'static str = "almagest";
}

impl ExtensionOptions for AlmagestOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> DfResult<()> {
        match key {
            "scheduler" => self.scheduler = value.parse()?,
            "processes" => {
                self.processes = value.parse().map_err(|_| {
                    let message = format!("almagest.processes is '{value}', not a number");
                    Error::plan(message)
                })?;
            }
            "cluster" => self.cluster = value.into(),
            "cluster_key" => self.cluster_key = value.into(),
            "stall_timeout" => self.stall_timeout = value.parse()?,
            _ => {
                let known = self.entries().into_iter().map(|entry| entry.key);
                return Err(Error::plan(format!(
                    "there is no setting almagest.{key}; there are {}",
                    known.collect::<Vec<_>>().join(", ")
                ))
                .into());
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |key: &str, value: String, description| ConfigEntry {
            key: format!("{}.{key}", Self::PREFIX),
            value: Some(value),
            description,
        };
        vec![
            entry(
                "scheduler",
                self.scheduler.to_string(),
                "Where queries run: sync (one thread), threads, processes (executors on this \
                 machine), cluster (executors of almagest.cluster)",
            ),
            entry(
                "processes",
                self.processes.to_string(),
                "Processes that almagest.scheduler = 'processes' starts; 0: one for each core",
            ),
            entry(
                "cluster",
                self.cluster.clone(),
                "The scheduler of almagest.scheduler = 'cluster', such as http://head:50050",
            ),
            entry(
                "cluster_key",
                self.cluster_key.clone(),
                "The file of the key to almagest.cluster, if it has one",
            ),
            entry(
                "stall_timeout",
                self.stall_timeout.to_string(),
                "Seconds after which a query fails in which nothing moves; 0: never",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_as_they_are_written() {
        let mut options = AlmagestOptions::default();
        let set = [
            ("scheduler", "sync"),
            ("processes", "3"),
            ("cluster", "http://head:7"),
            ("cluster_key", "/home/me/key"),
            ("stall_timeout", "0.5"),
        ];
        for (key, value) in set {
            options.set(key, value).unwrap();
        }
        for (key, value) in set {
            let entry = options.entries().into_iter().find(|entry| entry.key.ends_with(key));
            assert_eq!(entry.unwrap().value.as_deref(), Some(value));
        }
        for (key, value) in [
            ("scheduler", "dask"),
            ("processes", "few"),
            ("schedular", "sync"),
            ("stall_timeout", "-1"),
        ] {
            assert!(options.set(key, value).is_err(), "{key} {value}");
        }
    }
}
