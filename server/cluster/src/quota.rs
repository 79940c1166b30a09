//! What an executor's tasks may use together.
//!
//! Ballista writes what is shuffled without a limit, and an executor that fills a disk takes down
//! whatever else writes there. While a task runs, the size of the executor's folder is looked at now
//! and then; past the limit the task fails, and says so. Memory is limited by DataFusion's pool; only
//! what a sort keeps for merging must fit into a task's share of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use almagest_engine::Error;
use almagest_engine::bounds::{ValueLimit, limiting_unnest};
use almagest_engine::config::AlmagestOptions;
use almagest_engine::exec::{
    Ended, by_turns, heeding_its_end, spilling_joins, watched, with_settings,
};
use almagest_engine::files::naming_files;
use almagest_engine::session::fit_sorts;
use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{
    RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport,
};
use ballista_executor::execution_engine::{
    DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;

use super::guarded_ports::TaskSecret;
use super::wanted::Wanted;

/// How often the folder is looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// Ballista's way to run tasks, within limits.
pub struct Quota {
    engine: DefaultExecutionEngine,
    disk_bytes_max: Option<u64>,
    memory_bytes_share: Option<usize>,
    secret: Option<TaskSecret>,
    wanted: Wanted,
}

impl Quota {
    /// Tasks may keep `disk_bytes_max` bytes on disk together, and one may hold
    /// `memory_bytes_share` in memory. Only tasks with `secret` run, if there is one, and only while
    /// their queries are `wanted`.
    pub fn new(
        disk_bytes_max: Option<u64>,
        memory_bytes_share: Option<usize>,
        secret: Option<TaskSecret>,
        wanted: Wanted,
    ) -> Self {
        let engine = DefaultExecutionEngine::new();
        Self { engine, disk_bytes_max, memory_bytes_share, secret, wanted }
    }
}

impl ExecutionEngine for Quota {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        if let Some(secret) = &self.secret {
            secret.check(config)?;
        }
        let plan = naming_files(limiting_unnest(plan)?, ValueLimit::of(config.options()))?;
        let plan = spilling_joins(heeding_its_end(by_turns(plan)?)?)?;
        let plan = watching(plan, AlmagestOptions::of(config.options()).stall_timeout.0)?;
        let wanted = self.wanted.clone();
        let task = self.engine.create_query_stage_exec(
            job_id.clone(),
            stage_id,
            task_id,
            partitions,
            plan,
            work_dir,
            config,
        )?;
        let (disk, memory) = (self.disk_bytes_max, self.memory_bytes_share);
        Ok(Arc::new(Limited { task, job_id, wanted, folder: work_dir.into(), disk, memory }))
    }
}

/// The plan of a task, whose writer fails when nothing has moved below it for `timeout`.
fn watching(
    writer: Arc<dyn ExecutionPlan>,
    timeout: Option<Duration>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs = writer.children().into_iter().cloned();
    let inputs = inputs.map(|input| watched(input, timeout)).collect::<Result<_>>()?;
    replace_children_if_necessary(writer, inputs)
}

/// A task that ends when the disk is used up, or its query has ended.
#[derive(Debug)]
struct Limited {
    task: Arc<dyn QueryStageExecutor>,
    job_id: JobId,
    wanted: Wanted,
    folder: PathBuf,
    disk: Option<u64>,
    memory: Option<usize>,
}

impl Limited {
    /// Waits until the folder is larger than it may be.
    async fn full(&self) -> DataFusionError {
        let Some(limit) = self.disk else { return std::future::pending().await };
        loop {
            let folder = self.folder.clone();
            let used = tokio::task::spawn_blocking(move || bytes_in(&folder)).await;
            if used.is_ok_and(|used| used > limit) {
                let full = Error::exhausted(format!(
                    "the queries of an executor may keep {limit} bytes on its disk, and need more; \
                     start executors with a larger --disk-limit, or more of them"
                ));
                return full.into();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for Limited {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let settings = context.session_config().clone();
        let settings = match self.memory {
            None => settings,
            Some(bytes) => fit_sorts(settings, bytes),
        };
        // dropped when this is, also if the task is cancelled
        let (settings, _ends) = Ended::with_dropped(settings);
        let context = Arc::new(with_settings(&context, settings));
        tokio::select! {
            written = self.task.execute_query_stage(task_id, context) => written,
            full = self.full() => Err(full),
            ended = self.wanted.no_longer(&self.job_id) => Err(ended),
        }
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.task.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.task.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.task.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.task.collect_column_stats()
    }
}

/// The bytes of all files below a folder; what vanishes meanwhile counts nothing.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use ballista_core::execution_plans::ShuffleWriterExec;
    use datafusion::physical_plan::test::exec::BlockingExec;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn a_task_in_which_nothing_moves_fails() {
        let folder = tempfile::tempdir().unwrap();
        let never = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let never = Arc::new(BlockingExec::new(Arc::new(never), 1));
        let work_dir = folder.path().display().to_string();
        let writer = ShuffleWriterExec::try_new("q".into(), 1, never, work_dir.clone()).unwrap();
        let plan = watching(Arc::new(writer), Some(Duration::from_millis(20))).unwrap();
        let settings = SessionConfig::new();
        let task = DefaultExecutionEngine::new()
            .create_query_stage_exec("q".into(), 1, 0, vec![0], plan, &work_dir, &settings)
            .unwrap();
        let context = SessionContext::new_with_config(settings).task_ctx();
        let error = task.execute_query_stage(0, context).await.unwrap_err();
        assert!(error.to_string().contains("nothing has moved in the query"), "{error}");
    }

    #[test]
    fn files_in_folders_count() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), [0; 7]).unwrap();
        std::fs::write(folder.path().join("c"), [0; 5]).unwrap();
        assert_eq!(bytes_in(folder.path()), 12);
        assert_eq!(bytes_in(&folder.path().join("none")), 0);
    }
}
