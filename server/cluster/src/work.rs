//! How far a query on the cluster is: of the tasks that its stages have, how many are done.
//!
//! A client that wants to know says so with a question about the query's state, and the answer says it
//! in a header of its own. In the session it is a metric, from which the engine's progress is read.

use std::str::FromStr;

use almagest_engine::exec::progress::{TASKS_DONE, TASKS_TOTAL};
use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use tonic::metadata::MetadataMap;

/// The header of a question, and of its answer.
const HEADER: &str = "almagest-tasks";

/// Tasks that are done, and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TasksDone {
    done: usize,
    total: usize,
}

impl TasksDone {
    /// Of a query that runs.
    pub fn of(graph: &dyn ExecutionGraph) -> Self {
        let counts = graph.stages().values().map(|stage| match stage {
            ExecutionStage::Successful(stage) => (stage.partitions, stage.partitions),
            ExecutionStage::Running(stage) => {
                let done = stage.task_infos.iter();
                let done = done.filter(|task| matches!(task.task_status, Status::Successful(_)));
                let done = done.map(|task| task.global_input_partition_ids.len()).sum();
                (done, stage.partitions)
            }
            other => (0, partitions_of(other.plan())),
        });
        let (done, total) = counts.fold((0, 0), |sum, stage| (sum.0 + stage.0, sum.1 + stage.1));
        Self { done, total }
    }

    /// Asks for it.
    pub fn ask(question: &mut MetadataMap) {
        question.insert(HEADER, tonic::metadata::MetadataValue::from_static("?"));
    }

    /// Whether it is asked for.
    pub fn is_asked(question: &MetadataMap) -> bool {
        question.contains_key(HEADER)
    }

    /// Tells it.
    pub fn tell(self, answer: &mut MetadataMap) {
        if let Ok(told) = format!("{}/{}", self.done, self.total).parse() {
            answer.insert(HEADER, told);
        }
    }

    /// What was told.
    pub fn told(answer: &MetadataMap) -> Option<Self> {
        answer.get(HEADER)?.to_str().ok()?.parse().ok()
    }
}

impl FromStr for TasksDone {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (done, total) = text.split_once('/').ok_or(())?;
        let number = |text: &str| text.parse().map_err(drop);
        Ok(Self { done: number(done)?, total: number(total)? })
    }
}

/// The tasks of a stage that waits for others, whose root writes what its input gives.
fn partitions_of(plan: &dyn ExecutionPlan) -> usize {
    let input = plan.children().first().copied();
    input.map_or(1, |input| input.properties().partitioning.partition_count())
}

/// The same as metrics, which never shrink, though a query may begin anew.
#[derive(Clone, Debug)]
pub struct WorkMeter {
    done: Count,
    total: Count,
}

impl WorkMeter {
    /// One of these metrics.
    pub fn new(metrics: &ExecutionPlanMetricsSet) -> Self {
        let counter = |name| MetricBuilder::new(metrics).global_counter(name);
        Self { done: counter(TASKS_DONE), total: counter(TASKS_TOTAL) }
    }

    /// Takes what was told.
    pub fn set(&self, told: TasksDone) {
        let raise = |count: &Count, value: usize| count.add(value.saturating_sub(count.value()));
        raise(&self.total, told.total);
        raise(&self.done, told.done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_was_asked_for() {
        let mut question = MetadataMap::new();
        assert!(!TasksDone::is_asked(&question));
        TasksDone::ask(&mut question);
        assert!(TasksDone::is_asked(&question));
        assert_eq!(TasksDone::told(&question), None);
        let mut answer = MetadataMap::new();
        let tasks = TasksDone { done: 3, total: 8 };
        tasks.tell(&mut answer);
        assert_eq!(TasksDone::told(&answer), Some(tasks));
    }

    #[test]
    fn a_query_that_begins_anew_is_not_less_done() {
        let metrics = ExecutionPlanMetricsSet::new();
        let meter = WorkMeter::new(&metrics);
        for (done, total) in [(1, 4), (3, 6), (0, 4)] {
            meter.set(TasksDone { done, total });
        }
        assert_eq!((meter.done.value(), meter.total.value()), (3, 6));
    }
}
