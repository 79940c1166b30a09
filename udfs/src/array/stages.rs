//! The parts of which array functions are composed, one file each.

pub mod convert;
pub mod correlate1d;
pub mod window_stage;
