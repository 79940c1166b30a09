//! Arrays, tables of arrays and expressions over them, from messages.
//!
//! In: nodes that refer to earlier ones by number. Out: lazy arrays, made anew by the functions that
//! made them where they come from. No file is opened: what was found in one comes along. Messages
//! come over a network; one that does not hold together is an error.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::protobuf;

use super::messages::{self as message, node, operand};
use crate::array::{Arguments, ArrayLambda, ArrayMeta, ArraySource, MemoryArray, Operand};
use crate::catalog::{
    ArrayTable, Columns, FileArray, FileRecipe, Recipe, Recorded, TableRecipe, UnopenedFile,
    stack_tables,
};
use crate::exec::reduce::{GroupKey, Reduction, State, StateKind};
use crate::registry::Registry;
use crate::{Error, Result};

/// Nodes that have been made.
pub struct Reader<'a> {
    registry: &'a Registry,
    context: &'a TaskContext,
    codec: &'a dyn PhysicalExtensionCodec,
    made: Vec<Made>,
}

enum Made {
    Array(Arc<dyn ArraySource>),
    File { file: Arc<UnopenedFile>, recipe: Arc<TableRecipe> },
    Table { table: ArrayTable, recipe: Arc<TableRecipe> },
}

impl<'a> Reader<'a> {
    /// Makes `nodes`.
    ///
    /// # Errors
    /// `DataInvalid` for messages that do not hold together, `Unsupported` for functions and formats
    /// that this process does not have.
    pub fn try_new(
        nodes: &[message::Node],
        registry: &'a Registry,
        context: &'a TaskContext,
        codec: &'a dyn PhysicalExtensionCodec,
    ) -> DfResult<Self> {
        let mut reader = Self { registry, context, codec, made: Vec::with_capacity(nodes.len()) };
        for node in nodes {
            let made = reader.node(needed(node.kind.as_ref())?)?;
            reader.made.push(made);
        }
        Ok(reader)
    }

    fn node(&self, kind: &node::Kind) -> DfResult<Made> {
        let array = match kind {
            node::Kind::File(file) => {
                let message::File { format, location, options } = file.clone();
                let known = self.registry.by_name(&format).ok_or_else(|| lacks(&format))?;
                let recipe = FileRecipe { format, location, options };
                let file = Arc::new(UnopenedFile::new(Arc::clone(known), recipe.clone()));
                return Ok(Made::File { file, recipe: Arc::new(TableRecipe::File(recipe)) });
            }
            node::Kind::Stack(message::Stack { name, dim, tables }) => {
                let tables = self.tables(tables)?;
                let table = stack_tables(name, dim, &tables)?;
                let recipe = TableRecipe::Stack { name: name.clone(), dim: dim.clone(), tables };
                return Ok(Made::Table { table, recipe: Arc::new(recipe) });
            }
            node::Kind::Relation(message::Relation { function, tables, arguments }) => {
                let relation = self.registry.relation(function);
                let relation = relation.ok_or_else(|| lacks(function))?;
                let tables = self.tables(tables)?;
                let parameters = relation.parameters();
                let arguments = self.arguments(relation.name(), parameters, arguments.as_ref())?;
                let table = relation.build(tables.clone(), &arguments, self.context)?;
                let function = relation.name();
                let recipe = TableRecipe::Relation { function, tables, arguments };
                return Ok(Made::Table { table, recipe: Arc::new(recipe) });
            }
            node::Kind::Column(column) => self.column(column)?,
            node::Kind::Fields(message::Fields { of, fields }) => {
                self.array(*of)?.select(&usizes(fields)).ok_or_else(damaged)?
            }
            node::Kind::Call(message::Call { function, value, arguments }) => {
                let definition = self.registry.function(function);
                let definition = definition.ok_or_else(|| lacks(function))?;
                let parameters = definition.parameters();
                let arguments =
                    self.arguments(definition.name(), parameters, arguments.as_ref())?;
                let value = self.array(*value)?;
                let array = definition.build(Arc::clone(&value), &arguments)?;
                let function = definition.name();
                Recorded::array(array, Recipe::Call { function, value, arguments })
            }
            node::Kind::Expression(message::Expression { expr, columns }) => {
                let columns = self.columns(needed(columns.as_ref())?)?;
                let expr = self.expr(needed(expr.as_ref())?, &columns.schema)?;
                Recipe::Expression { expr, columns }.array()?
            }
            node::Kind::Blocks(blocks) => self.blocks(blocks)?,
            node::Kind::Memory(memory) => in_memory(memory)?,
        };
        Ok(Made::Array(array))
    }

    fn column(&self, column: &message::Column) -> DfResult<Arc<dyn ArraySource>> {
        let variable = column.variable as usize;
        let (array, table): (Arc<dyn ArraySource>, _) =
            match needed(self.made.get(column.table as usize))? {
                Made::File { file, recipe } => {
                    let meta = meta(needed(column.meta.as_ref())?)?;
                    (Arc::new(FileArray::new(Arc::clone(file), variable, meta)), recipe)
                }
                Made::Table { table, recipe } => {
                    let (_, array) = table.variables().nth(variable).ok_or_else(damaged)?;
                    (Arc::clone(array), recipe)
                }
                Made::Array(_) => return Err(damaged().into()),
            };
        let table = Arc::clone(table);
        Ok(Recorded::array(array, Recipe::Column { table, variable }))
    }

    fn blocks(&self, blocks: &message::Blocks) -> DfResult<Arc<dyn ArraySource>> {
        let columns = self.columns(needed(blocks.columns.as_ref())?)?;
        let expr = |expr| self.expr(expr, &columns.schema);
        let recipe = Recipe::Blocks {
            aggregate: self.context.udaf(&blocks.aggregate)?,
            arguments: blocks.arguments.iter().map(expr).collect::<DfResult<_>>()?,
            distinct: blocks.distinct,
            name: blocks.name.clone(),
            mask: blocks.mask.as_ref().map(expr).transpose()?,
            keys: keys(&blocks.keys)?,
            columns: columns.clone(),
        };
        recipe.array()
    }

    /// The array with this number.
    ///
    /// # Errors
    /// `DataInvalid` if there is none.
    pub fn array(&self, number: u32) -> Result<Arc<dyn ArraySource>> {
        match self.made.get(number as usize) {
            Some(Made::Array(array)) => Ok(Arc::clone(array)),
            _ => Err(damaged()),
        }
    }

    /// A table.
    ///
    /// # Errors
    /// `DataInvalid` if its arrays do not fit one another.
    pub fn table(&self, table: &message::Table) -> Result<ArrayTable> {
        if table.columns.len() != table.variables.len() {
            return Err(damaged());
        }
        let variables = table.columns.iter().zip(&table.variables);
        let variables = variables.map(|(name, array)| Ok((name.clone(), self.array(*array)?)));
        let made = ArrayTable::with_dims(
            table.name.as_str(),
            &table.dims,
            variables.collect::<Result<_>>()?,
        )?;
        Ok(made.with_box_bytes(table.box_bytes))
    }

    fn tables(&self, tables: &[message::Table]) -> Result<Vec<ArrayTable>> {
        tables.iter().map(|table| self.table(table)).collect()
    }

    /// A physical expression over columns.
    ///
    /// # Errors
    /// Those of DataFusion.
    pub fn expr(
        &self,
        expr: &protobuf::PhysicalExprNode,
        schema: &Schema,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        parse_physical_expr(expr, self.context, schema, self.codec)
    }

    fn columns(&self, columns: &message::Columns) -> DfResult<Columns> {
        let operands = columns.operands.iter().map(|operand| {
            Ok(match needed(operand.kind.as_ref())? {
                operand::Kind::Dimension(axis) => Operand::Dimension(*axis as usize),
                operand::Kind::Array(array) => Operand::Array(self.array(*array)?),
            })
        });
        Ok(Columns {
            operands: operands.collect::<Result<_>>()?,
            schema: schema(columns.schema.as_ref())?,
            like: self.array(columns.like)?,
        })
    }

    fn arguments(
        &self,
        function: &'static str,
        parameters: &'static [&'static str],
        given: Option<&message::Arguments>,
    ) -> DfResult<Arguments> {
        let given = needed(given)?;
        let values = |values: &[protobuf::ScalarValue]| {
            let values = values.iter().map(|value| Ok(value.try_into()?));
            values.collect::<DfResult<Vec<ScalarValue>>>()
        };
        let named = given.names.iter().cloned().zip(values(&given.named)?);
        let arguments = Arguments::try_new(function, parameters, values(&given.values)?)?
            .with_named(named.collect());
        let Some(lambda) = &given.lambda else { return Ok(arguments) };
        let parameter = schema(lambda.parameter.as_ref())?;
        let body = self.expr(needed(lambda.body.as_ref())?, &parameter)?;
        Ok(arguments.with_lambda(ArrayLambda::new(body, parameter))?)
    }
}

fn in_memory(memory: &message::Memory) -> DfResult<Arc<dyn ArraySource>> {
    let (_, batches) = ipc_stream(&memory.values)?;
    let columns: Vec<&ArrayRef> = batches.iter().flat_map(RecordBatch::columns).collect();
    let parts: Vec<_> = columns.iter().map(|column| column.as_ref()).collect();
    let values = match parts.as_slice() {
        [] => return Err(damaged().into()),
        [_] => Arc::clone(columns[0]),
        parts => concat(parts)?,
    };
    let array = MemoryArray::try_new(memory.dims.clone(), memory.shape.clone(), values)?;
    Ok(Arc::new(array.with_chunks(&memory.chunk_shape)))
}

/// The rows of an Arrow IPC stream.
///
/// # Errors
/// Those of Arrow.
pub fn ipc_stream(bytes: &[u8]) -> DfResult<(SchemaRef, Vec<RecordBatch>)> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<std::result::Result<_, _>>()?))
}

/// A schema.
///
/// # Errors
/// `DataInvalid` if it is missing.
pub fn schema(schema: Option<&protobuf::Schema>) -> DfResult<SchemaRef> {
    let schema: Schema = needed(schema)?.try_into()?;
    Ok(Arc::new(schema))
}

fn meta(meta: &message::Meta) -> DfResult<ArrayMeta> {
    let element = schema(meta.element.as_ref())?;
    let element = needed(element.fields().first())?;
    let axes = meta.shape.len();
    if meta.dims.len() != axes || meta.chunk_shape.len() != axes {
        return Err(damaged().into());
    }
    Ok(ArrayMeta {
        dims: meta.dims.clone(),
        shape: meta.shape.clone(),
        data_type: element.data_type().clone(),
        nullable: element.is_nullable(),
        chunk_shape: meta.chunk_shape.clone(),
    })
}

/// Small numbers.
pub fn usizes(numbers: &[u32]) -> Vec<usize> {
    numbers.iter().map(|number| *number as usize).collect()
}

fn keys(keys: &[message::Key]) -> Result<Vec<GroupKey>> {
    let keys = keys.iter().map(|key| match key.divisor {
        0 => Err(damaged()),
        divisor => Ok(GroupKey { axis: key.axis as usize, divisor }),
    });
    keys.collect()
}

/// A reduction whose expressions `expr` reads.
///
/// # Errors
/// Those of `expr`, `DataInvalid`.
pub fn reduction<E>(
    reduction: Option<&message::Reduction>,
    expr: impl Fn(&[u8]) -> DfResult<E>,
) -> DfResult<Reduction<E>> {
    let reduction = needed(reduction)?;
    let states = reduction.states.iter().map(|state| {
        Ok(State {
            kind: *needed(StateKind::ALL.get(state.kind as usize))?,
            argument: state.argument.as_deref().map(&expr).transpose()?,
            filter: state.filter.as_deref().map(&expr).transpose()?,
        })
    });
    let states = states.collect::<DfResult<_>>()?;
    Ok(Reduction { keys: keys(&reduction.keys)?, states })
}

/// A part that no message lacks.
///
/// # Errors
/// `DataInvalid` if this one does.
pub fn needed<T>(part: Option<T>) -> Result<T> {
    part.ok_or_else(damaged)
}

/// An error for a message that does not hold together.
pub fn damaged() -> Error {
    Error::data_invalid("a plan over arrays came damaged, or from another version of Almagest")
}

fn lacks(name: &str) -> Error {
    Error::unsupported(format!(
        "this process knows no '{name}'; run the same version of Almagest everywhere"
    ))
}
