//! Windows of a size on some axes: what most filters take.

use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource, Boundary};

use super::window_stage::{Reach, WINDOW_ELEMENTS_MAX};

/// The window that `size`, `axes`, `origin`, `mode` and `cval` describe: one reach for each axis.
///
/// # Errors
/// `Plan` for arguments that do not fit, or no size.
pub fn of_size(value: &Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Vec<Reach>> {
    let axes = arguments.axes(value.meta().shape.len())?;
    let sizes = arguments.size_per_axis("size", axes.len())?;
    let sizes = sizes.ok_or_else(|| arguments.wrong("size", "a whole number of 1 or more"))?;
    placed(&axes, &sizes, arguments)
}

/// A window of these sizes on these axes, placed by `origin`, `mode` and `cval`.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn placed(axes: &[usize], sizes: &[usize], arguments: &Arguments) -> Result<Vec<Reach>> {
    if sizes.iter().fold(1, |all: usize, size| all.saturating_mul(*size)) > WINDOW_ELEMENTS_MAX {
        let most = format!("at most {WINDOW_ELEMENTS_MAX} elements in all");
        return Err(arguments.wrong("size", &most));
    }
    let origins = arguments.origins(sizes)?;
    let boundaries = arguments.boundaries(axes.len())?;
    let reach = axes.iter().zip(sizes).zip(origins.iter().zip(boundaries));
    Ok(reach
        .map(|((axis, size), (origin, boundary))| Reach::of_size(*axis, *size, *origin, boundary))
        .collect())
}

/// The same windows where `beyond` says what boundaries become.
pub fn beyond(reach: &[Reach], beyond: &dyn Fn(Boundary) -> Boundary) -> Vec<Reach> {
    reach.iter().map(|reach| Reach { boundary: beyond(reach.boundary), ..*reach }).collect()
}
