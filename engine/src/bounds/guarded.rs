//! A function of DataFusion's that counts what it would make before it makes it.
//!
//! In: the function. Out: one of the same name, signature and results, which works through a batch in pieces where
//! it might make more than the limit, and refuses what is more for certain.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, StructFieldMapping,
};
use datafusion::{functions, functions_nested};

use super::folding::folds;
use super::limit::ValueLimit;
use super::operators;
use super::rules::{Size, rows_of, size};
use super::sizes::array_bytes;
use crate::Error;
use crate::walk::Walk;

/// Bytes of a constant that is computed while a query is planned.
const FOLDED_BYTES_MAX: u64 = 1 << 20;
/// Pairs of characters that are compared at once: some seconds, in which nothing else can be done.
const PAIRS_MAX: u64 = 1 << 31;
/// The same while a query is planned.
const FOLDED_PAIRS_MAX: u64 = 1 << 24;
/// Bytes of a value of the widest type that a query may name.
const TYPE_BYTES_MAX: u64 = 64 << 20;

/// Functions that others recognise by their type, or that simplifying replaces; they copy no text or list.
const LEFT_ALONE: [&str; 4] = ["get_field", "named_struct", "struct", "power"];

/// Every scalar function of DataFusion, guarded where it may make much, and operators as functions.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let all = SessionStateDefaults::default_scalar_functions().into_iter();
    let all = all.map(|function| guarded(&function).unwrap_or(function));
    all.chain(operators::functions()).collect()
}

/// The guarded form of a function, if it is one of those of DataFusion that have one.
pub fn guarded(function: &ScalarUDF) -> Option<Arc<ScalarUDF>> {
    let found = GUARDED.get(function.name())?;
    let own = found.inner().downcast_ref::<Guarded>()?;
    (own.inner.as_ref() == function).then(|| Arc::clone(found))
}

static GUARDED: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut all = functions::string::functions();
    all.extend(functions::unicode::functions());
    all.extend(functions::regex::functions());
    all.extend(functions::encoding::functions());
    all.extend(functions::crypto::functions());
    all.extend(functions_nested::all_default_nested_functions());
    all.extend([functions::core::overlay(), functions::datetime::to_char()]);
    all.extend([functions::core::greatest(), functions::core::least()]);
    all.extend([functions::core::arrow_cast(), functions::core::arrow_try_cast()]);
    let all = all.into_iter().filter(|function| !LEFT_ALONE.contains(&function.name()));
    all.map(|inner| {
        let name = inner.name().to_string();
        (name, Arc::new(ScalarUDF::from(Guarded { inner })))
    })
    .collect()
});

/// The function.
#[derive(Clone, Debug)]
pub struct Guarded {
    inner: Arc<ScalarUDF>,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

/// What may be made, and what to say of more.
struct Allowed<'a> {
    name: &'a str,
    bytes: u64,
    pairs: u64,
}

impl Allowed<'_> {
    fn of<'a>(name: &'a str, options: &ConfigOptions) -> Allowed<'a> {
        let (bytes, pairs) = (ValueLimit::of(options), PAIRS_MAX);
        match folds() {
            true => Allowed { name, bytes: bytes.min(FOLDED_BYTES_MAX), pairs: FOLDED_PAIRS_MAX },
            false => Allowed { name, bytes, pairs },
        }
    }

    fn has(&self, size: Size) -> bool {
        size.amount <= if size.is_bytes { self.bytes } else { self.pairs }
    }

    fn refusal(&self, size: Size, rows: usize) -> Error {
        let Self { name, bytes, pairs } = self;
        let verb = if size.is_exact { "would" } else { "may" };
        let amount = size.amount;
        if !size.is_bytes {
            return Error::exhausted(format!(
                "{name} {verb} compare {amount} pairs of characters for {rows} rows at once, and at most \
                 {pairs} are compared: compare shorter texts, such as left(text, 1000), or fewer rows at \
                 once (SET datafusion.execution.batch_size)"
            ));
        }
        Error::exhausted(format!(
            "{name} {verb} make {amount} bytes for {rows} rows at once, and at most {bytes} are made: make \
             shorter values, or fewer rows at once (SET datafusion.execution.batch_size), or let the memory \
             limit be larger, up to a gigabyte for one batch"
        ))
    }
}

impl Guarded {
    fn call(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let allowed = Allowed::of(self.inner.name(), &args.config_options);
        let estimate = size(self.inner.name(), &args)?;
        if allowed.has(estimate) {
            return self.inner.invoke_with_args(args);
        }
        let rows = rows_of(&args);
        if folds() || estimate.is_exact || rows <= 1 {
            return Err(allowed.refusal(estimate, rows).into());
        }
        let (mut made, mut bytes) = (vec![], 0);
        self.pieces(&args, &allowed, &mut made, &mut bytes)?;
        let made: Vec<&dyn Array> = made.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&made)?))
    }

    /// Half of the rows, and the other half, until none may make too much; all together may neither.
    fn pieces(
        &self,
        args: &ScalarFunctionArgs,
        allowed: &Allowed,
        made: &mut Vec<ArrayRef>,
        bytes: &mut u64,
    ) -> DfResult<()> {
        let (rows, estimate) = (args.number_rows, size(self.inner.name(), args)?);
        if allowed.has(estimate) {
            let part = self.inner.invoke_with_args(args.clone())?.into_array(rows)?;
            *bytes = bytes.saturating_add(array_bytes(part.as_ref()));
            let all = Size { amount: *bytes, is_exact: true, is_bytes: true };
            if !allowed.has(all) {
                return Err(allowed.refusal(all, made.len() + rows).into());
            }
            made.push(part);
            return Ok(());
        }
        if rows <= 1 {
            return Err(allowed.refusal(estimate, rows).into());
        }
        let half = rows / 2;
        for (begin, count) in [(0, half), (half, rows - half)] {
            let part = args.args.iter().map(|arg| match arg {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(begin, count)),
                constant => constant.clone(),
            });
            let part =
                ScalarFunctionArgs { args: part.collect(), number_rows: count, ..args.clone() };
            self.pieces(&part, allowed, made, bytes)?;
        }
        Ok(())
    }

    /// The same guard around what simplifying made of a call.
    fn kept(simplified: ExprSimplifyResult) -> DfResult<ExprSimplifyResult> {
        Ok(match simplified {
            ExprSimplifyResult::Simplified(expr) => {
                ExprSimplifyResult::Simplified(guard_calls(expr)?.data)
            }
            same => same,
        })
    }
}

/// The expression, whose calls of DataFusion's functions are guarded.
pub fn guard_calls(expr: Expr) -> DfResult<Transformed<Expr>> {
    let mut calls = |expr: Expr| {
        Ok(match expr {
            Expr::ScalarFunction(mut call) => match guarded(&call.func) {
                Some(guarded) => {
                    call.func = guarded;
                    Transformed::yes(Expr::ScalarFunction(call))
                }
                None => Transformed::no(Expr::ScalarFunction(call)),
            },
            other => Transformed::no(other),
        })
    };
    expr.change_up(&mut calls)
}

/// The bytes of a value of a type that says how wide it is.
fn type_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeBinary(width) => u64::try_from(*width).unwrap_or(0),
        DataType::FixedSizeList(field, length) => {
            type_bytes(field.data_type()).saturating_mul(u64::try_from(*length).unwrap_or(0))
        }
        DataType::Struct(fields) => {
            fields.iter().map(|field| type_bytes(field.data_type())).fold(0, u64::saturating_add)
        }
        _ => 8,
    }
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        Some(ScalarUDF::from(Self { inner }))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        let bytes = type_bytes(field.data_type());
        if bytes > TYPE_BYTES_MAX {
            return Err(Error::exhausted(format!(
                "{} would give values of {bytes} bytes, and at most {TYPE_BYTES_MAX} are taken; choose a \
                 narrower type, or one whose values have lengths of their own",
                self.inner.name()
            ))
            .into());
        }
        Ok(field)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.call(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        Self::kept(self.inner.simplify(args, info)?)
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> DfResult<PreimageResult> {
        self.inner.preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> DfResult<Interval> {
        self.inner.evaluate_bounds(inputs)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> DfResult<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> DfResult<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> DfResult<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> DfResult<bool> {
        self.inner.strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn struct_field_mapping(
        &self,
        literals: &[Option<datafusion::common::ScalarValue>],
    ) -> Option<StructFieldMapping> {
        self.inner.inner().struct_field_mapping(literals)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }
}
