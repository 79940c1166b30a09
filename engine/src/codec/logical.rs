//! Tables of ours in logical plans.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::datasource::{MemTable, provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::execution::TaskContext;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::{
    AggregateUDF, Expr, Extension, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF,
    WindowUDF,
};
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion_proto::logical_plan::from_proto::parse_expr;
use datafusion_proto::logical_plan::to_proto::serialize_expr;
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::{LogicalExprNode, LogicalPlanNode, PhysicalPlanNode};
use prost::Message;

use super::messages::{self as message, provider};
use super::physical::PhysicalCodec;
use super::read::{self, Reader, damaged, needed};
use super::write::{self, Writer};
use crate::Error;
use crate::catalog::{ArrayTable, RecordTable, ReducedArray};
use crate::files::GlobbedTable;
use crate::planned_table::PlannedTable;
use crate::registry::Registry;
use crate::write::WriteParts;

/// Rows of a batch that a table function generates.
const BATCH_ROWS: usize = 8192;
/// How the bytes of a table or node of ours begin.
const OURS: u8 = 1;
/// How the bytes of another's begin.
const OTHERS: u8 = 0;

/// Writes and reads logical plans over tables of ours. What is not ours it gives to another codec.
#[derive(Debug)]
pub struct LogicalCodec {
    registry: Registry,
    plans: PhysicalCodec,
    others: Arc<dyn LogicalExtensionCodec>,
}

impl LogicalCodec {
    /// The codec for the formats and functions of `registry`, before `others`.
    pub fn new(registry: Registry, others: Arc<dyn LogicalExtensionCodec>) -> Self {
        Self { plans: PhysicalCodec::new(registry.clone()), registry, others }
    }

    fn provider(&self, table: &dyn TableProvider) -> DfResult<Option<message::Provider>> {
        let mut writer = Writer::new(&self.plans);
        let kind = if let Some(arrays) = table.downcast_ref::<ArrayTable>() {
            provider::Kind::Arrays(writer.table(arrays)?)
        } else if let Some(records) = table.downcast_ref::<RecordTable>() {
            let source = writer.array(records.source())?;
            provider::Kind::Records(message::Records { name: records.name().into(), source })
        } else if let Some(reduced) = table.downcast_ref::<ReducedArray>() {
            let filters = reduced.filters().iter().map(|filter| self.expr(filter));
            provider::Kind::Reduced(message::Reduced {
                table: Some(writer.table(reduced.table())?),
                filters: filters.collect::<DfResult<_>>()?,
                reduction: Some(write::reduction(reduced.reduction(), |expr| self.expr(expr))?),
            })
        } else if let Some(memory) = table.downcast_ref::<MemTable>() {
            provider::Kind::Memory(rows_of(memory)?)
        } else if let Some(series) = table.downcast_ref::<GenerateSeriesTable>() {
            let rows = series.as_generator(BATCH_ROWS)?;
            let plan = Arc::new(LazyMemoryExec::try_new(series.schema(), vec![rows])?);
            let plan = PhysicalPlanNode::try_from_physical_plan(plan, &self.plans)?;
            provider::Kind::Generated(plan)
        } else if let Some(globbed) = table.downcast_ref::<GlobbedTable>() {
            let source = provider_as_source(Arc::clone(globbed.table()));
            let scan = LogicalPlanBuilder::scan("files", source, None)?.build()?;
            let scan = Some(LogicalPlanNode::try_from_logical_plan(&scan, self)?);
            provider::Kind::Globbed(message::Globbed { scan, globs: globbed.globs() })
        } else {
            return Ok(None);
        };
        Ok(Some(message::Provider { nodes: writer.into_nodes(), kind: Some(kind) }))
    }

    fn expr(&self, expr: &Expr) -> DfResult<Vec<u8>> {
        Ok(serialize_expr(expr, self)?.encode_to_vec())
    }

    fn table(&self, bytes: &[u8], context: &TaskContext) -> DfResult<Arc<dyn TableProvider>> {
        let invalid = |cause: prost::DecodeError| damaged().caused_by(cause);
        let provider = message::Provider::decode(bytes).map_err(invalid)?;
        let reader = Reader::try_new(&provider.nodes, &self.registry, context, &self.plans)?;
        let expr = |bytes: &[u8]| {
            let node = LogicalExprNode::decode(bytes).map_err(invalid)?;
            Ok(parse_expr(&node, context, self)?)
        };
        Ok(match needed(provider.kind)? {
            provider::Kind::Arrays(table) => Arc::new(reader.table(&table)?),
            provider::Kind::Records(records) => {
                Arc::new(RecordTable::try_new(records.name, reader.array(records.source)?)?)
            }
            provider::Kind::Reduced(reduced) => {
                let table = reader.table(&needed(reduced.table)?)?;
                let filters = reduced.filters.iter().map(|filter| expr(filter));
                let reduction = read::reduction(reduced.reduction.as_ref(), expr)?;
                let filters = filters.collect::<DfResult<_>>()?;
                Arc::new(ReducedArray::try_new(table, filters, reduction)?)
            }
            provider::Kind::Globbed(message::Globbed { scan, globs }) => {
                let scan = needed(scan)?.try_into_logical_plan(context, self)?;
                let LogicalPlan::TableScan(scan) = scan else { return Err(damaged().into()) };
                let table = source_as_provider(&scan.source)?;
                Arc::new(GlobbedTable::restored(table.as_ref(), &globs)?)
            }
            provider::Kind::Generated(plan) => {
                Arc::new(PlannedTable::new(plan.try_into_physical_plan(context, &self.plans)?))
            }
            provider::Kind::Memory(rows) => {
                let (schema, batches) = read::ipc_stream(&rows)?;
                Arc::new(MemTable::try_new(schema, vec![batches])?)
            }
        })
    }
}

/// The rows of a table in memory, which nobody writes to at the same time.
fn rows_of(table: &MemTable) -> DfResult<Vec<u8>> {
    let mut batches = vec![];
    for partition in &table.batches {
        let rows = partition.try_read();
        let rows = rows.map_err(|_| Error::unsupported("a table that is being written to"))?;
        batches.extend(rows.iter().cloned());
    }
    Ok(write::ipc_stream(&table.schema(), batches.iter())?)
}

impl LogicalExtensionCodec for LogicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[LogicalPlan],
        context: &TaskContext,
    ) -> DfResult<Extension> {
        match bytes.split_first() {
            Some((&OURS, bytes)) => {
                let [input] = inputs else { return Err(damaged().into()) };
                let parts = message::Parts::decode(bytes);
                let parts = parts.map_err(|cause| damaged().caused_by(cause))?;
                let node = Arc::new(WriteParts::try_new(input.clone(), parts.into())?);
                Ok(Extension { node })
            }
            Some((&OTHERS, bytes)) => self.others.try_decode(bytes, inputs, context),
            _ => Err(damaged().into()),
        }
    }

    fn try_encode(&self, node: &Extension, bytes: &mut Vec<u8>) -> DfResult<()> {
        let Some(parts) = node.node.as_any().downcast_ref::<WriteParts>() else {
            bytes.push(OTHERS);
            return self.others.try_encode(node, bytes);
        };
        bytes.push(OURS);
        let parts = message::Parts::from(parts.target());
        Ok(parts.encode(bytes).map_err(|cause| Error::bug("no room").caused_by(cause))?)
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        name: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> DfResult<Arc<dyn TableProvider>> {
        match bytes.split_first() {
            Some((&OURS, bytes)) => self.table(bytes, context),
            Some((&OTHERS, bytes)) => {
                self.others.try_decode_table_provider(bytes, name, schema, context)
            }
            _ => Err(damaged().into()),
        }
    }

    fn try_encode_table_provider(
        &self,
        name: &TableReference,
        table: Arc<dyn TableProvider>,
        bytes: &mut Vec<u8>,
    ) -> DfResult<()> {
        let Some(provider) = self.provider(table.as_ref())? else {
            bytes.push(OTHERS);
            return self.others.try_encode_table_provider(name, table, bytes);
        };
        bytes.push(OURS);
        Ok(provider.encode(bytes).map_err(|cause| Error::bug("no room").caused_by(cause))?)
    }

    fn try_decode_file_format(
        &self,
        bytes: &[u8],
        context: &TaskContext,
    ) -> DfResult<Arc<dyn FileFormatFactory>> {
        self.others.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(
        &self,
        bytes: &mut Vec<u8>,
        format: Arc<dyn FileFormatFactory>,
    ) -> DfResult<()> {
        self.others.try_encode_file_format(bytes, format)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> DfResult<Arc<ScalarUDF>> {
        self.others.try_decode_udf(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> DfResult<()> {
        self.others.try_encode_udf(function, bytes)
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> DfResult<Arc<HigherOrderUDF>> {
        self.others.try_decode_higher_order_function(name, bytes)
    }

    fn try_encode_higher_order_function(
        &self,
        function: &HigherOrderUDF,
        bytes: &mut Vec<u8>,
    ) -> DfResult<()> {
        self.others.try_encode_higher_order_function(function, bytes)
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> DfResult<Arc<AggregateUDF>> {
        self.others.try_decode_udaf(name, bytes)
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, bytes: &mut Vec<u8>) -> DfResult<()> {
        self.others.try_encode_udaf(function, bytes)
    }

    fn try_decode_udwf(&self, name: &str, bytes: &[u8]) -> DfResult<Arc<WindowUDF>> {
        self.others.try_decode_udwf(name, bytes)
    }

    fn try_encode_udwf(&self, function: &WindowUDF, bytes: &mut Vec<u8>) -> DfResult<()> {
        self.others.try_encode_udwf(function, bytes)
    }
}
