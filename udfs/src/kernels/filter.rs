//! Neighbourhood filters: each output element is computed from one window of the input.
//!
//! In: a row-major array as a flat slice with its shape, already extended at its borders, so that
//! no window leaves it. Out: one element for each place of the window; along a filtered axis that
//! is `length - size + 1`. Not here: how an array is extended (the boundary modes), where a window
//! is anchored, and which blocks are computed.
//!
//! Invariant: an output element depends on the values of its own window alone, bit for bit; not on
//! where the window lies in the slice nor on the array's shape. So no sum runs along a row, each
//! element's terms are added in one fixed order, and a product is rounded before it is added. A NaN
//! or an infinity reaches exactly the windows that hold it, and a block's result does not depend on
//! how an array was cut into blocks.
//!
//! Invariant: no result depends on the processor. The loops are compiled for several instruction
//! sets, and the best one is chosen at run time ([`vectorised`]).

pub mod correlate;
pub mod element;
pub mod extreme;
pub mod gaussian_taps;
mod lines;
pub mod moments;
pub mod rank;
pub mod structured;
pub mod uniform;

use almagest_engine::vectorised;

/// How many windows of `size` elements lie in `length` elements; none if the size is 0.
pub fn windows_count(length: usize, size: usize) -> usize {
    if size == 0 { 0 } else { (length + 1).saturating_sub(size) }
}

/// The shape of the result of a window of `window` elements along each axis.
pub fn windows_shape(shape: &[usize], window: &[usize]) -> Vec<usize> {
    shape.iter().zip(window).map(|(&length, &size)| windows_count(length, size)).collect()
}
