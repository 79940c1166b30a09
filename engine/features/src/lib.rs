//! No code: this crate's manifest turns on, for every package of the workspace, the features of
//! dependencies that one of them needs. So `cargo build`, `cargo test --workspace` and `cargo test -p`
//! of any package compile the same dependencies, and each of them is compiled once.
