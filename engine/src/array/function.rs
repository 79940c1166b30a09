//! A function of arrays, and the lazy array that it gives.
//!
//! A function says what it needs of its inputs for a region of its output ([`ArrayFunction::
//! footprint`]) and computes that region from it. Nothing else is known of it: any slice of any
//! chain of functions is pushed to the stored arrays by asking each for its footprint, and nothing
//! whole is ever built. Not here: SQL's names and arguments ([`super::Arguments`]).

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use async_trait::async_trait;

use super::{ArrayMeta, ArraySource, Block, Fetched, ReadContext, Region, Storage, Window};
use crate::{Error, Result};

/// Elements of the greatest window that is held for one box: 2 GiB of DOUBLE.
const WINDOW_ELEMENTS_MAX: u64 = 1 << 28;

/// A function from arrays to an array.
pub trait ArrayFunction: fmt::Debug + fmt::Display + Send + Sync {
    /// What the function gives for arrays like these.
    ///
    /// # Errors
    /// `Plan` if it takes no such arrays.
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta>;

    /// What `region` of the output needs of input number `input`, which is the array `meta`.
    fn footprint(&self, region: &Region, input: usize, meta: &ArrayMeta) -> Window;

    /// Boxes that are computed whole, however small a part of one is asked for.
    fn cut_shape(&self) -> Option<Vec<u64>> {
        None
    }

    /// Boxes of the output that hold the boxes `cut_shape` of an input, which are computed whole.
    fn cut_shape_over(&self, cut_shape: Vec<u64>) -> Vec<u64> {
        cut_shape
    }

    /// Whether all elements of `region`, which has some, are one value whatever the inputs hold.
    fn is_uniform(&self, region: &Region) -> bool {
        let _ = region;
        false
    }

    /// The elements of `region`, row-major, from the windows that [`ArrayFunction::footprint`]
    /// named, row-major each. The same bits come out however the output is cut into regions.
    ///
    /// # Errors
    /// Those of the function.
    fn compute(&self, region: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef>;
}

/// The array that a function makes of others, computed where it is read.
#[derive(Debug)]
pub struct Derived {
    function: Arc<dyn ArrayFunction>,
    inputs: Vec<Arc<dyn ArraySource>>,
    meta: ArrayMeta,
}

impl Derived {
    /// The array that `function` makes of `inputs`.
    ///
    /// # Errors
    /// Those of [`ArrayFunction::output`].
    pub fn try_new(
        function: Arc<dyn ArrayFunction>,
        inputs: Vec<Arc<dyn ArraySource>>,
    ) -> Result<Arc<dyn ArraySource>> {
        let metas: Vec<&ArrayMeta> = inputs.iter().map(|input| input.meta()).collect();
        let meta = function.output(&metas)?;
        Ok(Arc::new(Self { function, inputs, meta }))
    }

    /// For each input what is read of it: how the window lies in it. A window that is too large is
    /// refused before it is laid out.
    fn placed(
        &self,
        region: &Region,
    ) -> impl Iterator<Item = Result<(&Arc<dyn ArraySource>, super::Placed)>> {
        self.inputs.iter().enumerate().map(move |(number, input)| {
            let meta = input.meta();
            let window = self.function.footprint(region, number, meta);
            let count = window.element_count();
            if count > WINDOW_ELEMENTS_MAX {
                return Err(Error::exhausted(format!(
                    "{} needs {count} elements at once for the box {region}; at most \
                     {WINDOW_ELEMENTS_MAX} are held: use a smaller window, or downsample first",
                    self.function
                )));
            }
            Ok((input, window.in_array(&meta.shape)))
        })
    }
}

#[async_trait]
impl ArraySource for Derived {
    fn meta(&self) -> &ArrayMeta {
        &self.meta
    }

    fn select(&self, _: &[usize]) -> Option<Arc<dyn ArraySource>> {
        None
    }

    fn storage(&self) -> Storage {
        let width = self.meta.data_type.primitive_width().unwrap_or(1) as u64;
        Storage {
            stored_type: self.meta.data_type.to_string(),
            layout: "computed".into(),
            compression: String::new(),
            raw_bytes: self.meta.element_count().saturating_mul(width),
            stored_bytes: Some(0),
        }
    }

    fn location(&self) -> String {
        let inputs: Vec<String> = self.inputs.iter().map(|input| input.location()).collect();
        match inputs.as_slice() {
            [] => self.function.to_string(),
            inputs => format!("{} of {}", self.function, inputs.join(", ")),
        }
    }

    /// Inputs are opened as they are fetched.
    async fn open(&self, _: &ReadContext) -> Result<()> {
        Ok(())
    }

    fn is_remote(&self) -> bool {
        self.inputs.iter().any(|input| input.is_remote())
    }

    fn decodes_whole_chunks(&self, _: &Region) -> bool {
        false
    }

    fn is_uniform(&self, region: &Region) -> bool {
        self.function.is_uniform(region)
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        let inputs = self.inputs.iter().filter_map(|input| input.cut_shape());
        let inputs = inputs.map(|shape| self.function.cut_shape_over(shape));
        self.function.cut_shape().into_iter().chain(inputs).max_by_key(|shape| {
            shape.iter().fold(1_u64, |product, length| product.saturating_mul(*length))
        })
    }

    /// A window that is too large to be read counts as more; reading it says why.
    fn reads_more_than(&self, region: &Region) -> bool {
        self.placed(region).any(|placed| {
            let Ok((input, placed)) = placed else { return true };
            let regions = placed.regions();
            regions.len() != 1 || regions[0] != *region || input.reads_more_than(&regions[0])
        })
    }

    /// Without the windows that are too large: these are never read.
    fn working_bytes(&self, region: &Region) -> u64 {
        let inputs = self.placed(region).flatten().map(|(input, placed)| {
            let regions = placed.regions();
            let inside: u64 = regions.iter().map(Region::element_count).sum();
            let beyond = placed.element_count().saturating_sub(inside);
            let beyond = input.meta().bytes_of_elements(beyond);
            let parts = regions.iter().map(|part| input.working_bytes(part));
            parts.fold(beyond, u64::saturating_add)
        });
        inputs.fold(self.meta.bytes_of(region), u64::saturating_add)
    }

    async fn fetch(&self, region: &Region, context: &ReadContext) -> Result<Fetched> {
        let mut wanted = vec![];
        for placed in self.placed(region) {
            let (input, placed) = placed?;
            wanted.extend(placed.regions().into_iter().map(|part| (Arc::clone(input), part)));
        }
        let parts = context.fetch_all(wanted).await?;
        Ok(Fetched { parts, ..Fetched::default() })
    }

    fn decode(&self, region: &Region, fetched: Fetched, context: &ReadContext) -> Result<Block> {
        let mut fetched = fetched.parts.into_iter();
        let mut windows = Vec::with_capacity(self.inputs.len());
        for placed in self.placed(region) {
            let (input, placed) = placed?;
            let mut blocks = vec![];
            for part in placed.regions() {
                blocks.push(context.read(input, &part, fetched.next().unwrap_or_default())?);
            }
            windows.push(placed.gather(&blocks, &input.meta().data_type)?);
        }
        let values = self.function.compute(region, &windows)?;
        if *values.data_type() != self.meta.data_type {
            return Err(Error::bug(format!(
                "{} gave {}, not {}",
                self.function,
                values.data_type(),
                self.meta.data_type
            )));
        }
        Block::try_new(region.clone(), values)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col};

    use super::super::{CountedArray, Fetches, MemoryArray, Operand, expression_array};
    use super::*;

    #[tokio::test]
    async fn inputs_are_fetched_at_once() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
        let array = Arc::new(MemoryArray::try_new(vec!["x".into()], vec![2], values).unwrap());
        let fetches = Arc::new(Fetches::default());
        let input = || -> Arc<dyn ArraySource> {
            Arc::new(CountedArray::new(Arc::clone(&array), &fetches))
        };
        let field = |name| Field::new(name, DataType::Float64, false);
        let schema = Arc::new(Schema::new(vec![field("a"), field("b")]));
        let (a, b) = (col("a", &schema).unwrap(), col("b", &schema).unwrap());
        let sum = binary(a, Operator::Plus, b, &schema).unwrap();
        let operands = vec![Operand::Array(input()), Operand::Array(input())];
        let sum = expression_array(sum, schema, operands, array.meta()).unwrap();
        let context = ReadContext::default();
        let fetched = context.fetch(&sum, &Region::whole(&[2])).await.unwrap();
        assert_eq!(fetched.parts.len(), 2);
        assert_eq!(fetches.most(), 2);
    }
}
