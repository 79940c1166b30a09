//! Habits that a machine can check: documents name what exists, lists are complete, files are small.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 700;
/// Documents whose paths must exist.
const DOCUMENTS: [&str; 16] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "benches/README.md",
    "docs/build.md",
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

/// Crates from the lowest on: the folder, those of ours that its code may name, and how the names of crates begin
/// that its work has nothing to do with. What only its tests name is left out. The package in `server` sees all.
const LAYERS: [(&str, &[&str], &[&str]); 6] = [
    (
        "engine",
        &["almagest-features"],
        &["arrow-flight", "axum", "ballista", "clap", "rust-hdf5", "tonic"],
    ),
    ("udfs", &["almagest-engine"], &["arrow-flight", "ballista", "clap", "rust-hdf5", "tonic"]),
    ("connectors", &["almagest-engine"], &["arrow-flight", "axum", "ballista", "clap", "tonic"]),
    ("server/launch", &["almagest-engine"], &["arrow", "ballista", "datafusion", "tonic"]),
    ("server/cluster", &["almagest-engine"], &["axum", "clap", "rust-hdf5"]),
    ("server/flight", &["almagest-engine"], &["ballista", "clap", "rust-hdf5"]),
];
/// The same inside of crates: files whose paths begin so, and modules of the crate that they do not name.
const INSIDE: [(&str, &[&str]); 5] = [
    (
        "engine/src/array",
        &["catalog", "codec", "exec", "files", "planning", "rewrite", "session", "sql", "write"],
    ),
    ("engine/src/write", &["bounds", "catalog"]),
    ("connectors/src/hdf5", &["npy", "png"]),
    ("connectors/src/npy", &["hdf5", "png"]),
    ("connectors/src/png", &["hdf5", "npy"]),
];
/// Modules of a crate from the lowest on: none names one that stands behind it, so there is no circle. Tests may.
const MODULES: [(&str, &[&str]); 2] = [
    (
        "engine/src/",
        &[
            "error",
            "opaque",
            "walk",
            "stacks",
            "vectorised",
            "config",
            "array",
            "floats_by_value",
            "planned_table",
            "formats",
            // operators know neither what bounds functions, nor how plans are made or files are opened
            "exec",
            "catalog",
            "registry",
            "bounds",
            "planning",
            "files",
            "write",
            "rewrite",
            "local_planner",
            "codec",
            "sql",
            "session",
            "admission",
        ],
    ),
    (
        "server/src/",
        &[
            "assemble",
            "cluster",
            "flight",
            "output",
            // nothing runs there
            "arguments",
            "password",
            "interrupt",
            "statements",
            "names",
            "progress",
            "rows",
            "remote",
            "database",
            "diagnostics",
            "run",
            "demo",
            "shell",
            "roles",
            "launcher",
            "serve",
        ],
    ),
];
/// Files of these crates that hold tests alone, beside those that are called so.
const ONLY_TESTS: [&str; 2] =
    ["engine/src/planning/shapes.rs", "engine/src/rewrite/dense_reduction/properties.rs"];
/// What `server/launch` takes from the engine.
const OF_ENGINE: [&str; 3] = ["Error", "ErrorKind", "Result"];

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

/// The crates of a manifest that the code of its package may name.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = vec![];
    let mut counts = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            counts = line.ends_with("dependencies]") && !line.contains("dev-dependencies");
        } else if counts && line.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
            found.push(line[..end.unwrap_or(line.len())].to_string());
        }
    }
    found
}

/// The first names behind `start`, such as `crate::`, in code: `a` and `b` in `crate::a::c` and
/// `crate::{a::c, b}`.
fn names_after(code: &str, start: &str) -> Vec<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join(" ");
    let word = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = vec![];
    for rest in code.split(start).skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let (mut depth, mut begin) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.push(word(&list[begin..at]));
                    begin = at + 1;
                }
                _ => {}
            }
            if c == '}' && depth == 0 && begin == at + 1 {
                break;
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn no_crate_names_one_above_or_beside_it() {
    for (folder, below, foreign) in LAYERS {
        let names = dependencies(&text(&format!("{folder}/Cargo.toml")));
        assert!(names.len() >= 3, "{folder}: only {names:?} were found: is the search broken?");
        for name in names {
            let ours = name.starts_with("almagest");
            assert!(
                !ours || below.contains(&&*name),
                "{folder} names {name}, which is no layer below"
            );
            let is_foreign = foreign.iter().any(|start| name.starts_with(start));
            assert!(!is_foreign, "{folder} names {name}, with which its work has nothing to do");
        }
    }
}

#[test]
fn every_crate_stands_in_its_layer() {
    let manifest = text("Cargo.toml");
    let members = manifest.lines().find(|line| line.starts_with("members = ")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        // the one without code names whatever the others need
        let sees_all = ["server", "tests", "engine/features"].contains(&member);
        let listed = LAYERS.iter().any(|(folder, ..)| *folder == member);
        assert!(sees_all || listed, "{member} stands in no layer");
        let told = text("ARCHITECTURE.md").contains(&format!("| `{member}` |"));
        assert!(
            sees_all || told,
            "ARCHITECTURE.md does not say what {member} is, and does not know"
        );
    }
}

#[test]
fn no_folder_names_a_module_above_or_beside_it() {
    assert_eq!(
        names_after(
            "use crate::{Error, a::{b, c}, d}; // x\n// crate::e\ncrate::f::g()",
            "crate::"
        ),
        ["Error", "a", "d", "f"]
    );
    for (start, foreign) in INSIDE {
        let files: Vec<_> =
            rust_files().into_iter().filter(|(path, _)| path.starts_with(start)).collect();
        assert!(!files.is_empty(), "no file begins with {start}");
        for (path, code) in files {
            let named = names_after(&code, "crate::");
            let named = named.iter().find(|name| foreign.contains(&name.as_str()));
            assert_eq!(named, None, "{path} names a module that it does not know of");
        }
    }
}

#[test]
fn modules_name_only_modules_below_them() {
    for (folder, order) in MODULES {
        let height = |name: &str| order.iter().position(|known| *known == name);
        let mut seen = 0;
        for (path, code) in rust_files() {
            let Some(inside) = path.strip_prefix(folder) else { continue };
            let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
            let is_test = path.ends_with("tests.rs") || ONLY_TESTS.contains(&path.as_str());
            if ["lib", "main"].contains(&module) || is_test {
                continue;
            }
            let own = height(module);
            assert!(own.is_some(), "{path}: {module} has no place in the order of {folder}");
            let code = code.split("\nmod tests {").next().unwrap_or_default();
            for name in names_after(code, "crate::") {
                let Some(other) = height(&name) else { continue };
                assert!(Some(other) <= own, "{path} names {name}, a module above its own");
                seen += 1;
            }
        }
        assert!(seen >= 10, "only {seen} names were found in {folder}: is the search broken?");
    }
}

#[test]
fn queues_know_nothing_of_the_engine_but_its_error() {
    let mut seen = 0;
    for (path, code) in rust_files().iter().filter(|(path, _)| path.starts_with("server/launch/")) {
        for name in names_after(code, "almagest_engine::") {
            assert!(OF_ENGINE.contains(&name.as_str()), "{path} names almagest_engine::{name}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} uses of the engine were found: is the search broken?");
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
    let places = ["engine/src/write/whole_file.rs", "server/launch/src/state.rs"];
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

/// A walk that is generic over its closure is compiled once more, with all that its nodes hold, for each
/// closure that it takes: such walks were more than half of the engine's code.
#[test]
fn walks_are_compiled_in_one_place() {
    let place = "engine/src/walk.rs";
    // what code names, and what it calls: a walk of DataFusion or of the syntax tree
    let traits = ["TreeNode", "TreeNodeRewriter", "TreeNodeVisitor", "Visit", "VisitMut"];
    let calls = "transform transform_up transform_down transform_down_up apply( apply_children \
                 map_children exists( map_expressions apply_expressions( apply_subqueries \
                 map_subqueries apply_with_subqueries transform_with_subqueries \
                 transform_up_with_subqueries transform_down_with_subqueries \
                 transform_down_up_with_subqueries visit_with_subqueries rewrite_with_subqueries";
    // other types have methods of some of these names, which take no closure by value
    let found = |code: &str| {
        let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named = words.filter(|word| {
            traits.contains(word) || word.starts_with("visit_rel") || word.starts_with("visit_expr")
        });
        let mut found: Vec<String> = named.map(str::to_string).collect();
        for call in calls.split_whitespace() {
            let call = match call.strip_suffix('(') {
                Some(name) => vec![format!(".{name}(|"), format!(".{name}(move |")],
                None => vec![format!(".{call}(")],
            };
            found.extend(call.into_iter().filter(|call| code.contains(call)));
        }
        found
    };
    assert_eq!(found("plan.map_expressions(f); Path::exists(); path.exists()").len(), 1);
    assert_eq!(found("use tree_node::{TreeNode, TreeNodeRecursion}; a.apply(|n| n)").len(), 2);
    for (path, code) in rust_files().iter().filter(|(path, _)| path.contains("/src/")) {
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = found(&lines.collect::<Vec<_>>().join("\n"));
        if path == place {
            assert!(found.len() >= 10, "only {found:?} were found: is the search broken?");
            continue;
        }
        assert!(
            found.is_empty(),
            "{path}: {found:?} compiles a whole walk once more for each closure; walk by {place} \
             (`plan.change_up(&mut |node| …)`, `walk`, `any`, `walk_sql`)"
        );
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
