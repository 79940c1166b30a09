//! The aggregates that have loops of their own, over boxes and over blocks.
//!
//! In: an aggregate function of a plan. Out: which it is, whoever gave it its name. Not here: for
//! which types there are loops, and what is made of an aggregate.

use datafusion::functions_aggregate as functions;
use datafusion::logical_expr::AggregateUDF;

use super::TotalOrder;

/// An aggregate of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownAggregate {
    /// `count`.
    Count,
    /// `sum`.
    Sum,
    /// `avg`.
    Mean,
    /// `min` or `max`.
    Extreme {
        /// Whether it is `max`.
        maximum: bool,
    },
    /// `var`, `var_pop`, `stddev` or `stddev_pop`.
    Variance {
        /// What the divisor is less than the count.
        ddof: u64,
        /// Whether the root is taken.
        root: bool,
    },
    /// `bool_and`.
    All,
    /// `bool_or`.
    Any,
}

impl KnownAggregate {
    /// Which one a function is, if it is one of these.
    pub fn of(function: &AggregateUDF) -> Option<Self> {
        let function = function.inner().as_ref();
        macro_rules! is {
            ($type:path) => {
                function.is::<$type>()
            };
        }
        Some(if let Some(extreme) = function.downcast_ref::<TotalOrder>() {
            Self::Extreme { maximum: extreme.is_maximum() }
        } else if is!(functions::min_max::Min) {
            Self::Extreme { maximum: false }
        } else if is!(functions::min_max::Max) {
            Self::Extreme { maximum: true }
        } else if is!(functions::count::Count) {
            Self::Count
        } else if is!(functions::sum::Sum) {
            Self::Sum
        } else if is!(functions::average::Avg) {
            Self::Mean
        } else if is!(functions::variance::VarianceSample) {
            Self::Variance { ddof: 1, root: false }
        } else if is!(functions::variance::VariancePopulation) {
            Self::Variance { ddof: 0, root: false }
        } else if is!(functions::stddev::Stddev) {
            Self::Variance { ddof: 1, root: true }
        } else if is!(functions::stddev::StddevPop) {
            Self::Variance { ddof: 0, root: true }
        } else if is!(functions::bool_and_or::BoolAnd) {
            Self::All
        } else if is!(functions::bool_and_or::BoolOr) {
            Self::Any
        } else {
            return None;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::extreme_function;
    use super::*;

    #[test]
    fn aggregates_are_known_by_what_they_do() {
        let known = |function: &AggregateUDF| KnownAggregate::of(function);
        assert_eq!(known(&functions::count::count_udaf()), Some(KnownAggregate::Count));
        assert_eq!(known(&functions::average::avg_udaf()), Some(KnownAggregate::Mean));
        let deviation = Some(KnownAggregate::Variance { ddof: 0, root: true });
        assert_eq!(known(&functions::stddev::stddev_pop_udaf()), deviation);
        for maximum in [false, true] {
            let extreme = Some(KnownAggregate::Extreme { maximum });
            assert_eq!(known(&extreme_function(maximum)), extreme);
        }
        assert_eq!(known(&functions::median::median_udaf()), None);
    }
}
