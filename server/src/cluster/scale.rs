//! What a cluster costs by its size: the bytes of what a scheduler keeps and sends. `docs/scale.md`
//! calculates with them; a test here fails when they become others.

use almagest_engine::SessionOptions;
use ballista_core::extension::SessionConfigHelperExt;
use ballista_core::serde::protobuf::{
    ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorResource,
    ExecutorSpecification, PartitionId, PartitionLocation, PartitionStats,
};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use prost::Message;

use super::assembly::Assembly;

/// The bytes of a plan that scans an array in so many partitions.
async fn plan_bytes(partitions: usize) -> usize {
    let options = SessionOptions { threads: Some(partitions), ..SessionOptions::default() };
    let session = crate::session(&options).unwrap();
    let sql = "SELECT value FROM random_normal([100000, 8], seed => 1, chunks => [1, 8])";
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    assert_eq!(plan.properties().partitioning.partition_count(), partitions);
    let codec = Assembly::new(1).physical_codec();
    PhysicalPlanNode::try_from_physical_plan(plan, codec.as_ref()).unwrap().encoded_len()
}

/// Where the rows of one task for one partition of the next stage lie.
fn location() -> PartitionLocation {
    let id = "a1b2c3d4-0000-4000-8000-0123456789ab".to_string();
    PartitionLocation {
        map_partition_id: 100_000,
        partition_id: Some(PartitionId {
            job_id: "a1B2c3D".into(),
            stage_id: 3,
            partition_id: 100_000,
        }),
        executor_meta: Some(ExecutorMetadata {
            id,
            host: "node0001.cluster.example.org".into(),
            port: 50_051,
            grpc_port: 50_052,
            specification: Some(ExecutorSpecification {
                resources: vec![ExecutorResource::default()],
            }),
            os_info: Some(ExecutorOperatingSystemSpecification {
                system_name: "Linux".into(),
                kernel_ver: "6.1.0-18-amd64".into(),
                os_ver: "12".into(),
                os_ver_long: "Linux (Debian GNU/Linux 12)".into(),
                physical_cores: 32,
                ..Default::default()
            }),
        }),
        partition_stats: Some(PartitionStats {
            num_rows: 1 << 30,
            num_batches: 1 << 20,
            num_bytes: 1 << 40,
            column_stats: vec![],
        }),
        file_id: Some(100_000),
        is_sort_shuffle: false,
    }
}

#[tokio::test]
async fn the_bytes_that_the_calculation_of_scale_uses() {
    let descriptor = (plan_bytes(1002).await - plan_bytes(2).await) / 1000;
    let location = location().encoded_len() + 3;
    let settings = Assembly::new(1).settings().to_key_value_pairs();
    let settings: usize = settings.iter().map(|pair| pair.encoded_len() + 3).sum();
    let told = format!("descriptor {descriptor}, location {location}, settings {settings}");
    assert!((400..500).contains(&descriptor), "{told}");
    assert!((200..260).contains(&location), "{told}");
    assert!((8_000..16_000).contains(&settings), "{told}");
}
