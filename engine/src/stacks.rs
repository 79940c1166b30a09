//! How large the stacks are of threads that run plans, and what depth stacks hold.
//!
//! Not here: the stacks of threads that plan ([`crate::planning`]); what is counted, and its limits.

/// The stack of threads that run plans, where it is ours to say: operators call each other as deep as
/// they stand in a plan, and so do expressions.
pub const STACK_BYTES_RUNNING: usize = 32 << 20;

/// A depth that stacks hold: code that is not optimized takes about three times as much of them.
pub const fn for_this_build(depth: usize) -> usize {
    if cfg!(debug_assertions) { depth / 3 } else { depth }
}
