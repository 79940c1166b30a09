//! What is taken for a stall, and what is not.

use std::time::Instant;

use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{Partitioning, collect, execute_stream};
use futures::TryStreamExt;

use super::*;
use crate::ErrorKind;

const TIMEOUT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_millis(700);

/// What a partition does instead of giving rows at once.
#[derive(Clone, Copy, Debug)]
enum Does {
    Nothing,
    /// One poll takes long.
    Compute,
    /// It gives three batches.
    Give,
}

#[derive(Debug)]
struct OddExec {
    child: Arc<dyn ExecutionPlan>,
    does: Does,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

fn odd(does: Does, partitions: usize) -> Arc<dyn ExecutionPlan> {
    let schema = Arc::new(arrow::datatypes::Schema::empty());
    let properties = PlanProperties::new(
        EquivalenceProperties::new(Arc::clone(&schema)),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    let child = Arc::new(EmptyExec::new(schema));
    let metrics = ExecutionPlanMetricsSet::new();
    Arc::new(OddExec { child, does, properties: Arc::new(properties), metrics })
}

impl DisplayAs for OddExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("OddExec")
    }
}

impl ExecutionPlan for OddExec {
    fn name(&self) -> &'static str {
        "OddExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.child]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(
        &self,
        partition: usize,
        _: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (does, schema) = (self.does, self.schema());
        let row = RecordBatch::new_empty(Arc::clone(&schema));
        let rows = futures::stream::iter(0..3).then(move |_| {
            let (row, _) = (row.clone(), &metrics);
            async move {
                match does {
                    Does::Nothing => std::future::pending().await,
                    Does::Compute => std::thread::sleep(LONG),
                    Does::Give => {}
                }
                Ok(row)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

#[tokio::test]
async fn a_query_in_which_nothing_moves_fails_and_names_who_did_not_end() {
    for partitions in [1, 3] {
        let plan = watched(odd(Does::Nothing, partitions), Some(TIMEOUT)).unwrap();
        let begun = Instant::now();
        let error = Error::from(collect(plan, Arc::default()).await.unwrap_err());
        assert!(begun.elapsed() >= TIMEOUT);
        assert_eq!(error.kind(), ErrorKind::Bug);
        let named = format!("OddExec ({partitions} of {partitions} parts, 0 rows)");
        assert!(error.message().contains(&named), "{error}");
    }
}

#[tokio::test]
async fn a_task_that_an_operator_began_and_that_rests_is_a_stall() {
    let plan = Arc::new(CoalescePartitionsExec::new(odd(Does::Nothing, 2)));
    let plan = watched(plan, Some(TIMEOUT)).unwrap();
    let error = Error::from(collect(plan, Arc::default()).await.unwrap_err());
    assert!(error.message().contains("CoalescePartitionsExec"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn computing_for_long_is_no_stall() {
    let plan = watched(odd(Does::Compute, 1), Some(TIMEOUT)).unwrap();
    assert_eq!(collect(plan, Arc::default()).await.unwrap().len(), 3);
    // in tasks that operators begin, while who asks only waits
    let plan = Arc::new(CoalescePartitionsExec::new(odd(Does::Compute, 2)));
    let plan = watched(plan, Some(TIMEOUT)).unwrap();
    assert_eq!(collect(plan, Arc::default()).await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_client_that_takes_its_time_is_no_stall() {
    for partitions in [1, 2] {
        let plan = Arc::new(CoalescePartitionsExec::new(odd(Does::Give, partitions)));
        let plan = watched(plan, Some(TIMEOUT)).unwrap();
        let mut rows = execute_stream(plan, Arc::default()).unwrap();
        let mut count = 0;
        while rows.try_next().await.unwrap().is_some() {
            count += 1;
            tokio::time::sleep(LONG / 2).await;
        }
        assert_eq!(count, 3 * partitions);
    }
}

#[test]
fn a_query_of_which_a_scan_waits_has_ten_times_as_long() {
    let watch = Watch::new(Pulse::new(), TIMEOUT);
    watch.set(News::None);
    std::thread::sleep(TIMEOUT);
    assert!(watch.has_stalled());
    watch.pulse.set_waiting(true);
    assert!(!watch.has_stalled());
    assert_eq!(watch.patience(), 10 * TIMEOUT);
    watch.pulse.set_waiting(false);
    let turn = watch.pulse.turn();
    std::thread::sleep(TIMEOUT);
    assert!(!watch.has_stalled());
    drop(turn);
    assert!(!watch.has_stalled());
}

#[tokio::test]
async fn without_a_time_nobody_looks() {
    let plan = odd(Does::Give, 1);
    assert!(Arc::ptr_eq(&plan, &watched(Arc::clone(&plan), None).unwrap()));
}
