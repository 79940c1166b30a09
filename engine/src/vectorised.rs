//! Loops that are compiled for several instruction sets.
//!
//! In: a loop. Out: what it gives, by the best instructions that the processor has. Not here: the
//! order in which a loop adds, on which alone its result depends.

#[cfg(not(target_arch = "x86_64"))]
use fearless_simd::dispatch;
use fearless_simd::{Level, Simd};

/// Runs `work`, compiled for AVX2 where the processor has it. Processors of before 2013 take what any has. Those with
/// AVX-512 take AVX2 too: a third copy of every loop took two fifths of the time in which the functions are
/// compiled, and no measurement shows that the wider vectors give it back.
///
/// Only what is inlined into `work` is compiled so. Hence every function and closure of a loop is
/// marked `inline(always)`, and none is handed on by name or to `array::map` or `array::from_fn`, which may stay
/// calls.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    match Level::new().as_avx2() {
        Some(simd) => simd.vectorize(work),
        None => work(),
    }
    #[cfg(not(target_arch = "x86_64"))]
    dispatch!(Level::new(), simd => simd.vectorize(work))
}
