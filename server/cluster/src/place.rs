//! Where the queries of a session run.

use std::num::NonZeroUsize;
use std::str::FromStr;

use almagest_engine::{AlmagestOptions, Scheduler};

use super::Address;

/// Executors elsewhere or here: `http://head:50050`, `local:4`.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// On the executors of a scheduler.
    At(Address),
    /// On this many processes of this machine, which end with the session.
    Local(NonZeroUsize),
}

impl Place {
    /// The settings that say the same.
    pub fn settings(&self) -> AlmagestOptions {
        match self {
            Self::At(address) => AlmagestOptions {
                scheduler: Scheduler::Cluster,
                cluster: address.url(),
                ..AlmagestOptions::default()
            },
            Self::Local(count) => AlmagestOptions {
                scheduler: Scheduler::Processes,
                processes: count.get(),
                ..AlmagestOptions::default()
            },
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(count) = text.strip_prefix("local:") else {
            let address = text.parse();
            return address.map(Self::At).map_err(|cause: String| format!("{cause}, or local:N"));
        };
        let count = count.parse();
        count.map(Self::Local).map_err(|_| format!("'{text}' needs a number, such as local:4"))
    }
}
