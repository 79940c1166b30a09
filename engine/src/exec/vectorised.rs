//! Loops that are compiled for several instruction sets.
//!
//! In: a loop. Out: what it gives, by the best instructions that the processor has. Not here: the
//! order in which a loop adds, on which alone its result depends.

#[cfg(not(target_arch = "x86_64"))]
use fearless_simd::dispatch;
use fearless_simd::{Level, Simd};

/// Runs `work`, compiled for the widest vectors that the processor has. Processors of before 2013, which have no
/// AVX2, take what any has: a third copy of every loop for them would cost each build more than it gives them.
///
/// Only what is inlined into `work` is compiled so. Hence every function and closure of a loop is
/// marked `inline(always)`, and none is handed on by name or to `array::map` or `array::from_fn`, which may stay
/// calls.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    match Level::new() {
        Level::Avx512(simd) => simd.vectorize(work),
        Level::Avx2(simd) => simd.vectorize(work),
        _ => work(),
    }
    #[cfg(not(target_arch = "x86_64"))]
    dispatch!(Level::new(), simd => simd.vectorize(work))
}
