//! Prepared statements and their parameters.
//!
//! Parameters are written `$1`, `$name` or `?`, and bound to rows: a row of values for each time that
//! the statement is to run. A query over several rows gives the rows of each, one after the other. An
//! `INSERT … VALUES` over several rows is one insertion: the bound rows become a table that it reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use almagest_engine::walk::Walk;
use almagest_engine::{Error, Opaque, Result};
use arrow::array::{Array, ArrayData};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, ParamValues, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Values, cast as cast_to};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::client::Client;
use super::ledger::{Held, weight_of};
use super::policy::Effect;
use super::query::{Query, wire_schema};

/// Rows of parameters of one statement at most; each is a plan of its own.
const ROWS_MAX: usize = 1000;
/// Bytes of the values that are bound to one statement.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of a column of a batch, beside its values.
const COLUMN_BYTES: usize = 256;
/// The table of the bound rows.
const BOUND: &str = "bound";

/// Rows of values, and what they take of what their session may keep: for as long as anybody has them.
#[derive(Debug, Default)]
pub struct Bound {
    rows: Vec<RecordBatch>,
    kept: Vec<Held>,
    bytes: usize,
    /// Where the memory is that is counted.
    seen: HashSet<usize>,
}

impl Bound {
    /// Takes a batch, which is counted before the next one is waited for: a client may take its time.
    ///
    /// # Errors
    /// `Exhausted` if the session keeps too much, or these are too many.
    pub fn push(&mut self, client: &Client, batch: RecordBatch) -> Result<()> {
        let mut bytes = COLUMN_BYTES;
        for column in batch.columns() {
            bytes += self.bytes_of(&column.to_data());
        }
        self.bytes += bytes;
        if self.bytes > BYTES_MAX {
            return Err(Error::exhausted(format!(
                "more than {} MiB of parameters; ingest rows into a table instead",
                BYTES_MAX >> 20
            )));
        }
        self.kept.push(client.keeps(bytes)?);
        self.rows.push(batch);
        Ok(())
    }

    /// The memory that a column keeps beside what is counted already. Columns of one message share its
    /// memory and batches their dictionaries; and what of it they use does not matter, as all is kept.
    fn bytes_of(&mut self, data: &ArrayData) -> usize {
        let nulls = data.nulls().map(|nulls| nulls.buffer());
        let mut bytes = COLUMN_BYTES;
        for buffer in data.buffers().iter().chain(nulls) {
            if self.seen.insert(buffer.data_ptr().as_ptr() as usize) {
                bytes += buffer.capacity();
            }
        }
        data.child_data().iter().fold(bytes, |bytes, child| bytes + self.bytes_of(child))
    }

    /// Whether any values are among them.
    pub fn has_columns(&self) -> bool {
        self.rows.iter().any(|batch| batch.num_columns() > 0)
    }

    fn count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

/// A statement that was planned without the values of its parameters.
#[derive(Debug)]
pub struct Prepared {
    text: String,
    plan: Opaque<LogicalPlan>,
    effect: Effect,
    parameters: SchemaRef,
    bound: Mutex<Arc<Bound>>,
    _kept: Held,
}

impl Prepared {
    /// Plans a statement.
    ///
    /// # Errors
    /// Those of planning, and of what the client must not do; `Exhausted` if the session keeps too much.
    pub fn try_new<'a>(client: &'a Arc<Client>, sql: &'a str) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            client.check_length(sql)?;
            let (again, sql) = (Arc::clone(client), sql.to_string());
            let work = async move {
                let text = numbered(&sql);
                let (plan, effect) = again.judged(&text).await?;
                let parameters = Arc::new(parameters_of(&plan)?);
                let kept = again.keeps(text.len() + weight_of(&plan)?)?;
                Ok(Self {
                    text,
                    plan: Opaque::new(plan),
                    effect,
                    parameters,
                    bound: Mutex::default(),
                    _kept: kept,
                })
            };
            client.apart(work.boxed()).await
        })
    }

    /// The schema of its rows, as far as it is known without the values.
    pub fn schema(&self) -> SchemaRef {
        wire_schema(self.plan.schema().as_arrow(), None)
    }

    /// A column for each parameter, in the order in which they are bound; of the type Null where any
    /// will do.
    pub fn parameters(&self) -> &SchemaRef {
        &self.parameters
    }

    /// Takes the rows for the next run.
    pub fn bind(&self, rows: Bound) {
        *self.bound.lock() = Arc::new(rows);
    }

    /// Lets go of what is bound.
    pub fn unbind(&self) {
        *self.bound.lock() = Arc::default();
    }

    /// Runs, or plans what will run when it is fetched, with the values that are bound.
    ///
    /// # Errors
    /// Those of the statement; `Plan` if values are missing.
    pub fn begin<'a>(
        self: &'a Arc<Self>,
        client: &'a Arc<Client>,
    ) -> BoxFuture<'a, Result<Arc<Query>>> {
        Box::pin(async move {
            let bound = Arc::clone(&self.bound.lock());
            self.run(client, bound).await
        })
    }

    /// Runs once for all rows that are bound. Gives the number of rows that were written.
    ///
    /// # Errors
    /// Those of the statement.
    pub fn update<'a>(self: &'a Arc<Self>, client: &'a Arc<Client>) -> BoxFuture<'a, Result<i64>> {
        Box::pin(async move {
            let bound = std::mem::take(&mut *self.bound.lock());
            let query = self.run(client, bound).await?;
            client.told(&query);
            Ok(query.rows_written().unwrap_or(0))
        })
    }

    async fn run(self: &Arc<Self>, client: &Arc<Client>, bound: Arc<Bound>) -> Result<Arc<Query>> {
        let (this, again, rows) = (Arc::clone(self), Arc::clone(client), Arc::clone(&bound));
        let work = async move {
            // held before there are so many plans, and again as what each of them weighs
            let held = again.keeps(weight_of(&this.plan)?.saturating_mul(this.copies(&rows)))?;
            let plans = this.plans(&rows.rows)?;
            let held = match this.effect {
                // these are weighed no more, and run until they are done
                Effect::Changes => held,
                Effect::Reads => {
                    drop(held);
                    Held::default()
                }
            };
            Ok((again.ready(&this.text, plans, this.effect).await?, held))
        };
        let (ready, held) = client.apart(work.boxed()).await?;
        let query = client.take(&self.text, ready).await;
        // a plan that changes something reads the rows themselves
        drop((bound, held));
        query
    }

    /// How many plans there will be.
    fn copies(&self, bound: &Bound) -> usize {
        match self.parameters.fields().is_empty() || is_insert(&self.plan) {
            true => 1,
            false => bound.count().min(ROWS_MAX),
        }
    }

    fn plans(&self, rows: &[RecordBatch]) -> Result<Vec<LogicalPlan>> {
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let wanted = self.parameters.fields().len();
        if wanted == 0 {
            return Ok(vec![LogicalPlan::clone(&self.plan)]);
        }
        if count == 0 {
            return Err(Error::plan(format!(
                "the statement has {wanted} parameters, and no values are bound to them"
            )));
        }
        if is_insert(&self.plan) {
            return Ok(vec![over_bound(LogicalPlan::clone(&self.plan), rows, &self.parameters)?]);
        }
        if count > ROWS_MAX {
            return Err(Error::exhausted(format!(
                "{count} rows of values are bound to a statement, which takes {ROWS_MAX} at most; \
                 join with a table of them"
            )));
        }
        let values = values_of(rows, &self.parameters)?.into_iter();
        values.map(|values| bound(&self.plan, values)).collect()
    }
}

fn bound(plan: &LogicalPlan, values: ParamValues) -> Result<LogicalPlan> {
    Ok(plan.clone().with_param_values(values)?)
}

/// The statement with `$1`, `$2`, … for each `?`.
fn numbered(sql: &str) -> String {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).with_unescape(false).tokenize();
    let is_mark = |token: &Token| matches!(token, Token::Placeholder(mark) if mark == "?");
    match tokens {
        Ok(tokens) if tokens.iter().any(is_mark) => {
            let mut count = 0;
            let words = tokens.iter().map(|token| match is_mark(token) {
                true => {
                    count += 1;
                    format!("${count}")
                }
                false => token.to_string(),
            });
            words.collect()
        }
        // without marks, or what the planner will refuse with a place
        _ => sql.to_string(),
    }
}

/// The parameters of a plan: numbered ones by number, then named ones by name.
fn parameters_of(plan: &LogicalPlan) -> Result<Schema> {
    let mut found: Vec<(Option<usize>, String, DataType)> = plan
        .get_parameter_fields()?
        .into_iter()
        .map(|(name, field)| {
            let data_type = field.map_or(DataType::Null, |field| field.data_type().clone());
            (name.trim_start_matches('$').parse().ok(), name, data_type)
        })
        .collect();
    found.sort_by(|left, right| {
        let order = |number: Option<usize>| number.unwrap_or(usize::MAX);
        (order(left.0), &left.1).cmp(&(order(right.0), &right.1))
    });
    for (position, (number, name, _)) in found.iter().enumerate() {
        if number.is_some_and(|number| number != position + 1) {
            return Err(Error::plan(format!(
                "parameter {name} stands without ${}; number them from $1 on",
                position + 1
            )));
        }
    }
    let fields = found.into_iter().map(|(_, name, data_type)| Field::new(name, data_type, true));
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// Values for each row that is bound: by name for parameters with names.
fn values_of(rows: &[RecordBatch], parameters: &Schema) -> Result<Vec<ParamValues>> {
    let mut values = vec![];
    for batch in rows {
        let columns = columns_of(batch, parameters)?;
        for row in 0..batch.num_rows() {
            let mut map = HashMap::new();
            for (parameter, column) in parameters.fields().iter().zip(&columns) {
                let value = ScalarValue::try_from_array(batch.column(*column), row)?;
                let name = parameter.name().trim_start_matches('$').to_string();
                map.insert(name, ScalarAndMetadata::new(value, None));
            }
            values.push(ParamValues::Map(map));
        }
    }
    Ok(values)
}

/// The columns of bound rows, one for each parameter: those of the same names, or else in order.
fn columns_of(batch: &RecordBatch, parameters: &Schema) -> Result<Vec<usize>> {
    let (given, wanted) = (batch.num_columns(), parameters.fields().len());
    if given != wanted {
        return Err(Error::plan(format!(
            "the statement has {wanted} parameters, and {given} values are bound to them"
        )));
    }
    let schema = batch.schema();
    let by_name = |name: &str| {
        let short = name.trim_start_matches('$');
        schema.index_of(name).or_else(|_| schema.index_of(short)).ok()
    };
    let named = parameters.fields().iter().map(|field| by_name(field.name()));
    let named: Option<Vec<usize>> = named.collect();
    Ok(named.unwrap_or_else(|| (0..wanted).collect()))
}

/// Whether a plan inserts one row of values that has all of its parameters.
fn is_insert(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Dml(_) = plan else { return false };
    let (mut values, mut elsewhere) = (0, false);
    let looked = plan.walk(&mut |node| {
        match node {
            LogicalPlan::Values(Values { values: rows, .. }) => values += rows.len(),
            LogicalPlan::Dml(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
                elsewhere |= node.expressions().iter().any(has_placeholder);
            }
            _ => elsewhere = true,
        }
        Ok(TreeNodeRecursion::Continue)
    });
    looked.is_ok() && values == 1 && !elsewhere
}

fn has_placeholder(expression: &Expr) -> bool {
    expression.any(&mut |inner| Ok(matches!(inner, Expr::Placeholder(_)))).unwrap_or(true)
}

/// The insertion of a row of values as one of as many rows as are bound.
fn over_bound(
    plan: LogicalPlan,
    rows: &[RecordBatch],
    parameters: &Schema,
) -> DfResult<LogicalPlan> {
    let Some(first) = rows.first() else { return Ok(plan) };
    let order = columns_of(first, parameters)?;
    let fields = parameters.fields().iter().zip(&order).map(|(parameter, column)| {
        Field::new(parameter.name(), first.column(*column).data_type().clone(), true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batches = rows.iter().map(|batch| {
        let columns = order.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        RecordBatch::try_new(Arc::clone(&schema), columns)
    });
    let batches = batches.collect::<Result<Vec<_>, _>>()?;
    let table = MemTable::try_new(schema, vec![batches])?;
    let scan =
        LogicalPlanBuilder::scan(BOUND, provider_as_source(Arc::new(table)), None)?.build()?;
    plan.change_up(&mut |node| {
        let LogicalPlan::Values(Values { schema, values }) = &node else {
            return Ok(Transformed::no(node));
        };
        let Some(row) = values.first() else { return Ok(Transformed::no(node)) };
        let columns = row.iter().zip(schema.fields()).map(|(value, field)| {
            let value = from_bound(value.clone())?;
            // values may have no type yet, where the parameter alone gives it
            let value = match field.data_type() {
                DataType::Null => value,
                data_type => cast_to(value, data_type.clone()),
            };
            Ok(value.alias(field.name()))
        });
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        let inserted = LogicalPlanBuilder::from(scan.clone()).project(columns)?.build()?;
        Ok(Transformed::yes(inserted))
    })
    .data()
}

/// An expression that reads bound rows where it has parameters.
fn from_bound(expression: Expr) -> DfResult<Expr> {
    expression
        .change_up(&mut |inner| match inner {
            Expr::Placeholder(placeholder) => {
                let column = Column::new(Some(BOUND), placeholder.id);
                Ok(Transformed::yes(Expr::Column(column)))
            }
            inner => Ok(Transformed::no(inner)),
        })
        .data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_but_not_those_in_strings_and_comments() {
        for (sql, expected) in [
            ("SELECT ? + ?", "SELECT $1 + $2"),
            ("SELECT '?', \"a?\", ? -- ?\n", "SELECT '?', \"a?\", $1 -- ?\n"),
            ("SELECT 'it''s', ?", "SELECT 'it''s', $1"),
            ("SELECT $1", "SELECT $1"),
            ("SELECT 'open ?", "SELECT 'open ?"),
        ] {
            assert_eq!(numbered(sql), expected);
        }
    }
}
