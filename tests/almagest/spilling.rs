//! Queries larger than the memory limit finish, are right, and did spill.

use std::sync::Arc;

use almagest::{Session, SessionOptions};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::{ExecutionPlan, collect};

/// One value of a query, and the bytes that its operators spilled.
async fn run(session: &Session, sql: &str) -> (i64, usize) {
    let frame = session.sql(sql).await.unwrap();
    let context = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.unwrap();
    let rows = collect(Arc::clone(&plan), context).await.unwrap();
    (rows[0].column(0).as_primitive::<Int64Type>().value(0), spilled_bytes(plan.as_ref()))
}

fn spilled_bytes(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes()).unwrap_or(0);
    own + plan.children().iter().map(|child| spilled_bytes(child.as_ref())).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_and_a_group_by_larger_than_memory_finish() {
    let folder = tempfile::tempdir().unwrap();
    let options = SessionOptions {
        threads: Some(2),
        memory_bytes_max: Some(48 << 20),
        spill_dir: Some(folder.path().join("spill")),
        ..SessionOptions::default()
    };
    let session = almagest::session(&options).unwrap();
    // two million texts of 32 bytes, in no order
    let rows = "SELECT value AS k, md5(value::VARCHAR) AS s FROM generate_series(1, 2000000)";
    let sort = format!(
        "SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY s) AS before FROM ({rows})) \
         WHERE before <= s"
    );
    let (in_order, spilled) = run(&session, &sort).await;
    assert_eq!(in_order, 1_999_999);
    assert!(spilled > 0, "the sort did not spill");
    let groups = format!("SELECT count(*) FROM (SELECT s, sum(k) FROM ({rows}) GROUP BY s)");
    let (groups, spilled) = run(&session, &groups).await;
    assert_eq!(groups, 2_000_000);
    assert!(spilled > 0, "the GROUP BY did not spill");
}
