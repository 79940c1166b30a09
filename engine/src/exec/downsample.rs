//! Blocks of an array reduced to one element each.
//!
//! In: an array, the lengths of a block, an aggregate. Out: a smaller array; blocks at the end of an
//! axis may be partial. Not here: the aggregates themselves ([`super::BlockAggregate`]).

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, cast};

use super::BlockAggregate;
use super::reduce::GroupKey;
use crate::array::{
    ArrayFunction, ArrayMeta, ArraySource, Derived, Operand, Operands, Region, Window,
};
use crate::{Error, Result};

/// Elements of a block that is reduced in one piece.
const BLOCK_ELEMENTS_MAX: u64 = 16 << 20;

/// The array of `aggregate` over blocks of these lengths.
///
/// # Errors
/// `Plan` for an aggregate that does not take the elements, or blocks that are too large.
pub fn downsample(
    input: Arc<dyn ArraySource>,
    factors: &[u64],
    aggregate: &Arc<AggregateUDF>,
) -> Result<Arc<dyn ArraySource>> {
    let meta = input.meta().clone();
    let lengths = factors.iter().zip(&meta.shape).map(|(factor, length)| *factor.min(length));
    let elements = lengths.fold(1_u64, u64::saturating_mul);
    if factors.is_empty() || factors.len() != meta.shape.len() || elements > BLOCK_ELEMENTS_MAX {
        return Err(Error::plan(format!(
            "blocks of {factors:?} in an array of shape {:?}; give a length for each dimension, with \
             at most {BLOCK_ELEMENTS_MAX} elements in a block",
            meta.shape
        )));
    }
    let schema = Schema::new(vec![Field::new("value", meta.data_type.clone(), meta.nullable)]);
    let schema = Arc::new(schema);
    let aggregate = over_value(aggregate, &schema).map_err(|cause| {
        let (name, data_type) = (aggregate.name(), &meta.data_type);
        Error::plan(format!("{name} takes other arguments than elements of {data_type} alone"))
            .caused_by(cause)
    })?;
    let keys = factors.iter().enumerate();
    let keys = keys.map(|(axis, divisor)| GroupKey { axis, divisor: *divisor }).collect();
    let (operands, inputs) = Operands::new(schema, vec![Operand::Array(input)]);
    let blocks = BlockAggregate::new(Arc::new(aggregate), None, keys, operands, &meta);
    let function = Downsample { blocks, factors: factors.to_vec(), input_shape: meta.shape };
    Derived::try_new(Arc::new(function), inputs)
}

/// The aggregate of the only column, cast as the function wants it.
fn over_value(
    aggregate: &Arc<AggregateUDF>,
    schema: &Arc<Schema>,
) -> DfResult<AggregateFunctionExpr> {
    let wanted = fields_with_udf(&[Arc::clone(&schema.fields()[0])], aggregate.as_ref())?;
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("value", 0));
    let arguments = wanted
        .iter()
        .map(|field| cast(Arc::clone(&column), schema, field.data_type().clone()))
        .collect::<DfResult<Vec<_>>>()?;
    AggregateExprBuilder::new(Arc::clone(aggregate), arguments)
        .schema(Arc::clone(schema))
        .alias(aggregate.name())
        .build()
}

#[derive(Debug)]
struct Downsample {
    blocks: BlockAggregate,
    factors: Vec<u64>,
    input_shape: Vec<u64>,
}

impl Downsample {
    /// The blocks of which a region is made.
    fn blocks_of(&self, region: &Region) -> Region {
        let ranges = self.factors.iter().zip(&self.input_shape).enumerate();
        let ranges = ranges.map(|(axis, (factor, length))| {
            let range = region.range(axis);
            range.start * factor..range.end.saturating_mul(*factor).min(*length)
        });
        Region::from_ranges(&ranges.collect::<Vec<_>>())
    }
}

impl fmt::Display for Downsample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.blocks, self.factors)
    }
}

impl ArrayFunction for Downsample {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        let like = self.blocks.output(inputs)?;
        let shape = self.cut_shape_over(like.shape.clone());
        Ok(ArrayMeta { shape, chunk_shape: self.cut_shape_over(like.chunk_shape.clone()), ..like })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(&self.blocks_of(region))
    }

    fn cut_shape_over(&self, cut_shape: Vec<u64>) -> Vec<u64> {
        cut_shape.iter().zip(&self.factors).map(|(all, one)| all.div_ceil(*one)).collect()
    }

    fn compute(&self, region: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        self.blocks.of_each_block(&self.blocks_of(region), inputs)
    }
}
