//! The parts of which array functions are composed, one file each.

pub mod convert;
pub mod correlate1d;
pub mod correlate_nd;
pub mod linear;
pub mod rank;
pub mod sum;
pub mod uniform1d;
pub mod window_stage;
pub mod windows;
