//! What a large cluster would keep and send, byte by byte: the constants of `docs/scale.md`, measured.

use std::path::Path;
use std::sync::Arc;

use almagest_engine::registry::Registry;
use almagest_engine::{Session, SessionOptions};
use ballista_core::extension::SessionConfigHelperExt;
use ballista_core::serde::protobuf::{
    ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorResource,
    ExecutorSpecification, PartitionId, PartitionLocation, PartitionStats,
};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use prost::Message;

use super::assembly::Assembly;

fn assembly() -> Assembly {
    let registry = Registry::default().with_relations(almagest_udfs::array_relations());
    Assembly::new(registry, 1)
}

fn session(options: &SessionOptions) -> Session {
    super::session(assembly().registry(), options).unwrap()
}

/// A plan with so many threads to make partitions for.
async fn planned(threads: usize, sql: &str) -> Arc<dyn ExecutionPlan> {
    let options = SessionOptions { threads: Some(threads), ..SessionOptions::default() };
    let session = session(&options);
    // as a scheduler plans: what runs in this process has operators around it that do not travel
    let (state, plan) = session.sql(sql).await.unwrap().into_parts();
    let plan = state.optimize(&plan).unwrap();
    DefaultPhysicalPlanner::default().create_physical_plan(&plan, &state).await.unwrap()
}

fn bytes(plan: Arc<dyn ExecutionPlan>) -> usize {
    let codec = assembly().physical_codec();
    PhysicalPlanNode::try_from_physical_plan(plan, codec.as_ref()).unwrap().encoded_len()
}

/// What a partition more adds to the plan of an array.
async fn partition_bytes() -> usize {
    let sql = "SELECT value FROM random_normal([200000, 8192], seed => 1, chunks => [1, 8192])";
    let (few, many) = (planned(1, sql).await, planned(501, sql).await);
    let count = |plan: &Arc<dyn ExecutionPlan>| plan.output_partitioning().partition_count();
    let more = count(&many) - count(&few);
    assert!(more >= 500, "{more} partitions more");
    (bytes(many) - bytes(few)) / more
}

/// What a file more adds to the plan of a folder of Parquet files with four columns.
async fn file_bytes(folder: &Path) -> usize {
    let of = async |name: &str, files: usize| {
        let folder = folder.join(name);
        let folder = folder.display();
        let rows = "SELECT value AS a, value * 0.5 AS b, value::VARCHAR AS c, value AS d FROM generate_series(1, 9)";
        let session = session(&SessionOptions::default());
        for file in 0..files {
            let sql = format!("COPY ({rows}) TO '{folder}/{file:06}.parquet' STORED AS PARQUET");
            session.sql(&sql).await.unwrap().collect().await.unwrap();
        }
        bytes(planned(1, &format!("SELECT * FROM '{folder}/'")).await)
    };
    (of("many", 110).await - of("some", 10).await) / 100
}

/// Where what one task has for one partition of the next stage lies.
fn location() -> PartitionLocation {
    let os_info = ExecutorOperatingSystemSpecification {
        system_name: "Linux".into(),
        kernel_ver: "6.1.0-18-amd64".into(),
        os_ver: "12".into(),
        os_ver_long: "Linux (Debian GNU/Linux 12)".into(),
        physical_cores: 32,
        ..Default::default()
    };
    PartitionLocation {
        map_partition_id: 30_000,
        partition_id: Some(PartitionId {
            job_id: "a1B2c3D".into(),
            stage_id: 3,
            partition_id: 30_000,
        }),
        executor_meta: Some(ExecutorMetadata {
            id: "a1b2c3d4-0000-4000-8000-0123456789ab".into(),
            host: "node0001.cluster.example.org".into(),
            port: 50_051,
            grpc_port: 50_052,
            specification: Some(ExecutorSpecification {
                resources: vec![ExecutorResource::default()],
            }),
            os_info: Some(os_info),
        }),
        partition_stats: Some(PartitionStats {
            num_rows: 1 << 20,
            num_batches: 1 << 7,
            num_bytes: 1 << 24,
            column_stats: vec![],
        }),
        file_id: Some(30_000),
        is_sort_shuffle: false,
    }
}

#[tokio::test]
async fn the_bytes_of_a_large_cluster_are_those_of_the_calculation() {
    let folder = tempfile::tempdir().unwrap();
    let settings = assembly().settings().to_key_value_pairs();
    let measured = [
        ("a partition of an array's plan", partition_bytes().await),
        ("a Parquet file of four columns in a plan", file_bytes(folder.path()).await),
        ("the place of one part of a shuffle", location().encoded_len() + 3),
        ("the settings of a task", settings.iter().map(|pair| pair.encoded_len() + 3).sum()),
    ];
    let document = include_str!("../../../docs/scale.md");
    let told = |name: &str| -> Option<f64> {
        let line = document.lines().find(|line| line.starts_with(&format!("| {name} |")))?;
        line.split('|').nth(2)?.trim().strip_suffix(" B")?.replace(',', "").parse().ok()
    };
    let wrong = measured.iter().filter(|(name, bytes)| {
        told(name).is_none_or(|told| (*bytes as f64 / told - 1.0).abs() > 0.1)
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "docs/scale.md tells other bytes: {wrong:?}");
}
