//! An aggregate function that is one statistic of all values of a group, in double precision.
//!
//! A function's own file gives name, parameters, description and the statistic; this is the rest of
//! what DataFusion asks for.

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use almagest_engine::Error;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
    Volatility,
};

use super::collect::{CollectGroups, Statistic, one_group, state_fields};

/// The statistic that a call asks for, from its constant arguments.
pub type StatisticOf = fn(&AccumulatorArgs) -> almagest_engine::Result<Statistic<f64>>;

/// See the module.
#[derive(Debug)]
pub struct StatisticFunction {
    name: &'static str,
    signature: Signature,
    /// Names and types of the parameters after the value; all may be left out, from the last on.
    options: &'static [(&'static str, DataType)],
    statistic: StatisticOf,
    documentation: &'static LazyLock<Documentation>,
}

impl StatisticFunction {
    /// The function `name(value, …options)`.
    ///
    /// # Errors
    /// `Bug` if two options have one name.
    pub fn udaf(
        name: &'static str,
        options: &'static [(&'static str, DataType)],
        statistic: StatisticOf,
        documentation: &'static LazyLock<Documentation>,
    ) -> Result<AggregateUDF> {
        let names = std::iter::once("value").chain(options.iter().map(|(name, _)| *name));
        let signature =
            Signature::user_defined(Volatility::Immutable).with_parameter_names(names.collect())?;
        Ok(AggregateUDF::from(Self { name, signature, options, statistic, documentation }))
    }

    fn check(&self, call: &AccumulatorArgs) -> Result<()> {
        if call.is_distinct {
            return Err(Error::unsupported(format!(
                "{} does not take DISTINCT; use SELECT DISTINCT in a subquery",
                self.name
            ))
            .into());
        }
        Ok(())
    }
}

impl PartialEq for StatisticFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for StatisticFunction {}

impl Hash for StatisticFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for StatisticFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.is_empty() || arguments.len() > self.options.len() + 1 {
            return Err(Error::plan(format!(
                "{} takes 1 to {} arguments, not {}",
                self.name,
                self.options.len() + 1,
                arguments.len()
            ))
            .into());
        }
        if let Some(other) = arguments.iter().find(|t| !t.is_numeric() && !t.is_null()) {
            return Err(Error::plan(format!(
                "{} takes numbers, not {other}; cast it first",
                self.name
            ))
            .into());
        }
        let options = self.options.iter().map(|(_, data_type)| data_type);
        let types = std::iter::once(&DataType::Float64).chain(options);
        Ok(types.take(arguments.len()).cloned().collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&call, DataType::Float64))
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.check(&call)?;
        Ok(one_group::<Float64Type>((self.statistic)(&call)?, false))
    }

    fn create_sliding_accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.check(&call)?;
        Ok(one_group::<Float64Type>((self.statistic)(&call)?, true))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        call: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.check(&call)?;
        Ok(Box::new(CollectGroups::<Float64Type>::new((self.statistic)(&call)?)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.documentation)
    }
}
