//! SQL functions that DataFusion lacks: one file a function, one line in the list below.

mod catalog;

use datafusion::logical_expr::ScalarUDF;

/// Every scalar function.
pub fn scalar_functions() -> Vec<ScalarUDF> {
    vec![catalog::cut::udf()]
}
