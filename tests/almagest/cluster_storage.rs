//! What becomes of a query on a cluster when disks, files and stores fail.

use std::collections::HashMap;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use almagest::cluster::{LocalCluster, LocalOptions, Place, session_at};
use almagest::{ErrorKind, Session, SessionOptions};

use crate::object_stores::serve_with;
use crate::shuffled_join::{
    JOIN, answer, file_count, in_process, on_cluster, outcome, running, signal, until, with_tables,
    write_tables,
};
use almagest_tests::processes::{command, local_cluster, local_options};

fn plain_session(cluster: &LocalCluster) -> Session {
    let place = Place::At(cluster.address().clone());
    session_at(&SessionOptions::default(), &place).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_needs_more_disk_than_executors_may_use_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let work_dir = folder.path().join("work");
    let options = LocalOptions {
        disk_bytes_max: Some(100_000),
        work_dir: Some(work_dir.clone()),
        ..local_options(2, 1)
    };
    let cluster = LocalCluster::start(&options).await.unwrap();
    let session = on_cluster(&cluster, folder.path()).await;
    let error = outcome(&session, JOIN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert!(error.message().contains("100000 bytes on its disk"), "{error}");
    until(|| file_count(&work_dir) == 0).await;
    // the executors are as good as before
    let small = "SELECT sum(v) FROM a WHERE k < 10";
    let here = in_process(folder.path()).await;
    assert_eq!(answer(&session, small).await, answer(&here, small).await);
}

/// A command that runs the built one with a disk of its own at `work_dir`, of `bytes`; `None` where
/// this user may not mount one.
fn with_small_disk(folder: &Path, work_dir: &Path, bytes: usize) -> Option<PathBuf> {
    let mount = format!("mount -t tmpfs -o size={bytes} none '{}'", work_dir.display());
    std::fs::create_dir_all(work_dir).unwrap();
    let tried = std::process::Command::new("unshare").args(["-m", "sh", "-c", &mount]).status();
    if !tried.is_ok_and(|status| status.success()) {
        return None;
    }
    let path = folder.join("with-small-disk");
    let command = command().display().to_string();
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c \"{mount} && exec '{command}' \\\"\\$@\\\"\" - \"$@\"\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    Some(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let work_dir = folder.path().join("work");
    let Some(command) = with_small_disk(folder.path(), &work_dir, 128 << 10) else {
        eprintln!("NOT RUN: this user may not mount a small disk (unshare -m)");
        return;
    };
    let options = LocalOptions { command, work_dir: Some(work_dir), ..local_options(2, 1) };
    let cluster = LocalCluster::start(&options).await.unwrap();
    let session = on_cluster(&cluster, folder.path()).await;
    let error = outcome(&session, JOIN).await.unwrap_err();
    assert!(error.message().contains("No space left on device"), "{error}");
    let small = "SELECT sum(v) FROM a WHERE k < 10";
    let here = in_process(folder.path()).await;
    assert_eq!(answer(&session, small).await, answer(&here, small).await);
}

/// The files of shuffled data below a folder.
fn shuffled(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => shuffled(&path, found),
            path => found.push(path),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shuffled_data_that_is_cut_short_is_never_a_wrong_answer() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 40_000).await;
    let expected = answer(&in_process(folder.path()).await, JOIN).await;
    let work_dir = folder.path().join("work");
    let options = LocalOptions { work_dir: Some(work_dir.clone()), ..local_options(2, 1) };
    let cluster = LocalCluster::start(&options).await.unwrap();
    let session = on_cluster(&cluster, folder.path()).await;
    let asked = tokio::spawn(async move { outcome(&session, JOIN).await });
    // nothing is read before both tables are shuffled
    running(&cluster, |stage| stage.stage_id <= 2 && !stage.done_on.is_empty()).await;
    (0..2).for_each(|executor| signal(&cluster, executor, "STOP"));
    let mut files = vec![];
    shuffled(&work_dir, &mut files);
    assert!(!files.is_empty());
    for path in &files {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }
    (0..2).for_each(|executor| signal(&cluster, executor, "CONT"));
    match asked.await.unwrap() {
        Ok(found) => assert_eq!(found, expected),
        Err(error) => assert!(!error.message().is_empty(), "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_a_while_is_asked_again() {
    let text: String = (0..1000).map(|i| format!("{i},{}\n", i * 2)).collect();
    let files = HashMap::from([("/a.csv".to_string(), format!("i,twice\n{text}").into_bytes())]);
    // the session reads the header first; then come the executors
    let (address, requests) =
        serve_with(files, |before| (3..6).contains(&before).then_some("503 Service Unavailable"));
    let cluster = local_cluster(2, 1).await;
    let session = plain_session(&cluster);
    let sql = format!("SELECT count(*), sum(twice) FROM 'http://{address}/a.csv' WHERE i >= 0");
    let found = answer(&session, &sql).await;
    assert!(found.contains("999000"), "{found}");
    assert!(requests.lock().unwrap().len() > 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_is_an_error_that_names_the_file() {
    let files = HashMap::from([("/a.csv".to_string(), b"i,twice\n1,2\n".to_vec())]);
    let forbidden = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = std::sync::Arc::clone(&forbidden);
    let (address, _) = serve_with(files, move |_| {
        asked.load(std::sync::atomic::Ordering::SeqCst).then_some("403 Forbidden")
    });
    let cluster = local_cluster(2, 1).await;
    let session = plain_session(&cluster);
    let table = format!(
        "CREATE EXTERNAL TABLE far STORED AS CSV LOCATION 'http://{address}/a.csv' \
         OPTIONS ('format.has_header' 'true')"
    );
    answer(&session, &table).await;
    answer(&session, "SELECT sum(twice) FROM far").await;
    forbidden.store(true, std::sync::atomic::Ordering::SeqCst);
    let error = outcome(&session, "SELECT sum(twice) FROM far").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.message().contains("a.csv"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_file_that_is_gone_or_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [file, other] = ["image.h5", "other.h5"].map(|name| folder.path().join(name));
    let here = almagest::session(&SessionOptions::default()).unwrap();
    for (path, shape) in [(&file, "[40, 30]"), (&other, "[30, 40]")] {
        let sql = format!(
            "COPY (SELECT y, x, value FROM random_normal({shape}, seed => 1)) TO '{}' STORED AS HDF5",
            path.display()
        );
        answer(&here, &sql).await;
    }
    let cluster = local_cluster(2, 1).await;
    let session = plain_session(&cluster);
    let table = format!("CREATE EXTERNAL TABLE sky STORED AS HDF5 LOCATION '{}'", file.display());
    answer(&session, &table).await;
    let sum = "SELECT sum(value) FROM sky";
    answer(&session, sum).await;
    std::fs::rename(&other, &file).unwrap();
    let error = outcome(&session, sum).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid, "{error}");
    assert!(error.to_string().contains("has changed since the query was planned"), "{error}");
    assert!(error.to_string().contains("image.h5"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = outcome(&session, sum).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("image.h5"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_memory_that_is_too_large_to_send_is_refused() {
    let cluster = local_cluster(1, 1).await;
    let session = plain_session(&cluster);
    answer(
        &session,
        "CREATE TABLE t AS SELECT i, i + 1 AS j FROM generate_series(1, 5000000) s(i)",
    )
    .await;
    let error = outcome(&session, "SELECT sum(i) FROM t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("64 MiB"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_larger_than_memory_spills() {
    const MEMORY: usize = 8 << 20;
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), 400_000).await;
    let expected = answer(&in_process(folder.path()).await, JOIN).await;
    let options =
        SessionOptions { threads: Some(2), memory_bytes_max: Some(MEMORY), ..Default::default() };
    let narrow = with_tables(almagest::session(&options).unwrap(), folder.path()).await;
    assert_eq!(answer(&narrow, JOIN).await, expected);
    let options = LocalOptions { memory_bytes_max: Some(MEMORY), ..local_options(2, 1) };
    let cluster = LocalCluster::start(&options).await.unwrap();
    let session = with_tables(plain_session(&cluster), folder.path()).await;
    assert_eq!(answer(&session, JOIN).await, expected);
}
