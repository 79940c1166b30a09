//! Refuses a plan that cannot be written for executors, while there is somebody to tell.
//!
//! The scheduler writes a task when an executor is free, and tries again for ever if it cannot. So
//! the whole plan is written once as soon as it is made.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec};
use datafusion_proto::protobuf::PhysicalPlanNode;

use super::message_depth::check_physical;

/// The rule, which changes nothing.
pub struct Sendable {
    codec: Arc<dyn PhysicalExtensionCodec>,
}

impl Sendable {
    /// The rule for what `codec` writes.
    pub fn new(codec: Arc<dyn PhysicalExtensionCodec>) -> Self {
        Self { codec }
    }
}

impl fmt::Debug for Sendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sendable")
    }
}

impl PhysicalOptimizerRule for Sendable {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        check_physical(plan.as_ref())?;
        PhysicalPlanNode::try_from_physical_plan(Arc::clone(&plan), self.codec.as_ref())?;
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "sendable"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
