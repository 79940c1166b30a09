//! Clusters for tests: executors are processes of the built command.

use std::path::PathBuf;

use almagest::cluster::{LocalCluster, LocalOptions, SchedulerOptions};

/// The command that was built with the tests.
pub fn command() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(|deps| deps.parent()).unwrap().join("almagest");
    assert!(built.exists(), "{} is missing: cargo test --workspace builds it", built.display());
    built
}

/// A cluster of `executors` processes with `cores` cores each, that notices soon if one is lost.
pub fn local_options(executors: usize, cores: usize) -> LocalOptions {
    // RUST_LOG=info shows what scheduler and executors do
    let asked = env_logger::Env::default().default_filter_or("off");
    let _ = env_logger::Builder::from_env(asked).try_init();
    LocalOptions {
        registry: almagest::registry().unwrap(),
        command: command(),
        executors,
        cores,
        memory_bytes_max: None,
        work_dir: None,
        disk_bytes_max: None,
        heartbeat_seconds: 1,
        key_file: None,
        scheduler: SchedulerOptions {
            port: 0,
            executor_timeout_seconds: 6,
            ..SchedulerOptions::default()
        },
    }
}

/// The same, started.
pub async fn local_cluster(executors: usize, cores: usize) -> LocalCluster {
    LocalCluster::start(&local_options(executors, cores)).await.unwrap()
}
