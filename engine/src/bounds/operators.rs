//! Operators and constants as functions, which count what they would make.
//!
//! `a || b` doubles a text for each level of a query, and a long constant in a SELECT is copied for each row of a
//! batch. Nobody calls these functions by name: [`super::in_plans`] puts them in the place of what they stand for.
//! Columns keep their names.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

use super::folding::folds;
use super::limit::ValueLimit;
use super::rules::rows_of;
use super::sizes::{all_bytes, scalar_bytes};
use crate::Error;

/// What the function for `||` is called.
pub const JOINED: &str = "||";
/// What the function for a long constant is called.
pub const CONSTANT: &str = "long constant";

/// Bytes of a constant that is computed while a query is planned.
const FOLDED_BYTES_MAX: u64 = 1 << 20;

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
    let joined = JoinedTexts { signature: Signature::any(2, Volatility::Immutable) };
    let constant = LongConstant { signature: Signature::any(1, Volatility::Immutable) };
    [Arc::new(ScalarUDF::from(joined)), Arc::new(ScalarUDF::from(constant))]
});

/// Whether a function of this name stands for an operator, and is not to be called.
pub fn is_operator(name: &str) -> bool {
    [JOINED, CONSTANT].contains(&name)
}

/// All of them.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS.to_vec()
}

/// `left || right` as a function.
pub fn joined_texts(left: Expr, right: Expr) -> Expr {
    FUNCTIONS[0].call(vec![left, right])
}

/// A constant as a function that copies it for each row.
pub fn long_constant(constant: Expr) -> Expr {
    FUNCTIONS[1].call(vec![constant])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinedTexts {
    signature: Signature,
}

fn refusal(what: &str, bytes: u64, rows: usize, bytes_max: u64) -> Error {
    Error::exhausted(format!(
        "{what} would make {bytes} bytes for {rows} rows at once, and at most {bytes_max} are made: make shorter \
         values, or fewer rows at once (SET datafusion.execution.batch_size), or let the memory limit be larger, \
         up to a gigabyte for one batch"
    ))
}

impl ScalarUDFImpl for JoinedTexts {
    fn name(&self) -> &str {
        JOINED
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(names.join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let [left, right] = types else { return Err(Error::bug("|| takes two texts").into()) };
        BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_result_type()
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(JOINED, self.return_type(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = rows_of(&args);
        let bytes_max = ValueLimit::of(&args.config_options);
        let bytes_max = if folds() { bytes_max.min(FOLDED_BYTES_MAX) } else { bytes_max };
        let bytes = args.args.iter().map(|arg| all_bytes(arg, rows));
        let bytes = bytes.fold(0, u64::saturating_add);
        if bytes > bytes_max {
            return Err(refusal(JOINED, bytes, rows, bytes_max).into());
        }
        joined(args, rows)
    }
}

/// DataFusion's own operator on the arguments.
fn joined(args: ScalarFunctionArgs, rows: usize) -> DfResult<ColumnarValue> {
    let (mut fields, mut columns) = (vec![], vec![]);
    let operands = args.args.into_iter().map(|arg| -> Arc<dyn PhysicalExpr> {
        match arg {
            ColumnarValue::Scalar(value) => Arc::new(Literal::new(value)),
            ColumnarValue::Array(array) => {
                let name = fields.len().to_string();
                fields.push(Field::new(&name, array.data_type().clone(), true));
                columns.push(array);
                Arc::new(Column::new(&name, fields.len() - 1))
            }
        }
    });
    let operands: Vec<Arc<dyn PhysicalExpr>> = operands.collect();
    let [left, right] =
        <[_; 2]>::try_from(operands).map_err(|_| Error::bug("|| takes two texts"))?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch =
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    BinaryExpr::new(left, Operator::StringConcat, right).evaluate(&batch)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LongConstant {
    signature: Signature,
}

impl ScalarUDFImpl for LongConstant {
    fn name(&self) -> &str {
        CONSTANT
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let data_type = types.first().cloned();
        Ok(data_type.ok_or_else(|| Error::bug("a long constant is none"))?)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let field = args.arg_fields.first();
        Ok(Arc::clone(field.ok_or_else(|| Error::bug("a long constant is none"))?))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        if folds() {
            return Err(Error::unsupported("a long constant stays in its function").into());
        }
        let (rows, value) = (args.number_rows, args.args.pop());
        let value = value.ok_or_else(|| Error::bug("a long constant is none"))?;
        if let ColumnarValue::Scalar(constant) = &value {
            let bytes = scalar_bytes(constant).saturating_mul(rows as u64);
            let bytes_max = ValueLimit::of(&args.config_options);
            if bytes > bytes_max {
                return Err(refusal("a constant", bytes, rows, bytes_max).into());
            }
        }
        Ok(value)
    }
}
