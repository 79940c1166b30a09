//! Loops that are compiled for several instruction sets.
//!
//! In: a loop. Out: what it gives, by the best instructions that the processor has. Not here: the
//! order in which a loop adds, on which alone its result depends.

use fearless_simd::{Level, Simd, dispatch};

/// Runs `work`, compiled for the widest vectors that the processor has.
///
/// Only what is inlined into `work` is compiled so. Hence every function and closure of a loop is
/// marked `inline(always)`, and none is handed on by name or to `array::map`, which may stay calls.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    dispatch!(Level::new(), simd => simd.vectorize(work))
}
