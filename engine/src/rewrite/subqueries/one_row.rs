//! The one value of a subquery, or an error if it has more rows.
//!
//! A scalar function, so that it is asked of outer rows that are there, and travels to executors by name.

use std::sync::{Arc, LazyLock};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::Error;

/// `almagest_one_row(value, rows)`: the value, if there is one row or none.
pub fn one_row() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(OneRow { signature: signature() })));
    Arc::clone(&FUNCTION)
}

fn signature() -> Signature {
    Signature::any(2, Volatility::Immutable)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OneRow {
    signature: Signature,
}

impl ScalarUDFImpl for OneRow {
    fn name(&self) -> &str {
        "almagest_one_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let value = types.first().cloned();
        value.ok_or_else(|| Error::bug("almagest_one_row without a value").into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let count = args.number_rows;
        let [value, rows] = args.args.as_slice() else {
            return Err(Error::bug("almagest_one_row takes two arguments").into());
        };
        let rows = rows.to_array(count)?;
        let Some(rows) = rows.as_primitive_opt::<Int64Type>() else {
            return Err(Error::bug("almagest_one_row counts in BIGINT").into());
        };
        if let Some(rows) = rows.iter().flatten().find(|rows| *rows > 1) {
            return Err(Error::data_invalid(format!(
                "a subquery that stands for one value returned more than one row ({rows}); take one \
                 with LIMIT 1, or an aggregate such as max"
            ))
            .into());
        }
        Ok(value.clone())
    }
}
