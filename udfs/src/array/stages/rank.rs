//! The element of a rank in each window: medians, percentiles, extremes.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::window_stage::{Kernel, WINDOW_ELEMENTS_MAX, WindowStage};
use super::windows;
use crate::kernels::filter::element::{Element, holds_nan};
use crate::kernels::filter::rank::{rank_nd, rank_nd_missing};

/// Which rank is taken of `n` elements, counted from 0 at the least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rank {
    /// `n / 2`.
    Median,
    /// `n * p / 100`, rounded down; the last for 100.
    Percentile(f64),
    /// This one, from the last backwards if negative.
    Fixed(i64),
}

impl Rank {
    /// The rank among `n` elements.
    pub fn of(self, n: usize) -> usize {
        match self {
            Self::Median => n / 2,
            Self::Percentile(percent) if percent >= 100.0 => n.saturating_sub(1),
            Self::Percentile(percent) => (n as f64 * percent / 100.0) as usize,
            Self::Fixed(rank) if rank < 0 => n.saturating_sub(rank.unsigned_abs() as usize),
            Self::Fixed(rank) => (rank as usize).min(n.saturating_sub(1)),
        }
    }
}

/// The array of the elements of `rank` in windows that `size` or `footprint` and the other arguments
/// describe. NULL elements are left out, and NaN with `nan => 'ignore'`; else a window with a NaN
/// gives NaN.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn ranked(
    value: Arc<dyn ArraySource>,
    arguments: &Arguments,
    rank: impl FnOnce(usize) -> Result<Rank>,
) -> Result<Arc<dyn ArraySource>> {
    let dimensions = value.meta().shape.len();
    let axes = arguments.axes(dimensions)?;
    let (reach, footprint) = match arguments.nested("footprint", axes.len())? {
        Some(footprint) => {
            let places: Vec<bool> = footprint.values.iter().map(|place| *place != 0.0).collect();
            if !places.contains(&true) {
                return Err(arguments.wrong("footprint", "true at one place at least"));
            }
            (windows::placed(&axes, &footprint.shape, arguments)?, Some(places))
        }
        None => (windows::of_size(&value, arguments)?, None),
    };
    let mut window = vec![1; dimensions];
    for reach in &reach {
        window[reach.axis] = reach.size();
    }
    let count = match &footprint {
        Some(places) => places.iter().filter(|place| **place).count(),
        None => window.iter().fold(1, |product: usize, size| product.saturating_mul(*size)),
    };
    if count > WINDOW_ELEMENTS_MAX {
        return Err(
            arguments.wrong("size", &format!("at most {WINDOW_ELEMENTS_MAX} elements in all"))
        );
    }
    let ignore_nan = arguments.ignores_nan()?;
    WindowStage::over(
        value,
        reach,
        RankKernel { window, footprint, rank: rank(count)?, ignore_nan },
    )
}

/// The element of a rank among those of a window.
#[derive(Debug)]
pub struct RankKernel {
    /// The window's length on each axis of the array.
    pub window: Vec<usize>,
    /// Which places belong to it, or all.
    pub footprint: Option<Vec<bool>>,
    /// Which element is taken.
    pub rank: Rank,
    /// Whether NaN is left out; else a window with a NaN gives NaN.
    pub ignore_nan: bool,
}

impl fmt::Display for RankKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of windows {:?}", self.rank, self.window)
    }
}

impl Kernel for RankKernel {
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        shape: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>) {
        let footprint = self.footprint.as_deref();
        if let (None, false) = (valid, self.ignore_nan) {
            let count = match footprint {
                Some(places) => places.iter().filter(|place| **place).count(),
                None => self.window.iter().product(),
            };
            let rank = self.rank.of(count);
            let mut found = rank_nd(values, shape, &self.window, footprint, rank);
            if rank + 1 < count && holds_nan(values) {
                // NaN is the greatest
                let greatest = rank_nd(values, shape, &self.window, footprint, count - 1);
                spread_nan(&mut found, &greatest);
            }
            return (found, None);
        }
        let counts = |index: usize, value: &T| {
            valid.is_none_or(|valid| valid[index]) && !(self.ignore_nan && is_nan(value))
        };
        let valid: Vec<bool> =
            values.iter().enumerate().map(|(index, value)| counts(index, value)).collect();
        let of = |rank: Rank| {
            let rank = |count| rank.of(count);
            rank_nd_missing(values, &valid, shape, &self.window, footprint, rank)
        };
        let (mut found, any) = of(self.rank);
        if !self.ignore_nan && holds_nan(values) {
            spread_nan(&mut found, &of(Rank::Fixed(-1)).0);
        }
        (found, Some(any))
    }
}

fn is_nan<T: Element>(value: &T) -> bool {
    value.to_double().is_nan()
}

/// Windows whose greatest element is NaN give NaN.
fn spread_nan<T: Element>(found: &mut [T], greatest: &[T]) {
    for (found, greatest) in found.iter_mut().zip(greatest) {
        if is_nan(greatest) {
            *found = *greatest;
        }
    }
}
