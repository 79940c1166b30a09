//! Every selection of packages compiles the same dependencies with the same features, so that none of
//! them is compiled twice: `engine/features` sees to that.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Each dependency that Cargo would compile for these packages, with its features.
fn compiled(selection: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["tree", "--offline", "--edges", "normal,build,dev", "--prefix", "none"])
        .args(["--format", "{p} {f}"])
        .args(selection)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").to_string()).collect()
}

#[test]
fn every_selection_of_packages_compiles_the_same_dependencies() {
    let all = compiled(&["--workspace"]);
    assert!(all.iter().any(|line| line.starts_with("datafusion v")), "is the search broken?");
    let packages = ["almagest-engine", "almagest-udfs", "almagest-connectors", "almagest-cluster"];
    let packages = packages.into_iter().chain(["almagest-flight", "almagest-launch", "almagest"]);
    for package in packages {
        let alone = compiled(&["--package", package]);
        let others: Vec<_> = alone.difference(&all).collect();
        assert!(
            others.is_empty(),
            "`cargo test -p {package}` compiles these once more than `cargo test --workspace`, and \
             all that stands on them: {others:#?}; write the features that are missing into \
             engine/features/Cargo.toml"
        );
    }
}
