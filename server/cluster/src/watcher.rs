//! What a scheduler of this process knows: its executors, and how far its queries are.

use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use futures::future::BoxFuture;

use super::ballista_server::Server;

/// Looks at a scheduler.
#[derive(Clone)]
pub struct Watcher {
    server: Server,
}

/// An executor that can take tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingExecutor {
    /// What it is called.
    pub name: String,
    /// Tasks that it can run at once.
    pub cores: usize,
    /// Tasks that it runs.
    pub running_tasks: usize,
    /// Whether it keeps shuffled data of a query that runs.
    pub holds_needed_data: bool,
}

/// A stage of a query that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningStage {
    /// The query.
    pub job_id: String,
    /// The stage, numbered within the query.
    pub stage_id: usize,
    /// Whether it is not done.
    pub is_running: bool,
    /// The executors of tasks that run.
    pub running_on: Vec<String>,
    /// The executors of tasks that are done.
    pub done_on: Vec<String>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

impl Watcher {
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }

    /// The names of the executors that can take tasks.
    pub fn executors<'a>(&'a self) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            let executors = self.server.state.executor_manager.get_executors_state().await;
            let executors = executors.unwrap_or_default().into_iter();
            executors.map(|(executor, ..)| executor.id).collect()
        })
    }

    /// The stages that run.
    pub fn running_stages<'a>(&'a self) -> BoxFuture<'a, Vec<RunningStage>> {
        Box::pin(async move {
            let mut stages = self.all_stages().await;
            stages.retain(|stage| stage.is_running);
            stages
        })
    }

    /// The stages of queries that run, as far as they were begun.
    async fn all_stages(&self) -> Vec<RunningStage> {
        let mut found = vec![];
        for (job_id, job) in self.server.state.task_manager.get_running_job_cache().iter() {
            let graph = job.execution_graph.read().await;
            for (stage_id, stage) in graph.stages() {
                let Some(tasks) = stage.task_infos() else { continue };
                let (mut running_on, mut done_on) = (vec![], vec![]);
                for task in tasks {
                    match &task.task_status {
                        Status::Running(task) => running_on.push(task.executor_id.clone()),
                        Status::Successful(task) => done_on.push(task.executor_id.clone()),
                        Status::Failed(_) => {}
                    }
                }
                found.push(RunningStage {
                    job_id: job_id.to_string(),
                    stage_id: *stage_id,
                    is_running: matches!(stage, ExecutionStage::Running(_)),
                    running_on,
                    done_on,
                });
            }
        }
        found
    }

    /// The executors that can take tasks, and what they do.
    pub fn working_executors<'a>(&'a self) -> BoxFuture<'a, Vec<WorkingExecutor>> {
        Box::pin(async move {
            let executors = self.server.state.executor_manager.get_executors_state().await;
            let stages = self.all_stages().await;
            let executors = executors.unwrap_or_default().into_iter().map(|(executor, ..)| {
                let at =
                    |places: &[String]| places.iter().filter(|name| **name == executor.id).count();
                WorkingExecutor {
                    running_tasks: stages.iter().map(|stage| at(&stage.running_on)).sum(),
                    holds_needed_data: stages.iter().any(|stage| at(&stage.done_on) > 0),
                    cores: executor.specification.vcores as usize,
                    name: executor.id,
                }
            });
            executors.collect()
        })
    }

    /// The tasks of stages that run which nobody has begun.
    pub fn pending_tasks<'a>(&'a self) -> BoxFuture<'a, usize> {
        Box::pin(async move {
            let mut pending = 0;
            for (_, job) in self.server.state.task_manager.get_running_job_cache().iter() {
                let graph = job.execution_graph.read().await;
                pending += graph.available_tasks();
            }
            pending
        })
    }

    /// How many queries are not done.
    pub fn query_count(&self) -> usize {
        self.server.state.task_manager.running_job_number()
    }
}
