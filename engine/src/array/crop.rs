//! A box of an array, as an array with edges and coordinates of its own.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::{ArrayFunction, ArrayMeta, ArraySource, Derived, Region, Window};
use crate::{Error, Result};

/// The box `region` of an array. What is computed of it sees nothing outside.
///
/// # Errors
/// `Plan` for a box that does not lie in the array.
pub fn crop(input: Arc<dyn ArraySource>, region: &Region) -> Result<Arc<dyn ArraySource>> {
    let whole = Region::whole(&input.meta().shape);
    if *region == whole {
        return Ok(input);
    }
    if region.ndim() != whole.ndim() || !whole.contains(region) {
        return Err(Error::plan(format!(
            "the box {region} does not lie in an array of shape {:?}",
            input.meta().shape
        )));
    }
    Derived::try_new(Arc::new(Crop { region: region.clone() }), vec![input])
}

#[derive(Debug)]
struct Crop {
    region: Region,
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.region)
    }
}

impl ArrayFunction for Crop {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(ArrayMeta { shape: self.region.shape().to_vec(), ..inputs[0].clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        let ranges = (0..region.ndim()).map(|axis| {
            let (range, start) = (region.range(axis), self.region.start()[axis]);
            range.start + start..range.end + start
        });
        Window::of(&Region::from_ranges(&ranges.collect::<Vec<Range<u64>>>()))
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        Ok(Arc::clone(&inputs[0]))
    }
}
