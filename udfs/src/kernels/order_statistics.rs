//! Exact medians and percentiles of unordered values.
//!
//! In: values in any order, which these functions may reorder but never change. Out: order
//! statistics, where NaN counts as greater than every number, as in PostgreSQL and DuckDB.

use std::cmp::Ordering;

/// A floating-point type.
pub trait Real: Copy + Default + Send + Sync + 'static {
    /// IEEE 754's total order.
    fn order(&self, other: &Self) -> Ordering;
    /// The same number in double precision.
    fn to_double(self) -> f64;
    /// The nearest number of this type.
    fn from_double(value: f64) -> Self;
}

impl Real for f64 {
    fn order(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
    fn to_double(self) -> f64 {
        self
    }
    fn from_double(value: f64) -> Self {
        value
    }
}

impl Real for f32 {
    fn order(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
    fn to_double(self) -> f64 {
        f64::from(self)
    }
    fn from_double(value: f64) -> Self {
        value as f32
    }
}

/// The median: the middle value, or the mean of the two in the middle; `None` of nothing.
pub fn median<T: Real>(values: &mut [T]) -> Option<T> {
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        return Some(*values.select_nth_unstable_by(middle, T::order).1);
    }
    let (left, right) = neighbours(values, middle.checked_sub(1)?);
    Some(T::from_double(mean_of_two(left.to_double(), right.to_double())))
}

/// The value below which the share `fraction` (0 to 1) of the values lies, interpolated between the
/// neighbours as `numpy.percentile` does it; counted from the greatest value if `descending`.
pub fn percentile<T: Real>(values: &mut [T], fraction: f64, descending: bool) -> Option<T> {
    let last = values.len().checked_sub(1)?;
    let position = fraction * last as f64;
    let below = (position.floor() as usize).min(last);
    let weight = position - below as f64;
    let rank = if descending { last - below } else { below };
    if weight == 0.0 || below == last {
        return Some(*values.select_nth_unstable_by(rank, T::order).1);
    }
    let (from, to) = if descending {
        let (lower, upper) = neighbours(values, rank - 1);
        (upper, lower)
    } else {
        neighbours(values, rank)
    };
    Some(T::from_double(interpolate(from.to_double(), to.to_double(), weight)))
}

/// The values of rank `rank` and `rank + 1`, counted from 0; the latter must exist.
fn neighbours<T: Real>(values: &mut [T], rank: usize) -> (T, T) {
    let (_, lower, above) = values.select_nth_unstable_by(rank, T::order);
    let lower = *lower;
    let upper = above.iter().copied().min_by(T::order).unwrap_or(lower);
    (lower, upper)
}

fn mean_of_two(left: f64, right: f64) -> f64 {
    let sum = left + right;
    if left == right {
        left
    } else if sum.is_finite() {
        sum / 2.0
    } else {
        left / 2.0 + right / 2.0
    }
}

/// NumPy's `_lerp`, but for two equal infinities.
fn interpolate(from: f64, to: f64, weight: f64) -> f64 {
    if from == to {
        from
    } else if weight < 0.5 {
        from + (to - from) * weight
    } else {
        to - (to - from) * (1.0 - weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_few() {
        assert_eq!(median::<f64>(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
        assert_eq!(median(&mut [4.0_f32, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [f64::MAX, f64::MAX]), Some(f64::MAX));
        assert_eq!(median(&mut [f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
    }

    #[test]
    fn nan_is_greatest() {
        assert_eq!(median(&mut [f64::NAN, 1.0, 2.0]), Some(2.0));
        assert!(median(&mut [f64::NAN, f64::NAN, 2.0]).is_some_and(f64::is_nan));
    }

    /// Expected: `numpy.percentile([15, 20, 35, 40, 50], 40)` is 29, of 25 it is 20.
    #[test]
    fn percentile_as_numpy() {
        let values = [40.0, 15.0, 50.0, 20.0, 35.0];
        assert_eq!(percentile(&mut values.clone(), 0.4, false), Some(29.0));
        assert_eq!(percentile(&mut values.clone(), 0.25, false), Some(20.0));
        assert_eq!(percentile(&mut values.clone(), 0.6, true), Some(29.0));
        assert_eq!(percentile(&mut values.clone(), 0.0, false), Some(15.0));
        assert_eq!(percentile(&mut values.clone(), 0.0, true), Some(50.0));
        assert_eq!(percentile(&mut values.clone(), 1.0, false), Some(50.0));
        assert_eq!(percentile(&mut values.clone(), 1.0, true), Some(15.0));
    }
}
