//! The logical node of a COPY by many tasks, and its way to an operator.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::parts_exec::PartsExec;
use crate::Error;

/// What a task gives back: its folder, as a URL that ends in `/`, and how many rows it wrote.
pub(super) static RECEIPT: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("folder", DataType::Utf8, false),
        Field::new("count", DataType::UInt64, false),
    ]))
});

/// Where and how tasks write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct Target {
    /// The folder in which each task makes one of its own: a URL that ends in `/`.
    pub folder: String,
    /// The name of the format, as `STORED AS` has it.
    pub format: String,
    /// The options of COPY.
    pub options: BTreeMap<String, String>,
    /// The columns whose values name the folders of partitions.
    pub partition_by: Vec<String>,
}

impl Target {
    /// The folder, as a URL that ends in `/`, that a COPY fills; `None` if it writes one file.
    ///
    /// # Errors
    /// `Plan` for what is no location.
    pub fn folder_of(copy: &CopyTo) -> DfResult<Option<String>> {
        let url = ListingTableUrl::parse(&copy.output_url)?;
        let is_file = !url.is_collection() && url.file_extension().is_some();
        let url = url.as_str();
        let slash = if url.ends_with('/') { "" } else { "/" };
        Ok((!is_file).then(|| format!("{url}{slash}")))
    }
}

/// Writes the rows of its input, each task its part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WriteParts {
    input: LogicalPlan,
    target: Target,
    schema: DFSchemaRef,
}

impl WriteParts {
    /// Writes what `input` gives.
    ///
    /// # Errors
    /// None: the schema of the rows given back is constant.
    pub fn try_new(input: LogicalPlan, target: Target) -> DfResult<Self> {
        let schema = DFSchema::try_from(RECEIPT.as_ref().clone())?;
        Ok(Self { input, target, schema: Arc::new(schema) })
    }

    /// Where and how.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl PartialOrd for WriteParts {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.target, &self.input).partial_cmp(&(&other.target, &other.input))
    }
}

impl UserDefinedLogicalNodeCore for WriteParts {
    fn name(&self) -> &'static str {
        "WriteParts"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "WriteParts: format={}", self.target.format)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Self::try_new(input, self.target.clone()),
            _ => Err(Error::bug("WriteParts takes exactly one input").into()),
        }
    }
}

/// Plans [`WriteParts`].
#[derive(Debug)]
pub struct PartsPlanner;

#[async_trait]
impl ExtensionPlanner for PartsPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [input]) = (node.as_any().downcast_ref::<WriteParts>(), inputs) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(PartsExec::new(node.target.clone(), Arc::clone(input)))))
    }
}
