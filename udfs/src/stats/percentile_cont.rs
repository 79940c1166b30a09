//! `percentile_cont(fraction) WITHIN GROUP (ORDER BY value)`: exact, interpolated as by NumPy.
//!
//! DataFusion's rounds the weight of the interpolation to six digits; ours does not. Its rules for
//! types and syntax are kept.

use std::sync::{Arc, LazyLock};

use almagest_engine::Error;
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
};

use super::collect::{CollectGroups, Statistic, one_group, state_fields};
use crate::kernels::order_statistics::{Real, percentile, percentile_distinct};
use crate::{constant, documentation};

/// The function.
pub fn udaf() -> AggregateUDF {
    AggregateUDF::from(PercentileCont { inner: percentile_cont_udaf() })
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::statistics(
        "The exact value below which a share of the values lies, interpolated between its two \
         neighbours as numpy.percentile does it. All values of a group are held in memory; \
         approx_percentile_cont needs little. NULLs are left out; NULL for no value. NaN counts as \
         greater than every number, as in PostgreSQL.",
        "percentile_cont(fraction) WITHIN GROUP (ORDER BY value [DESC])",
        "SELECT percentile_cont(0.4) WITHIN GROUP (ORDER BY v) AS p40 FROM (VALUES (15), (20), \
         (35), (40), (50)) AS t(v);",
        "+------+\n\
         | p40  |\n\
         +------+\n\
         | 29.0 |\n\
         +------+",
    )
    .with_argument("fraction", "A constant from 0 to 1.")
    .with_argument("value", "A number. REAL keeps its type; all others give DOUBLE.")
    .with_alternative_syntax("percentile_cont(value, fraction)")
    .with_related_udf("median")
    .with_related_udf("approx_percentile_cont")
    .build()
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct PercentileCont {
    inner: Arc<AggregateUDF>,
}

fn statistic<T: Real>(call: &AccumulatorArgs) -> almagest_engine::Result<Statistic<T>> {
    let fraction = match constant::of_aggregate(call, 1, "the fraction of percentile_cont")? {
        Some(ScalarValue::Float64(Some(fraction))) if (0.0..=1.0).contains(&fraction) => fraction,
        Some(other) => {
            return Err(Error::plan(format!(
                "the fraction of percentile_cont must be from 0 to 1, not {other}"
            )));
        }
        None => return Err(Error::bug("percentile_cont without a fraction")),
    };
    let descending = call.order_bys.first().is_some_and(|order| order.options.descending);
    let of = if call.is_distinct { percentile_distinct } else { percentile };
    Ok(Arc::new(move |parts: &[&[T]]| of(parts, fraction, descending)))
}

/// Whether a call is ours rather than DataFusion's.
fn is_ours(value_type: &DataType) -> bool {
    matches!(value_type, DataType::Float64 | DataType::Float32)
}

fn accumulator(call: &AccumulatorArgs, sliding: bool) -> Result<Option<Box<dyn Accumulator>>> {
    if !is_ours(call.expr_fields[0].data_type()) {
        return Ok(None);
    }
    Ok(Some(match call.expr_fields[0].data_type() {
        DataType::Float32 => one_group::<Float32Type>(statistic(call)?, sliding),
        _ => one_group::<Float64Type>(statistic(call)?, sliding),
    }))
}

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value_type = call.input_fields[0].data_type();
        if is_ours(value_type) {
            return Ok(state_fields(&call, value_type.clone()));
        }
        self.inner.state_fields(call)
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match accumulator(&call, false)? {
            Some(ours) => Ok(ours),
            None => self.inner.accumulator(call),
        }
    }

    fn create_sliding_accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match accumulator(&call, true)? {
            Some(ours) => Ok(ours),
            None => self.inner.create_sliding_accumulator(call),
        }
    }

    fn groups_accumulator_supported(&self, call: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(call)
    }

    fn create_groups_accumulator(
        &self,
        call: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if !is_ours(call.expr_fields[0].data_type()) {
            return self.inner.create_groups_accumulator(call);
        }
        Ok(match call.expr_fields[0].data_type() {
            DataType::Float32 => Box::new(CollectGroups::<Float32Type>::new(statistic(&call)?)),
            _ => Box::new(CollectGroups::<Float64Type>::new(statistic(&call)?)),
        })
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
