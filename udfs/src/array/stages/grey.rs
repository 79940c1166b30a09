//! Grey erosion and dilation: the stages of which the grey morphology is composed.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource, Boundary};

use super::rank::{Rank, RankKernel};
use super::uniform1d::{Taken, along_axes};
use super::window_stage::{Kernel, Reach, WINDOW_ELEMENTS_MAX, WindowStage};
use crate::kernels::filter::element::Element;
use crate::kernels::filter::rank::rank_nd;
use crate::kernels::filter::structured::extreme_structured;

/// What is laid over each element.
#[derive(Debug)]
pub struct Structure {
    /// Length on each axis.
    window: Vec<usize>,
    origins: Vec<i64>,
    boundaries: Vec<Boundary>,
    footprint: Option<Vec<bool>>,
    heights: Option<Vec<f64>>,
}

impl Structure {
    /// What `size`, `footprint`, `structure`, `mode`, `cval` and `origin` describe.
    ///
    /// # Errors
    /// `Plan` for arguments that do not fit.
    pub fn of(dimensions: usize, arguments: &Arguments) -> Result<Self> {
        let footprint = arguments.nested("footprint", dimensions)?;
        let heights = arguments.nested("structure", dimensions)?;
        let window = match (&heights, &footprint) {
            (Some(heights), Some(footprint)) if heights.shape != footprint.shape => {
                return Err(arguments.wrong("footprint", "of the structure's shape"));
            }
            (Some(given), _) | (None, Some(given)) => given.shape.clone(),
            (None, None) => arguments
                .size_per_axis("size", dimensions)?
                .ok_or_else(|| arguments.wrong("size", "given, or footprint or structure"))?,
        };
        let count = window.iter().fold(1, |all: usize, size| all.saturating_mul(*size));
        if count > WINDOW_ELEMENTS_MAX {
            let most = format!("at most {WINDOW_ELEMENTS_MAX} elements in all");
            return Err(arguments.wrong("size", &most));
        }
        let footprint: Option<Vec<bool>> =
            footprint.map(|given| given.values.iter().map(|place| *place != 0.0).collect());
        if footprint.as_ref().is_some_and(|places| !places.contains(&true)) {
            return Err(arguments.wrong("footprint", "true at one place at least"));
        }
        Ok(Self {
            origins: arguments.origins(&window)?,
            boundaries: arguments.boundaries(dimensions)?,
            footprint: footprint.filter(|places| places.contains(&false)),
            heights: heights.map(|given| given.values),
            window,
        })
    }

    /// The least of the elements under it, each without its height.
    ///
    /// # Errors
    /// `Plan` for elements that are no numbers.
    pub fn erosion(&self, value: Arc<dyn ArraySource>) -> Result<Arc<dyn ArraySource>> {
        let (footprint, heights) = (self.footprint.clone(), self.heights.clone());
        self.extremes(value, &self.origins, footprint, heights, Taken::Least)
    }

    /// The greatest of the elements under what it is turned round, each with its height.
    ///
    /// # Errors
    /// `Plan` for elements that are no numbers.
    pub fn dilation(&self, value: Arc<dyn ArraySource>) -> Result<Arc<dyn ArraySource>> {
        let turned = |(origin, size): (&i64, &usize)| -origin - i64::from(size % 2 == 0);
        let origins: Vec<i64> = self.origins.iter().zip(&self.window).map(turned).collect();
        let footprint = self.footprint.clone().map(|places| places.into_iter().rev().collect());
        let heights = self.heights.clone().map(|heights| heights.into_iter().rev().collect());
        self.extremes(value, &origins, footprint, heights, Taken::Greatest)
    }

    fn extremes(
        &self,
        value: Arc<dyn ArraySource>,
        origins: &[i64],
        footprint: Option<Vec<bool>>,
        heights: Option<Vec<f64>>,
        taken: Taken,
    ) -> Result<Arc<dyn ArraySource>> {
        let sizes = self.window.iter().zip(origins).zip(&self.boundaries).enumerate();
        let reach: Vec<Reach> = sizes
            .map(|(axis, ((size, origin), boundary))| {
                Reach::of_size(axis, *size, *origin, *boundary)
            })
            .collect();
        let window = self.window.clone();
        if let Some(heights) = heights {
            let greatest = taken == Taken::Greatest;
            return WindowStage::over(
                value,
                reach,
                Heights { window, footprint, heights, greatest },
            );
        }
        if footprint.is_none() && !value.meta().nullable {
            return along_axes(value, &reach, taken);
        }
        let rank = Rank::Fixed(if taken == Taken::Least { 0 } else { -1 });
        WindowStage::over(value, reach, RankKernel { window, footprint, rank, ignore_nan: false })
    }
}

#[derive(Debug)]
struct Heights {
    window: Vec<usize>,
    footprint: Option<Vec<bool>>,
    heights: Vec<f64>,
    greatest: bool,
}

impl fmt::Display for Heights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.greatest { "greatest" } else { "least" };
        write!(f, "{name} under a structure of shape {:?}", self.window)
    }
}

impl Kernel for Heights {
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        shape: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>) {
        let footprint = self.footprint.as_deref();
        let (window, heights) = (&self.window, &self.heights);
        let found =
            extreme_structured(values, valid, shape, window, footprint, heights, self.greatest);
        let Some(valid) = valid else { return (found, None) };
        let valid: Vec<u8> = valid.iter().map(|valid| u8::from(*valid)).collect();
        let any = rank_nd(&valid, shape, window, footprint, usize::MAX);
        (found, Some(any.into_iter().map(|valid| valid == 1).collect()))
    }
}
