//! `min` and `max` whose result does not depend on the order in which values come.
//!
//! DataFusion's, under GROUP BY, keep a NaN or lose it as the rows happen to be ordered, so that the
//! answer changes with threads and chunks. Here floats are compared in their total order, in which NaN
//! is greater than any number: `min` passes over NaN and `max` gives it, as DataFusion's do without
//! GROUP BY. Everything else is left to DataFusion's.

use std::sync::Arc;

use arrow::datatypes::{ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// `min` or `max`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TotalOrder {
    inner: Arc<AggregateUDF>,
    maximum: bool,
}

impl TotalOrder {
    /// Whether it is `max`.
    pub fn is_maximum(&self) -> bool {
        self.maximum
    }
}

/// `max` if `maximum`, else `min`.
pub fn extreme_function(maximum: bool) -> AggregateUDF {
    let inner = if maximum { max_udaf() } else { min_udaf() };
    AggregateUDF::from(TotalOrder { inner, maximum })
}

fn groups<T>(data_type: &DataType, maximum: bool) -> Box<dyn GroupsAccumulator>
where
    T: ArrowPrimitiveType + Send,
    T::Native: ArrowNativeTypeOp,
{
    // Each starts at the far end of the order, so that the first value seen takes its place.
    if maximum {
        let keep = |kept: &mut T::Native, value: T::Native| {
            if value.is_gt(*kept) {
                *kept = value;
            }
        };
        let start = T::Native::MIN_TOTAL_ORDER;
        Box::new(
            PrimitiveGroupsAccumulator::<T, _>::new(data_type, keep).with_starting_value(start),
        )
    } else {
        let keep = |kept: &mut T::Native, value: T::Native| {
            if value.is_lt(*kept) {
                *kept = value;
            }
        };
        let start = T::Native::MAX_TOTAL_ORDER;
        Box::new(
            PrimitiveGroupsAccumulator::<T, _>::new(data_type, keep).with_starting_value(start),
        )
    }
}

impl AggregateUDFImpl for TotalOrder {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> DfResult<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Float32 => Ok(groups::<Float32Type>(&DataType::Float32, self.maximum)),
            DataType::Float64 => Ok(groups::<Float64Type>(&DataType::Float64, self.maximum)),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.inner().is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        if args.return_type.is_floating() {
            return None; // files leave NaN out of their statistics
        }
        self.inner.inner().value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}
