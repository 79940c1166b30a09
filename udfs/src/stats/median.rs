//! `median(value)`: exact, as DataFusion's, whose other half this file keeps.
//!
//! DataFusion's keeps a growing vector for each group and copies each value about five times on its
//! way through the partial and the final step, most of it into fresh memory. Here `f64` and `f32` go
//! through [`super::collect`], which copies once. Everything else (decimals, DISTINCT, the rules for types) is DataFusion's own.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion::error::Result;
use datafusion::functions_aggregate::median::median_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
};

use super::collect::{CollectGroups, one_group, state_fields};
use crate::documentation;
use crate::kernels::order_statistics::median;

/// The function.
pub fn udaf() -> AggregateUDF {
    AggregateUDF::from(Median { inner: median_udaf() })
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::statistics(
        "The exact median: the middle value, or the mean of the two in the middle. All values of a \
         group are held in memory; approx_median needs little. NULLs are left out; NULL for no \
         value. NaN counts as greater than every number, as in PostgreSQL.",
        "median(value)",
        "SELECT median(v) AS middle FROM (VALUES (4), (1), (NULL), (2), (10)) AS t(v);",
        "+--------+\n\
         | middle |\n\
         +--------+\n\
         | 3.0    |\n\
         +--------+",
    )
    .with_argument("value", "A number. REAL and DECIMAL keep their type; integers give DOUBLE.")
    .with_related_udf("percentile_cont")
    .with_related_udf("approx_median")
    .build()
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct Median {
    inner: Arc<AggregateUDF>,
}

/// Whether a call is ours rather than DataFusion's.
fn is_ours(value_type: &DataType, is_distinct: bool) -> bool {
    matches!(value_type, DataType::Float64 | DataType::Float32) && !is_distinct
}

impl AggregateUDFImpl for Median {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value_type = call.input_fields[0].data_type();
        if is_ours(value_type, call.is_distinct) {
            return Ok(state_fields(&call, value_type.clone()));
        }
        self.inner.state_fields(call)
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match call.expr_fields[0].data_type() {
            DataType::Float64 if !call.is_distinct => {
                Ok(one_group::<Float64Type>(Arc::new(median), false))
            }
            DataType::Float32 if !call.is_distinct => {
                Ok(one_group::<Float32Type>(Arc::new(median), false))
            }
            _ => self.inner.accumulator(call),
        }
    }

    fn create_sliding_accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(call)
    }

    fn groups_accumulator_supported(&self, call: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(call)
    }

    fn create_groups_accumulator(
        &self,
        call: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match call.expr_fields[0].data_type() {
            DataType::Float64 if !call.is_distinct => {
                Ok(Box::new(CollectGroups::<Float64Type>::new(Arc::new(median))))
            }
            DataType::Float32 if !call.is_distinct => {
                Ok(Box::new(CollectGroups::<Float32Type>::new(Arc::new(median))))
            }
            _ => self.inner.create_groups_accumulator(call),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
