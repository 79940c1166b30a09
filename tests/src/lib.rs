//! What tests of several binaries share. The specifications are in `spec/`, and `specs.rs` runs them;
//! tests of behaviour are in `almagest/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

pub mod processes;
pub mod served;
