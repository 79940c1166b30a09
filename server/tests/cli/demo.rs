//! The demo's sample and tour, and the README's statements over the sample.

use std::path::Path;
use std::process::Output;

use super::{almagest, err, out};

const SAMPLE: [&str; 4] = ["--size", "640", "--rows", "1000"];

fn demo(folder: &Path, more: &[&str]) -> Output {
    almagest().current_dir(folder).arg("demo").args(SAMPLE).args(more).output().unwrap()
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    let parts = (0..8).map(|part| format!("toi/part-{part}.parquet"));
    let names = std::iter::once("sky.h5".to_string()).chain(parts);
    names.map(|name| std::fs::read(folder.join(name)).unwrap()).collect()
}

fn count_in(folder: &Path, from: &str) -> String {
    let sql = format!("SELECT count(*) AS n FROM {from}");
    let output =
        almagest().current_dir(folder).args(["--format", "csv", "-c", &sql]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    out(&output).trim_start_matches("n\n").trim_end().to_string()
}

#[test]
fn the_demo_writes_its_sample_and_shows_every_statement_with_answer_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &[]);
    assert!(output.status.success(), "{}", err(&output));
    let statements = include_str!("../../../examples/quickstart.sql").matches(";\n").count();
    let times = out(&output).lines().filter(|line| line.ends_with(" s") && line.contains(" in "));
    assert_eq!(times.count(), statements);
    assert!(out(&output).contains("LOCATION 'demo/sky.h5';"), "{}", out(&output));
    assert_eq!(count_in(folder.path(), "'demo/sky.h5'"), (640 * 640).to_string());
    assert_eq!(count_in(folder.path(), "'demo/toi/*.parquet'"), "1000");
    let left = std::fs::read_dir(folder.path().join("demo")).unwrap().count();
    assert_eq!(left, 4, "the image, the catalog, the list of files, the picture, and nothing else");
}

#[test]
fn the_sample_is_the_same_on_every_run_and_for_every_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    assert!(demo(folder.path(), &["--dir", "one", "--threads", "1"]).status.success());
    assert!(demo(folder.path(), &["--dir", "it's 3", "--threads", "3"]).status.success());
    let (one, three) = (bytes(&folder.path().join("one")), bytes(&folder.path().join("it's 3")));
    assert!(one[1..] == three[1..], "the catalogs differ");
    // Chunks may lie in another order in the file; the pixels are the same.
    let same = "'one/sky.h5' AS a JOIN 'it''s 3/sky.h5' AS b USING (y, x) WHERE a.value = b.value";
    assert_eq!(count_in(folder.path(), same), (640 * 640).to_string());
}

#[test]
fn a_sample_is_used_again_completed_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    assert!(demo(folder.path(), &[]).status.success());
    let first = bytes(&dir);
    let image_made = std::fs::metadata(dir.join("sky.h5")).unwrap().modified().unwrap();
    assert!(err(&demo(folder.path(), &[])).contains("is complete"));
    // As after an interruption: one file is missing, half of another was written.
    std::fs::remove_file(dir.join("toi/part-3.parquet")).unwrap();
    std::fs::write(dir.join("toi/part-3.parquet.1.partial"), "PAR1").unwrap();
    let output = demo(folder.path(), &[]);
    assert!(output.status.success() && !err(&output).contains("is complete"), "{}", err(&output));
    assert!(bytes(&dir) == first, "the completed sample differs");
    assert!(!dir.join("toi/part-3.parquet.1.partial").exists());
    let image_kept = std::fs::metadata(dir.join("sky.h5")).unwrap().modified().unwrap();
    assert_eq!(image_kept, image_made, "a whole file was written anew");
    // Another size replaces what the demo itself has written.
    assert!(demo(folder.path(), &["--quiet"]).status.success());
    let other = almagest()
        .current_dir(folder.path())
        .args(["demo", "--size", "100", "--rows", "8"])
        .output()
        .unwrap();
    assert!(other.status.success(), "{}", err(&other));
    assert_eq!(count_in(folder.path(), "'demo/sky.h5'"), "10000");
}

#[test]
fn files_of_others_are_left_alone_without_force() {
    for name in ["sky.h5", "toi/mine.parquet", "almagest-demo.txt"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let output = demo(folder.path(), &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains(name) && err(&output).contains("--dir"), "{}", err(&output));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert_eq!(out(&output), "");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("demo")).unwrap();
    std::fs::write(folder.path().join("demo/sky.h5"), "mine").unwrap();
    assert!(demo(folder.path(), &["--force"]).status.success());
    assert_eq!(count_in(folder.path(), "'demo/sky.h5'"), (640 * 640).to_string());
}

#[test]
fn the_demo_refuses_sizes_that_make_no_sample() {
    for wrong in [["--size", "0"], ["--rows", "7"], ["--size", "many"]] {
        let output = almagest().arg("demo").args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn the_statements_of_the_readme_run() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::os::unix::fs::symlink(repository.join("tests"), folder.path().join("tests")).unwrap();
    std::os::unix::fs::symlink(repository.join("examples"), folder.path().join("examples"))
        .unwrap();
    assert!(demo(folder.path(), &[]).status.success());
    let readme = std::fs::read_to_string(repository.join("README.md")).unwrap();
    let blocks: Vec<&str> = readme
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(!blocks.is_empty(), "README.md shows no statement");
    let statements = folder.path().join("readme.sql");
    std::fs::write(&statements, blocks.join("\n;\n")).unwrap();
    let output = almagest().current_dir(folder.path()).args(["-f", "readme.sql"]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
}
