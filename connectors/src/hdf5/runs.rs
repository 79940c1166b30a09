//! Cuts a box of stored elements into runs of bytes that lie side by side.
//!
//! In: where a box lies in what is stored, and where it goes. Out: runs to read. Boxes of short runs
//! are widened first, so that one read takes many of them.

use almagest_engine::array::Region;

/// Runs shorter than this are worth reading together with what lies between them.
const RUN_BYTES_MIN: u64 = 4 << 10;
/// Widening stops here.
const WIDE_BYTES_MAX: u64 = 4 << 20;

/// A run of elements: where it is stored, where it goes, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Elements before it in what is stored.
    pub from: u64,
    /// Elements before it where it goes.
    pub to: u64,
    /// Elements.
    pub count: u64,
}

/// Calls `visit` for every run of a box that lies at `from` in a stored array of `from_shape` and
/// goes to `to` in one of `to_shape`.
///
/// # Errors
/// Those of `visit`.
pub fn each_run<E>(
    from_shape: &[u64],
    from: &Region,
    to_shape: &[u64],
    to: &Region,
    mut visit: impl FnMut(Run) -> Result<(), E>,
) -> Result<(), E> {
    let lengths = from.shape();
    if from.is_empty() {
        return Ok(());
    }
    // The last axes, as long as everything after the first of them is taken whole.
    let mut axis = lengths.len().saturating_sub(1);
    while axis > 0 && lengths[axis] == from_shape[axis] && lengths[axis] == to_shape[axis] {
        axis -= 1;
    }
    let count = lengths[axis..].iter().product();
    let flat = |shape: &[u64], start: &[u64], outer: &[u64]| {
        (0..shape.len()).fold(0, |flat, axis| {
            flat * shape[axis] + start[axis] + outer.get(axis).copied().unwrap_or(0)
        })
    };
    let mut outer = vec![0; axis];
    loop {
        visit(Run {
            from: flat(from_shape, from.start(), &outer),
            to: flat(to_shape, to.start(), &outer),
            count,
        })?;
        let mut next = axis;
        loop {
            if next == 0 {
                return Ok(());
            }
            next -= 1;
            outer[next] += 1;
            if outer[next] < lengths[next] {
                break;
            }
            outer[next] = 0;
        }
    }
}

/// The smallest box around `wanted` whose runs are long enough to be read one by one.
pub fn widen(stored_shape: &[u64], wanted: &Region, element_bytes: usize) -> Region {
    let mut wide = wanted.clone();
    for axis in (1..stored_shape.len()).rev() {
        let run_bytes = wide.shape()[axis..].iter().product::<u64>() * element_bytes as u64;
        let outer: u64 = wide.shape()[..axis].iter().product();
        if run_bytes >= RUN_BYTES_MIN || outer == 1 {
            break;
        }
        let mut ranges: Vec<_> = (0..wide.ndim()).map(|axis| wide.range(axis)).collect();
        ranges[axis] = 0..stored_shape[axis];
        let wider = Region::from_ranges(&ranges);
        if wider.element_count() * element_bytes as u64 > WIDE_BYTES_MAX {
            break;
        }
        wide = wider;
    }
    wide
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn runs(from_shape: &[u64], from: &Region, to_shape: &[u64], to: &Region) -> Vec<Run> {
        let mut found = vec![];
        let keep = |run| {
            found.push(run);
            Ok::<_, Infallible>(())
        };
        each_run(from_shape, from, to_shape, to, keep).unwrap();
        found
    }

    #[test]
    fn whole_rows_are_one_run() {
        let from = Region::from_ranges(&[2..5, 0..8]);
        let found = runs(&[9, 8], &from, &[3, 8], &Region::whole(&[3, 8]));
        assert_eq!(found, [Run { from: 16, to: 0, count: 24 }]);
    }

    #[test]
    fn a_row_that_is_whole_only_where_it_comes_from_is_cut() {
        let from = Region::from_ranges(&[0..2, 0..4]);
        let to = Region::from_ranges(&[1..3, 4..8]);
        let found = runs(&[2, 4], &from, &[3, 8], &to);
        let expected = [Run { from: 0, to: 12, count: 4 }, Run { from: 4, to: 20, count: 4 }];
        assert_eq!(found, expected);
    }

    #[test]
    fn short_runs_are_read_together() {
        let column = Region::from_ranges(&[0..100, 3..4]);
        assert_eq!(widen(&[100, 16], &column, 4), Region::whole(&[100, 16]));
        let long = Region::from_ranges(&[0..100, 0..4096]);
        assert_eq!(widen(&[100, 8192], &long, 4), long);
        let far = Region::from_ranges(&[0..8192, 3..4]);
        assert_eq!(widen(&[8192, 8192], &far, 4), far);
    }
}
