//! Arrays, tables of arrays and expressions over them, as messages.
//!
//! In: what has a recipe ([`crate::catalog::Recorded`]). Out: nodes that refer to one another by
//! number. What has none cannot travel, which is an error that names it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::protobuf;

use super::MEMORY_BYTES_MAX;
use super::messages::{self as message, node, operand};
use crate::array::{Arguments, ArrayLambda, ArrayMeta, ArraySource, MemoryArray, Operand};
use crate::catalog::{ArrayTable, Columns, Recipe, Recorded, TableRecipe};
use crate::exec::reduce::{GroupKey, Reduction, State, StateKind};
use crate::{Error, Result};

/// Writes arrays and what they are made of, each once.
pub struct Writer<'a> {
    codec: &'a dyn PhysicalExtensionCodec,
    nodes: Vec<message::Node>,
    /// The number of each array and table recipe, by its address.
    seen: HashMap<*const (), u32>,
}

impl<'a> Writer<'a> {
    /// A writer that writes functions in expressions by `codec`.
    pub fn new(codec: &'a dyn PhysicalExtensionCodec) -> Self {
        Self { codec, nodes: vec![], seen: HashMap::new() }
    }

    /// Everything that was written.
    pub fn into_nodes(self) -> Vec<message::Node> {
        self.nodes
    }

    fn push(&mut self, kind: node::Kind) -> u32 {
        self.nodes.push(message::Node { kind: Some(kind) });
        (self.nodes.len() - 1) as u32
    }

    /// A table.
    ///
    /// # Errors
    /// Those of its arrays.
    pub fn table(&mut self, table: &ArrayTable) -> DfResult<message::Table> {
        let mut columns = vec![];
        let mut variables = vec![];
        for (name, array) in table.variables() {
            columns.push(name.to_string());
            variables.push(self.array(array)?);
        }
        Ok(message::Table {
            name: table.name().into(),
            dims: table.dims().to_vec(),
            columns,
            variables,
            box_bytes: table.box_bytes(),
        })
    }

    /// The number of an array.
    ///
    /// # Errors
    /// `Unsupported` for one of which nothing is known, or too large a one in memory.
    pub fn array(&mut self, array: &Arc<dyn ArraySource>) -> DfResult<u32> {
        let address = Arc::as_ptr(array).cast::<()>();
        if let Some(number) = self.seen.get(&address) {
            return Ok(*number);
        }
        let kind = match (Recorded::recipe_of(array.as_ref()), memory(array.as_ref())) {
            (Some(recipe), _) => self.recipe(recipe, array.meta())?,
            (None, Some(memory)) => node::Kind::Memory(in_memory(memory)?),
            (None, None) => {
                return Err(Error::unsupported(format!(
                    "{} cannot be sent to other processes, as it is not known how it was made",
                    array.location()
                ))
                .into());
            }
        };
        let number = self.push(kind);
        self.seen.insert(address, number);
        Ok(number)
    }

    fn recipe(&mut self, recipe: &Recipe, meta: &ArrayMeta) -> DfResult<node::Kind> {
        Ok(match recipe {
            Recipe::Column { table, variable } => {
                let is_file = matches!(table.as_ref(), TableRecipe::File(_));
                node::Kind::Column(message::Column {
                    table: self.table_recipe(table)?,
                    variable: *variable as u32,
                    meta: if is_file { Some(meta_message(meta)?) } else { None },
                })
            }
            Recipe::Fields { of, fields } => {
                node::Kind::Fields(message::Fields { of: self.array(of)?, fields: numbers(fields) })
            }
            Recipe::Call { function, value, arguments } => node::Kind::Call(message::Call {
                function: (*function).into(),
                value: self.array(value)?,
                arguments: Some(self.arguments(arguments)?),
            }),
            Recipe::Expression { expr, columns } => node::Kind::Expression(message::Expression {
                expr: Some(self.expr(expr)?),
                columns: Some(self.columns(columns)?),
            }),
            Recipe::Blocks { aggregate, arguments, distinct, name, mask, keys, columns } => {
                node::Kind::Blocks(message::Blocks {
                    aggregate: aggregate.name().into(),
                    arguments: arguments
                        .iter()
                        .map(|expr| self.expr(expr))
                        .collect::<DfResult<_>>()?,
                    distinct: *distinct,
                    name: name.clone(),
                    mask: mask.as_ref().map(|expr| self.expr(expr)).transpose()?,
                    keys: keys_message(keys),
                    columns: Some(self.columns(columns)?),
                })
            }
        })
    }

    fn table_recipe(&mut self, recipe: &Arc<TableRecipe>) -> DfResult<u32> {
        let address = Arc::as_ptr(recipe).cast::<()>();
        if let Some(number) = self.seen.get(&address) {
            return Ok(*number);
        }
        let kind = match recipe.as_ref() {
            TableRecipe::File(file) => node::Kind::File(message::File {
                format: file.format.clone(),
                location: file.location.clone(),
                options: file.options.clone(),
            }),
            TableRecipe::Stack { name, dim, tables } => node::Kind::Stack(message::Stack {
                name: name.clone(),
                dim: dim.clone(),
                tables: self.tables(tables)?,
            }),
            TableRecipe::Relation { function, tables, arguments } => {
                node::Kind::Relation(message::Relation {
                    function: (*function).into(),
                    tables: self.tables(tables)?,
                    arguments: Some(self.arguments(arguments)?),
                })
            }
        };
        let number = self.push(kind);
        self.seen.insert(address, number);
        Ok(number)
    }

    fn tables(&mut self, tables: &[ArrayTable]) -> DfResult<Vec<message::Table>> {
        tables.iter().map(|table| self.table(table)).collect()
    }

    /// A physical expression.
    ///
    /// # Errors
    /// Those of DataFusion for what it cannot write.
    pub fn expr(&self, expr: &Arc<dyn PhysicalExpr>) -> DfResult<protobuf::PhysicalExprNode> {
        serialize_physical_expr(expr, self.codec)
    }

    fn columns(&mut self, columns: &Columns) -> DfResult<message::Columns> {
        let operands = columns.operands.iter().map(|operand| match operand {
            Operand::Dimension(axis) => Ok(dimension(*axis)),
            Operand::Array(array) => {
                Ok(message::Operand { kind: Some(operand::Kind::Array(self.array(array)?)) })
            }
        });
        Ok(message::Columns {
            operands: operands.collect::<DfResult<_>>()?,
            schema: Some(schema(&columns.schema)?),
            like: self.array(&columns.like)?,
        })
    }

    fn arguments(&self, arguments: &Arguments) -> DfResult<message::Arguments> {
        let (names, named): (Vec<_>, Vec<_>) = arguments.named_values().iter().cloned().unzip();
        let values = |values: &[ScalarValue]| {
            let values = values.iter().map(|value| Ok(value.try_into()?));
            values.collect::<DfResult<Vec<_>>>()
        };
        let lambda = arguments.lambda().ok().map(|lambda| self.lambda(lambda)).transpose()?;
        Ok(message::Arguments {
            values: values(arguments.values())?,
            names,
            named: values(&named)?,
            lambda,
        })
    }

    fn lambda(&self, lambda: &ArrayLambda) -> DfResult<message::Lambda> {
        Ok(message::Lambda {
            body: Some(self.expr(lambda.body())?),
            parameter: Some(schema(lambda.schema())?),
        })
    }
}

fn memory(array: &dyn ArraySource) -> Option<&MemoryArray> {
    (array as &dyn Any).downcast_ref()
}

fn in_memory(array: &MemoryArray) -> DfResult<message::Memory> {
    let meta = array.meta();
    let field = Field::new("value", meta.data_type.clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(array.values())])?;
    let values = ipc_stream(&schema, std::iter::once(&rows))
        .map_err(|error| error.with("array of shape", format!("{:?}", meta.shape)))?;
    Ok(message::Memory {
        dims: meta.dims.clone(),
        shape: meta.shape.clone(),
        chunk_shape: meta.chunk_shape.clone(),
        values,
    })
}

/// Rows as an Arrow IPC stream.
///
/// # Errors
/// `Unsupported` if they are too many to be sent with a plan.
pub fn ipc_stream<'a>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = &'a RecordBatch>,
) -> Result<Vec<u8>> {
    let failed = |cause| Error::bug("rows cannot be written as Arrow IPC").caused_by(cause);
    let mut writer = StreamWriter::try_new(vec![], schema).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
        if writer.get_ref().len() > MEMORY_BYTES_MAX {
            return Err(Error::unsupported(format!(
                "a table in memory of more than {} MiB is not sent to other processes; write it to \
                 files with COPY … TO 'folder/' STORED AS PARQUET and read those",
                MEMORY_BYTES_MAX >> 20
            )));
        }
    }
    writer.into_inner().map_err(failed)
}

/// A schema.
///
/// # Errors
/// Those of DataFusion for types that it cannot write.
pub fn schema(schema: &Schema) -> DfResult<protobuf::Schema> {
    Ok(schema.try_into()?)
}

fn meta_message(meta: &ArrayMeta) -> DfResult<message::Meta> {
    let element = Schema::new(vec![Field::new("value", meta.data_type.clone(), meta.nullable)]);
    Ok(message::Meta {
        dims: meta.dims.clone(),
        shape: meta.shape.clone(),
        chunk_shape: meta.chunk_shape.clone(),
        element: Some(schema(&element)?),
    })
}

/// The index on an axis.
pub fn dimension(axis: usize) -> message::Operand {
    message::Operand { kind: Some(operand::Kind::Dimension(axis as u32)) }
}

/// Small numbers.
pub fn numbers(numbers: &[usize]) -> Vec<u32> {
    numbers.iter().map(|number| *number as u32).collect()
}

fn keys_message(keys: &[GroupKey]) -> Vec<message::Key> {
    let key = |key: &GroupKey| message::Key { axis: key.axis as u32, divisor: key.divisor };
    keys.iter().map(key).collect()
}

/// A reduction whose expressions `expr` writes.
///
/// # Errors
/// Those of `expr`.
pub fn reduction<E>(
    reduction: &Reduction<E>,
    expr: impl Fn(&E) -> DfResult<Vec<u8>>,
) -> DfResult<message::Reduction> {
    let states = reduction.states.iter().map(|State { kind, argument, filter }| {
        Ok(message::State {
            kind: StateKind::ALL.iter().position(|known| known == kind).unwrap_or(0) as u32,
            argument: argument.as_ref().map(&expr).transpose()?,
            filter: filter.as_ref().map(&expr).transpose()?,
        })
    });
    let states = states.collect::<DfResult<_>>()?;
    Ok(message::Reduction { keys: keys_message(&reduction.keys), states })
}
