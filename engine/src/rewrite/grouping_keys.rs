//! Keys of GROUPING SETS, ROLLUP and CUBE are taken for neither constant nor ordered.
//!
//! Stage: optimizer, last. DataFusion's aggregate says of its rows what its input says of the keys: that one
//! is a constant (a literal, or `WHERE key = 5`), or that they come in order. But a key that a set leaves
//! out is NULL in its rows. The aggregate above, on several threads, then takes the constant for an order
//! and ends groups early, so that they come several times, and a sort by the key is left out
//! (<https://github.com/apache/datafusion/issues/11291> mended one of two places).
//! In: an aggregate over sets of keys. Out: the same over columns that are calls of a function, of which
//! nothing is known. It can go when `tests/spec/sql/grouping_sets.slt` holds without it.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, GroupingSet, LogicalPlan, Projection, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::prelude::col;
use datafusion::scalar::ScalarValue;

use crate::Error;

/// How the columns begin that hold keys.
const PREFIX: &str = "__grouping_key_";

/// The rule.
#[derive(Debug)]
pub struct GroupingKeys;

impl OptimizerRule for GroupingKeys {
    fn name(&self) -> &str {
        "grouping_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.as_slice() {
                [Expr::GroupingSet(sets)] if !is_done(sets) => {
                    Ok(Transformed::yes(of_opaque_keys(aggregate)?))
                }
                _ => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            },
            other => Ok(Transformed::no(other)),
        }
    }
}

fn is_done(sets: &GroupingSet) -> bool {
    let done = |key: &&Expr| match key {
        Expr::Column(column) => column.name.starts_with(PREFIX),
        _ => false,
    };
    sets.distinct_expr().iter().all(done)
}

fn of_opaque_keys(aggregate: Aggregate) -> DfResult<LogicalPlan> {
    let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() else {
        return Ok(LogicalPlan::Aggregate(aggregate));
    };
    let keys: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
    let column = |key: &Expr| {
        let at = keys.iter().position(|known| known == key);
        at.map(|at| col(format!("{PREFIX}{at}")))
            .ok_or_else(|| Error::bug("a key of a grouping set is not among its keys"))
    };
    let all = |keys: &[Expr]| keys.iter().map(column).collect::<Result<Vec<_>, _>>();
    let replaced = match sets {
        GroupingSet::Rollup(keys) => GroupingSet::Rollup(all(keys)?),
        GroupingSet::Cube(keys) => GroupingSet::Cube(all(keys)?),
        GroupingSet::GroupingSets(sets) => GroupingSet::GroupingSets(
            sets.iter().map(|keys| all(keys)).collect::<Result<Vec<_>, _>>()?,
        ),
    };
    let input = aggregate.input.schema().columns().into_iter().map(Expr::Column);
    let opaque = keys.iter().enumerate().map(|(at, key)| {
        let args = vec![key.clone(), ALWAYS.call(vec![])];
        KEY.call(args).alias(format!("{PREFIX}{at}"))
    });
    let input = Projection::try_new(input.chain(opaque).collect(), aggregate.input)?;
    let input = Arc::new(LogicalPlan::Projection(input));
    let group = vec![Expr::GroupingSet(replaced)];
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(input, group, aggregate.aggr_expr)?);
    let named = plan.schema().columns().into_iter().zip(aggregate.schema.iter());
    let named = named.map(|(from, (qualifier, field))| {
        let (relation, name) = (qualifier.cloned(), field.name());
        if from.relation == relation && &from.name == name {
            return Expr::Column(from);
        }
        Expr::Column(from).alias_qualified(relation, name)
    });
    Ok(LogicalPlan::Projection(Projection::try_new(named.collect(), Arc::new(plan))?))
}

static KEY: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Key { signature: Signature::any(2, STABLE) })));
static ALWAYS: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Always { signature: Signature::nullary(VOLATILE) })));

const STABLE: Volatility = Volatility::Immutable;
/// So that it is not computed when the query is planned.
const VOLATILE: Volatility = Volatility::Volatile;

/// The functions of the rule.
pub fn functions() -> [ScalarUDF; 2] {
    [KEY.as_ref().clone(), ALWAYS.as_ref().clone()]
}

/// `almagest_key(value, almagest_always())`: the value.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    signature: Signature,
}

impl ScalarUDFImpl for Key {
    fn name(&self) -> &str {
        "almagest_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        types.first().cloned().ok_or_else(|| Error::bug("almagest_key without a value").into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let value = args.args.into_iter().next();
        value.ok_or_else(|| Error::bug("almagest_key without a value").into())
    }
}

/// `almagest_always()`: true. As it has no arguments and may change, nobody knows that it is a constant.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Always {
    signature: Signature,
}

impl ScalarUDFImpl for Always {
    fn name(&self) -> &str {
        "almagest_always"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}
