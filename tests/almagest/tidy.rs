//! Habits that a machine can check: documents name what exists, lists are complete, files are small.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 700;
/// Documents whose paths must exist.
const DOCUMENTS: [&str; 15] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "benches/README.md",
    "docs/correctness.md",
    "docs/limits.md",
    "docs/reference/cluster.md",
    "docs/reference/formats.md",
    "docs/reference/functions.md",
    "docs/reference/rust.md",
    "docs/reference/server.md",
    "docs/reference/shell.md",
    "docs/reference/tables.md",
    "docs/scale.md",
    "tests/batter/README.md",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// Every Rust file of the repository's crates, with its path from the repository on.
fn rust_files() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = vec![];
    for folder in ["engine", "udfs", "connectors", "server", "tests"] {
        walk(&repository().join(folder), &mut found);
    }
    let name = |path: &Path| path.strip_prefix(repository()).unwrap().display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// What a document sets in backticks and what looks like a path: with a slash behind a folder of
/// the repository, or with an extension of ours.
fn paths_in(document: &str) -> Vec<String> {
    let tops: Vec<String> = fs::read_dir(repository())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let is_path = |word: &&str| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let ours = [".rs", ".toml", ".md", ".slt", ".sql", ".py"];
        let top = word.split('/').next().unwrap_or_default();
        let made_by_use = top == "demo" || top == "target";
        let known = word.contains('/') && tops.iter().any(|known| known == top);
        let named = ours.iter().any(|end| word.len() > end.len() && word.ends_with(end));
        plain && !made_by_use && !word.starts_with('/') && (known || named)
    };
    let words = document.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    words.filter(is_path).map(str::to_string).collect()
}

#[test]
fn paths_that_documents_name_exist() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let folder = repository().join(document).parent().unwrap().to_path_buf();
        let paths = paths_in(&text(document));
        // A bare name belongs to a folder that the document names too.
        let named = paths.iter().map(|path| repository().join(path)).filter(|path| path.is_dir());
        let folders: Vec<PathBuf> = named.chain([folder, repository()]).collect();
        for path in paths {
            let here = folders.iter().any(|folder| folder.join(&path).exists());
            assert!(here, "{document} names {path}, which does not exist");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} paths were found in {DOCUMENTS:?}: is the search broken?");
}

#[test]
fn the_commands_of_the_readme_are_those_of_ci() {
    let (readme, ci) = (text("README.md"), text(".ci/run"));
    let command = "cargo test --workspace";
    for (name, text) in [("README.md", &readme), (".ci/run", &ci)] {
        let found =
            text.lines().any(|line| line == command || line.starts_with("cargo test --workspace "));
        assert!(found, "{name} does not run `{command}`");
    }
    assert!(ci.contains("/debug/almagest\" demo "), "CI does not run the demo");
}

#[test]
fn every_function_stands_in_its_list() {
    let list = text("udfs/src/lib.rs");
    let mut seen = 0;
    for (path, code) in rust_files() {
        let function = code.contains("pub fn udf()") || code.contains("pub fn udaf()");
        let Some(module) = path.strip_prefix("udfs/src/").filter(|_| function) else { continue };
        let module = module.trim_end_matches(".rs").replace('/', "::");
        let listed = [format!("{module}::udf("), format!("{module}::udaf(")];
        assert!(
            listed.iter().any(|entry| list.contains(entry)),
            "{path} defines a function that udfs/src/lib.rs does not list"
        );
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} files with functions were found: is the search broken?");
}

#[test]
fn every_table_function_stands_in_its_list() {
    let list = text("udfs/src/relations.rs");
    let mut seen = 0;
    for (path, code) in rust_files().iter().filter(|(path, _)| path.starts_with("udfs/")) {
        for line in code.lines().filter(|line| line.starts_with("impl ArrayRelation for ")) {
            let name = line.trim_start_matches("impl ArrayRelation for ").trim_end_matches(" {");
            assert!(list.contains(&format!("::{name})")), "{path}: {name} is in no list");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} table functions were found: is the search broken?");
}

#[test]
fn every_format_stands_in_its_list() {
    let list = text("connectors/src/lib.rs");
    let mut seen = 0;
    for (path, code) in rust_files().iter().filter(|(path, _)| path.starts_with("connectors/")) {
        let entry = |line| {
            ["impl Format for ", "impl ArrayFormat for "]
                .into_iter()
                .find_map(|start| str::strip_prefix(line, start))
        };
        for name in code.lines().filter_map(entry) {
            let name = name.trim_end_matches(" {");
            assert!(list.contains(&format!("::{name})")), "{path}: {name} is in no list");
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} formats were found: is the search broken?");
}

#[test]
fn every_test_module_runs() {
    let list = text("tests/almagest/main.rs");
    for entry in fs::read_dir(repository().join("tests/almagest")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else {
            continue;
        };
        assert!(list.contains(&format!("mod {module};")), "tests/almagest/{name} never runs");
    }
}

/// Whoever renames files on his own forgets to write them to the disk first.
#[test]
fn files_get_their_names_in_one_place() {
    // what knows nothing of the engine does it itself
    let places = ["engine/src/write/whole_file.rs", "server/src/launch/state.rs"];
    for (path, code) in rust_files().iter().filter(|(path, _)| path.contains("/src/")) {
        let renames = code.contains("fs::rename(") || code.contains(".persist(");
        assert_eq!(renames, places.contains(&path.as_str()), "{path}: use WholeFile");
        assert!(!renames || code.contains("sync_all()"), "{path} does not write to the disk");
    }
}

/// A platform's functions round in ways of their own; those of the crate `libm` do not. Square roots
/// are exact everywhere.
#[test]
fn results_call_no_function_of_the_platforms_mathematics() {
    let names = "exp exp2 exp_m1 ln ln_1p log log2 log10 powi powf sin cos tan sin_cos asin acos \
                 atan atan2 sinh cosh tanh asinh acosh atanh cbrt hypot";
    let layers = ["engine/", "udfs/", "connectors/"];
    for (path, code) in rust_files() {
        if !layers.iter().any(|layer| path.starts_with(layer)) || path.ends_with("tests.rs") {
            continue;
        }
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for name in names.split_whitespace() {
            let call = format!(".{name}(");
            assert!(!code.contains(&call), "{path} calls {call}…); call libm::{name}");
        }
    }
}

#[test]
fn files_are_small_begin_with_what_they_are_and_have_telling_names() {
    for (path, code) in rust_files() {
        let lines = code.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path} has {lines} lines: a second idea is needed");
        let stem = Path::new(&path).file_stem().unwrap().to_string_lossy().into_owned();
        let vague = ["mod", "utils", "util", "common", "helpers", "misc"];
        assert!(!vague.contains(&stem.as_str()), "{path}: the name says nothing");
        assert!(code.starts_with("//!"), "{path} does not begin with what it is");
    }
}
