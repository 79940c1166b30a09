//! Hands out tasks so that the loss of an executor neither stops a cluster nor makes an answer wrong.
//!
//! Around Ballista's own state, which does the rest, this mends three faults of it:
//!
//! - An executor that registers by a sign of life, as after a restart of the scheduler, is offered
//!   work before that sign is noted, counts as lost, and waiting queries wait for ever.
//! - Its count of an executor's free places loses one where a report comes for a stage that was
//!   rolled back meanwhile: those that are left could stay idle for ever. Here places are given back
//!   by comparing with the stages each time tasks are handed out.
//! - A stage that reads shuffled data and is begun anew runs whole, while what it had already given to
//!   the next stage stays there: rows come twice. No task of such a query is handed out; the query
//!   is cancelled, and begun anew by the session that asked. Stages that read files are safe: only
//!   what was lost of them runs again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_core::serde::protobuf::{ExecutorHeartbeat, ExecutorStatus, executor_status};
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::scheduler_server::timestamp_secs;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use tokio::sync::{Mutex, mpsc};

/// The executors of a scheduler.
pub struct CarefulState {
    state: InMemoryClusterState,
    executors: Mutex<HashMap<String, Slots>>,
    /// The places of all executors.
    cores: Arc<AtomicUsize>,
    /// Takes the queries that must begin anew.
    broken: mpsc::UnboundedSender<JobId>,
}

impl CarefulState {
    /// No executors yet. Queries that must begin anew are told to `broken`, perhaps several times.
    pub fn new(broken: mpsc::UnboundedSender<JobId>) -> Self {
        Self {
            state: InMemoryClusterState::default(),
            executors: Mutex::default(),
            cores: Arc::default(),
            broken,
        }
    }

    /// How many tasks the executors can run at once, as they come and go.
    pub fn cores(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.cores)
    }

    fn count(&self, executors: &HashMap<String, Slots>) {
        let cores: usize = executors.values().map(|slots| slots.total as usize).sum();
        self.cores.store(cores, Ordering::Relaxed);
    }
}

/// The places of an executor.
#[derive(Clone, Copy, Debug)]
struct Slots {
    total: u32,
    /// As Ballista's state has it.
    free: u32,
}

/// Places that running tasks take on each executor.
async fn taken(jobs: &HashMap<JobId, JobInfoCache>) -> HashMap<String, u32> {
    let mut taken = HashMap::new();
    for job in jobs.values() {
        let graph = job.execution_graph.read().await;
        for stage in graph.stages().values() {
            let ExecutionStage::Running(stage) = stage else { continue };
            for task in &stage.task_infos {
                if let Status::Running(running) = &task.task_status {
                    *taken.entry(running.executor_id.clone()).or_insert(0) += task.vcores_consumed;
                }
            }
        }
    }
    taken
}

/// Whether a stage that reads shuffled data was begun anew.
async fn is_broken(job: &JobInfoCache) -> bool {
    let graph = job.execution_graph.read().await;
    graph.stages().values().any(|stage| {
        let (inputs, attempt) = match stage {
            ExecutionStage::UnResolved(stage) => (&stage.inputs, stage.stage_attempt_num),
            ExecutionStage::Resolved(stage) => (&stage.inputs, stage.stage_attempt_num),
            ExecutionStage::Running(stage) => (&stage.inputs, stage.stage_attempt_num),
            ExecutionStage::Successful(stage) => (&stage.inputs, stage.stage_attempt_num),
            ExecutionStage::Failed(_) => return false,
        };
        attempt > 0 && !inputs.is_empty()
    })
}

/// The queries that may go on.
async fn sound(
    jobs: Arc<HashMap<JobId, JobInfoCache>>,
    broken: &mpsc::UnboundedSender<JobId>,
) -> Arc<HashMap<JobId, JobInfoCache>> {
    let mut found = HashSet::new();
    for (job_id, job) in jobs.iter() {
        if is_broken(job).await {
            found.insert(job_id.clone());
        }
    }
    if found.is_empty() {
        return jobs;
    }
    let rest = jobs.iter().filter(|(job_id, _)| !found.contains(*job_id));
    let rest = rest.map(|(job_id, job)| (job_id.clone(), job.clone())).collect();
    for job_id in found {
        // nobody listens any more once the scheduler ends
        let _ = broken.send(job_id);
    }
    Arc::new(rest)
}

/// What an executor that registers would say.
fn sign_of_life(executor_id: String) -> ExecutorHeartbeat {
    let status = Some(executor_status::Status::Active(String::new()));
    ExecutorHeartbeat {
        executor_id,
        timestamp: timestamp_secs(),
        status: Some(ExecutorStatus { status }),
        ..ExecutorHeartbeat::default()
    }
}

#[async_trait]
impl ClusterState for CarefulState {
    async fn init(&self) -> Result<()> {
        self.state.init().await
    }

    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        let mut known = self.executors.lock().await;
        let taken = taken(&active_jobs).await;
        let mut returned = vec![];
        for (executor, slots) in known.iter_mut() {
            let free = slots.total.saturating_sub(taken.get(executor).copied().unwrap_or(0));
            if free > slots.free {
                returned.push((executor.clone(), free - slots.free));
                slots.free = free;
            }
        }
        self.state.unbind_tasks(returned).await?;
        let active_jobs = sound(active_jobs, &self.broken).await;
        let bound = self.state.bind_schedulable_tasks(distribution, active_jobs, executors).await?;
        for (executor, task) in &bound {
            if let Some(slots) = known.get_mut(executor) {
                slots.free = slots.free.saturating_sub(task.vcores_consumed);
            }
        }
        Ok(bound)
    }

    async fn unbind_tasks(&self, _: Vec<ExecutorSlot>) -> Result<()> {
        // what is free is found when tasks are handed out
        Ok(())
    }

    async fn register_executor(
        &self,
        metadata: ExecutorMetadata,
        spec: ExecutorData,
    ) -> Result<()> {
        let (executor, total) = (metadata.id.clone(), spec.available_vcores);
        self.state.register_executor(metadata, spec).await?;
        // Tasks are handed out before its first sign of life arrives, and to nobody without one.
        self.state.save_executor_heartbeat(sign_of_life(executor.clone())).await?;
        let mut executors = self.executors.lock().await;
        executors.insert(executor, Slots { total, free: total });
        self.count(&executors);
        Ok(())
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.state.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, executor_id: &str) -> Result<ExecutorMetadata> {
        self.state.get_executor_metadata(executor_id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.state.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        self.state.save_executor_heartbeat(heartbeat).await
    }

    async fn remove_executor(&self, executor_id: &str) -> Result<()> {
        let mut executors = self.executors.lock().await;
        executors.remove(executor_id);
        self.count(&executors);
        drop(executors);
        self.state.remove_executor(executor_id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.state.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, executor_id: &str) -> Option<ExecutorHeartbeat> {
        self.state.get_executor_heartbeat(executor_id)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.state.cluster_state_events().await
    }
}
