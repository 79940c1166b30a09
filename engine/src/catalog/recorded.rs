//! Arrays that know how they were made, so that another process can make them again.
//!
//! A lazy array is a chain of functions that only the process which built it can run. What travels
//! ([`crate::codec`]) is what was asked for: a file and its options, the name of a function and its
//! arguments. Every array of a table of ours is wrapped in a [`Recorded`] where it is made; reading
//! goes straight through.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use futures::future::BoxFuture;

use super::ArrayTable;
use crate::array::{
    Arguments, ArrayMeta, ArraySource, Block, Fetched, Operand, ReadContext, Region, Storage,
    expression_array,
};
use crate::exec::BlockAggregate;
use crate::exec::reduce::GroupKey;
use crate::formats::TableOptions;
use crate::{Error, Result};

/// How an array is made.
#[derive(Clone, Debug)]
pub enum Recipe {
    /// A column of a table.
    Column {
        /// The table.
        table: Arc<TableRecipe>,
        /// Its variable of this number.
        variable: usize,
    },
    /// Some fields of records.
    Fields {
        /// The records.
        of: Arc<dyn ArraySource>,
        /// Which fields, in this order.
        fields: Vec<usize>,
    },
    /// A call of an array function.
    Call {
        /// The function's name.
        function: &'static str,
        /// Its first argument.
        value: Arc<dyn ArraySource>,
        /// The others.
        arguments: Arguments,
    },
    /// An expression, element by element.
    Expression {
        /// What is evaluated, over `columns`.
        expr: Arc<dyn PhysicalExpr>,
        /// What it reads.
        columns: Columns,
    },
    /// An aggregate of each block.
    Blocks {
        /// The aggregate function.
        aggregate: Arc<AggregateUDF>,
        /// Its arguments, over `columns`.
        arguments: Vec<Arc<dyn PhysicalExpr>>,
        /// Whether equal values count once.
        distinct: bool,
        /// The call as it was written.
        name: String,
        /// Which elements count.
        mask: Option<Arc<dyn PhysicalExpr>>,
        /// What the blocks are.
        keys: Vec<GroupKey>,
        /// What arguments and mask read.
        columns: Columns,
    },
}

impl Recipe {
    /// The array of an expression or of an aggregate of blocks.
    ///
    /// # Errors
    /// `Bug` if an expression does not fit its columns, or for another recipe.
    pub fn array(self) -> DfResult<Arc<dyn ArraySource>> {
        let array = match &self {
            Self::Expression { expr, columns } => {
                let Columns { schema, operands, like } = columns.clone();
                expression_array(Arc::clone(expr), schema, operands, like.meta())?
            }
            Self::Blocks { aggregate, arguments, distinct, name, mask, keys, columns } => {
                let Columns { schema, operands, like } = columns.clone();
                let aggregate = AggregateExprBuilder::new(Arc::clone(aggregate), arguments.clone())
                    .schema(Arc::clone(&schema))
                    .alias(name.clone())
                    .with_distinct(*distinct)
                    .build()?;
                let (aggregate, mask) = (Arc::new(aggregate), mask.clone());
                BlockAggregate::over(aggregate, mask, keys.clone(), schema, operands, like.meta())?
            }
            _ => return Err(Error::bug("the array is not made of expressions").into()),
        };
        Ok(Recorded::array(array, self))
    }
}

/// The columns that expressions over arrays of one shape read.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Their fields.
    pub schema: SchemaRef,
    /// What they are.
    pub operands: Vec<Operand>,
    /// An array that has the shape.
    pub like: Arc<dyn ArraySource>,
}

/// How a table of arrays is made.
#[derive(Clone, Debug)]
pub enum TableRecipe {
    /// By opening a file.
    File(FileRecipe),
    /// By stacking tables under a new leading dimension.
    Stack {
        /// The table's name.
        name: String,
        /// The dimension's name.
        dim: String,
        /// The tables.
        tables: Vec<ArrayTable>,
    },
    /// By calling a table function.
    Relation {
        /// The function's name.
        function: &'static str,
        /// The tables that it takes.
        tables: Vec<ArrayTable>,
        /// The other arguments.
        arguments: Arguments,
    },
}

/// A file that is opened as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRecipe {
    /// The name of the format.
    pub format: String,
    /// Where the file lies: an absolute path or a URL.
    pub location: String,
    /// The table's options.
    pub options: TableOptions,
}

impl FileRecipe {
    /// The file at `location`; a relative path is one of the folder in which this process runs.
    pub fn new(format: &str, location: &str, options: &TableOptions) -> Self {
        let location = match location.contains("://") {
            true => location.into(),
            false => match std::path::absolute(location) {
                Ok(path) => path.display().to_string(),
                Err(_) => location.into(),
            },
        };
        Self { format: format.into(), location, options: options.clone() }
    }
}

/// An array with its recipe.
#[derive(Clone, Debug)]
pub struct Recorded {
    array: Arc<dyn ArraySource>,
    recipe: Recipe,
}

impl Recorded {
    /// `array`, which is made by `recipe`.
    pub fn array(array: Arc<dyn ArraySource>, recipe: Recipe) -> Arc<dyn ArraySource> {
        Arc::new(Self { array, recipe })
    }

    /// The table, which is made by `recipe`.
    pub fn table(mut table: ArrayTable, recipe: TableRecipe) -> ArrayTable {
        let recipe = Arc::new(recipe);
        table.change_variables(|variable, array| {
            Self::array(array, Recipe::Column { table: Arc::clone(&recipe), variable })
        });
        table
    }

    /// How an array was made, if that is known.
    pub fn recipe_of(array: &dyn ArraySource) -> Option<&Recipe> {
        (array as &dyn Any).downcast_ref::<Self>().map(|recorded| &recorded.recipe)
    }
}

impl ArraySource for Recorded {
    fn meta(&self) -> &ArrayMeta {
        self.array.meta()
    }

    fn select(&self, fields: &[usize]) -> Option<Arc<dyn ArraySource>> {
        let selected = self.array.select(fields)?;
        let of = Arc::new(self.clone());
        Some(Self::array(selected, Recipe::Fields { of, fields: fields.to_vec() }))
    }

    fn storage(&self) -> Storage {
        self.array.storage()
    }

    fn location(&self) -> String {
        self.array.location()
    }

    fn open<'a, 'b, 'r>(&'a self, context: &'b ReadContext) -> BoxFuture<'r, Result<()>>
    where
        'a: 'r,
        'b: 'r,
    {
        self.array.open(context)
    }

    fn fetch<'a, 'b, 'c, 'r>(
        &'a self,
        region: &'b Region,
        context: &'c ReadContext,
    ) -> BoxFuture<'r, Result<Fetched>>
    where
        'a: 'r,
        'b: 'r,
        'c: 'r,
    {
        self.array.fetch(region, context)
    }

    fn is_remote(&self) -> bool {
        self.array.is_remote()
    }

    fn decodes_whole_chunks(&self, region: &Region) -> bool {
        self.array.decodes_whole_chunks(region)
    }

    fn reads_more_than(&self, region: &Region) -> bool {
        self.array.reads_more_than(region)
    }

    fn is_uniform(&self, region: &Region) -> bool {
        self.array.is_uniform(region)
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        self.array.cut_shape()
    }

    fn working_bytes(&self, region: &Region) -> u64 {
        self.array.working_bytes(region)
    }

    fn decode(&self, region: &Region, fetched: Fetched, context: &ReadContext) -> Result<Block> {
        self.array.decode(region, fetched, context)
    }
}
