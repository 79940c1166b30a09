//! The parts of which array functions are composed, one file each.

pub mod combine;
pub mod convert;
pub mod correlate1d;
pub mod correlate_nd;
pub mod gaussian;
pub mod grey;
pub mod linear;
pub mod local;
pub mod map_blocks;
pub mod map_overlap;
pub mod rank;
pub mod root;

pub mod uniform1d;
pub mod window_stage;
pub mod windows;
