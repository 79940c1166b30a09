//! How many bytes a function may make at once.
//!
//! It belongs to the process that runs a query, goes by its memory, and cannot be set: so it is an
//! extension of the settings without entries, which do not travel to other processes.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::Result as DfResult;
use datafusion::prelude::SessionConfig;

use crate::Error;

/// Bytes without a memory limit. Texts and lists of one batch end at 2 GiB by Arrow's 32-bit offsets.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes that a function may always make.
const BYTES_MIN: u64 = 4 << 20;
/// A function may make this part of what a thread may hold.
const SHARE: u64 = 4;

/// The limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueLimit {
    bytes_max: u64,
}

impl Default for ValueLimit {
    fn default() -> Self {
        Self { bytes_max: BYTES_MAX }
    }
}

impl ValueLimit {
    /// The bytes that the settings allow.
    pub fn of(options: &ConfigOptions) -> u64 {
        options.extensions.get::<Self>().copied().unwrap_or_default().bytes_max
    }
}

/// The settings of a thread that may hold `bytes`.
#[must_use]
pub fn with_value_limit(mut settings: SessionConfig, bytes: usize) -> SessionConfig {
    let bytes_max = (bytes as u64 / SHARE).clamp(BYTES_MIN, BYTES_MAX);
    settings.options_mut().extensions.insert(ValueLimit { bytes_max });
    settings
}

impl ConfigExtension for ValueLimit {
    const PREFIX: &'static str = "almagest_value_limit";
}

impl ExtensionOptions for ValueLimit {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(*self)
    }

    fn set(&mut self, _: &str, _: &str) -> DfResult<()> {
        let message = "how much functions may make goes by the memory limit, and is no setting";
        Err(Error::plan(message).into())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        vec![]
    }
}
