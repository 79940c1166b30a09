//! Operators of ours in physical plans.

use std::str::FromStr;
use std::sync::Arc;

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, PhysicalExtensionCodec, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{PhysicalExprNode, PhysicalPlanNode};
use prost::Message;

use super::messages::{self as message, operand, operator};
use super::read::{self, Reader, damaged, needed, usizes};
use super::write::{self, Writer, numbers};
use crate::Error;
use crate::array::{Grid, Region};
use crate::exec::{
    ArrayColumn, ArrayExec, ArrayScan, Inputs, Output, PiecesExec, Predicate, compression_of,
    pruning_of,
};
use crate::registry::Registry;
use crate::write::PartsExec;

/// Writes and reads operators of ours, and no others.
#[derive(Clone, Debug)]
pub struct PhysicalCodec {
    registry: Registry,
}

impl PhysicalCodec {
    /// The codec for the formats and functions of `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    fn message(&self, scan: &ArrayScan) -> DfResult<message::Scan> {
        let mut writer = Writer::new(self);
        let columns = scan.columns.iter().map(|column| {
            Ok(match column {
                ArrayColumn::Dimension(axis) => write::dimension(*axis),
                ArrayColumn::Variable(array) => {
                    message::Operand { kind: Some(operand::Kind::Array(writer.array(array)?)) }
                }
            })
        });
        let columns = columns.collect::<DfResult<_>>()?;
        let inputs = |inputs: &Inputs| -> DfResult<message::Inputs> {
            Ok(message::Inputs {
                columns: numbers(&inputs.columns),
                schema: Some(write::schema(&inputs.schema)?),
            })
        };
        let predicate = |predicate: &Option<Predicate>| -> DfResult<_> {
            let Some(Predicate { expr, inputs: read }) = predicate else { return Ok(None) };
            Ok(Some(message::Predicate {
                expr: Some(writer.expr(expr)?),
                inputs: Some(inputs(read)?),
            }))
        };
        let (rows, states) = match &scan.output {
            Output::Rows(columns) => (numbers(columns), None),
            Output::States(reduction, read) => {
                let expr = |expr: &Arc<dyn PhysicalExpr>| Ok(writer.expr(expr)?.encode_to_vec());
                let reduction = Some(write::reduction(reduction, expr)?);
                (vec![], Some(message::States { reduction, inputs: Some(inputs(read)?) }))
            }
        };
        Ok(message::Scan {
            name: scan.name.clone(),
            start: scan.region.start().to_vec(),
            region_shape: scan.region.shape().to_vec(),
            array_shape: scan.grid.array_shape().to_vec(),
            chunk_shape: scan.grid.chunk_shape().to_vec(),
            columns,
            dims: scan.dims.clone(),
            dimension_filter: predicate(&scan.dimension_filter)?,
            value_filter: predicate(&scan.value_filter)?,
            schema: Some(write::schema(&scan.schema)?),
            fetch: scan.fetch.map(|rows| rows as u64),
            rows,
            states,
            nodes: writer.into_nodes(),
        })
    }

    fn pieces(&self, exec: &PiecesExec) -> DfResult<message::Pieces> {
        let leaf = Arc::clone(exec.leaf());
        let compression = compression_of(leaf.as_ref());
        Ok(message::Pieces {
            leaf: Some(PhysicalPlanNode::try_from_physical_plan(leaf, self)?),
            compression: compression
                .map_or_else(String::new, |compression| compression.get_variant().to_string()),
        })
    }

    fn leaf(
        &self,
        pieces: &message::Pieces,
        context: &TaskContext,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let leaf = needed(pieces.leaf.as_ref())?.try_into_physical_plan(context, self)?;
        if pieces.compression.is_empty() {
            return Ok(leaf);
        }
        let scan = needed(leaf.downcast_ref::<DataSourceExec>())?;
        let files = needed(scan.data_source().downcast_ref::<FileScanConfig>())?.clone();
        let files = FileScanConfigBuilder::from(files)
            .with_file_compression_type(FileCompressionType::from_str(&pieces.compression)?);
        Ok(DataSourceExec::from_data_source(files.build()))
    }

    fn scan(&self, scan: message::Scan, context: &TaskContext) -> DfResult<ArrayScan> {
        let invalid = |cause: prost::DecodeError| damaged().caused_by(cause);
        let reader = Reader::try_new(&scan.nodes, &self.registry, context, self)?;
        let axes = scan.array_shape.len();
        let lengths = [&scan.start, &scan.region_shape, &scan.chunk_shape].map(Vec::len);
        if lengths != [axes; 3] || scan.dims.len() != axes {
            return Err(damaged().into());
        }
        let columns = scan.columns.iter().map(|column| {
            Ok(match needed(column.kind.as_ref())? {
                operand::Kind::Dimension(axis) if (*axis as usize) < axes => {
                    ArrayColumn::Dimension(*axis as usize)
                }
                operand::Kind::Dimension(_) => return Err(damaged().into()),
                operand::Kind::Array(array) => ArrayColumn::Variable(reader.array(*array)?),
            })
        });
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        let known =
            |chosen: &[u32]| match chosen.iter().all(|place| (*place as usize) < columns.len()) {
                true => Ok(usizes(chosen)),
                false => Err(damaged()),
            };
        let inputs = |inputs: Option<&message::Inputs>| -> DfResult<Inputs> {
            let inputs = needed(inputs)?;
            Ok(Inputs {
                columns: known(&inputs.columns)?,
                schema: read::schema(inputs.schema.as_ref())?,
            })
        };
        let predicate = |predicate: Option<&message::Predicate>| -> DfResult<_> {
            let Some(predicate) = predicate else { return Ok(None) };
            let inputs = inputs(predicate.inputs.as_ref())?;
            let expr = reader.expr(needed(predicate.expr.as_ref())?, &inputs.schema)?;
            Ok(Some(Predicate { expr, inputs }))
        };
        let output = match &scan.states {
            None => Output::Rows(known(&scan.rows)?),
            Some(states) => {
                let inputs = inputs(states.inputs.as_ref())?;
                let expr = |bytes: &[u8]| {
                    let node = PhysicalExprNode::decode(bytes).map_err(invalid)?;
                    reader.expr(&node, &inputs.schema)
                };
                Output::States(read::reduction(states.reduction.as_ref(), expr)?, inputs)
            }
        };
        let dimension_filter = predicate(scan.dimension_filter.as_ref())?;
        let value_filter = predicate(scan.value_filter.as_ref())?;
        Ok(ArrayScan {
            region: Region::new(scan.start, scan.region_shape),
            grid: Grid::new(&scan.array_shape, &scan.chunk_shape),
            pruning: dimension_filter.as_ref().and_then(pruning_of),
            dimension_filter,
            value_filter,
            output,
            schema: read::schema(scan.schema.as_ref())?,
            fetch: scan.fetch.map(|rows| rows as usize),
            name: scan.name,
            dims: scan.dims,
            columns,
        })
    }
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return Err(damaged().into()) };
        let operator = message::Operator::decode(bytes);
        let operator = operator.map_err(|cause| damaged().caused_by(cause))?;
        Ok(match needed(operator.kind)? {
            operator::Kind::Scan(scan) => {
                let scan = Arc::new(self.scan(scan, context)?);
                Arc::new(ArrayExec::new(scan, Arc::clone(input)))
            }
            operator::Kind::Pieces(pieces) => {
                let leaf = self.leaf(&pieces, context)?;
                Arc::new(PiecesExec::new(leaf, Arc::clone(input)))
            }
            operator::Kind::Parts(parts) => {
                Arc::new(PartsExec::new(parts.into(), Arc::clone(input)))
            }
        })
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<()> {
        let kind = if let Some(exec) = node.downcast_ref::<ArrayExec>() {
            operator::Kind::Scan(self.message(exec.scan())?)
        } else if let Some(exec) = node.downcast_ref::<PiecesExec>() {
            operator::Kind::Pieces(self.pieces(exec)?)
        } else if let Some(exec) = node.downcast_ref::<PartsExec>() {
            operator::Kind::Parts(exec.target().into())
        } else {
            let name = node.name();
            let message = format!("the operator {name} cannot be sent to other processes");
            return Err(Error::unsupported(message).into());
        };
        let operator = message::Operator { kind: Some(kind) };
        Ok(operator.encode(bytes).map_err(|cause| Error::bug("no room").caused_by(cause))?)
    }
}
