//! How the command is linked.

use std::env::var;

/// Functions that became the same machine code, which are many thousands in a Rust program, are kept once. Only LLVM's
/// linker is asked, which Rust brings along for this platform.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    if is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
    {
        println!("cargo::rustc-link-arg-bin=almagest=-Wl,--icf=all");
    }
}
