//! Sigma clipping, as `astropy.stats.sigma_clipped_stats` does it by default: centred on the
//! median, with the population deviation about the mean.
//!
//! The values are sorted first. So the answer depends on the values alone, never on their order,
//! and what remains after a step is a contiguous part.

use std::ops::Range;

/// What remains of some values after clipping, in increasing order; never empty.
#[derive(Debug)]
pub struct Clipped {
    sorted: Vec<f64>,
    kept: Range<usize>,
}

impl Clipped {
    /// Drops NaN and infinities, then, until nothing changes or `iterations_max` times (0: no
    /// limit), what is more than `sigma` deviations off the median. `None` if nothing is left.
    pub fn of(values: impl Iterator<Item = f64>, sigma: f64, iterations_max: u64) -> Option<Self> {
        let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        if sorted.is_empty() {
            return None;
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let mut kept = 0..sorted.len();
        let mut iteration = 0;
        let (lower, upper) = loop {
            let part = &sorted[kept.clone()];
            let reach = sigma * deviation(part);
            let centre = middle(part);
            let bounds = (centre - reach, centre + reach);
            let left = within(part, bounds);
            iteration += 1;
            if left.is_empty() || left.len() == part.len() || iteration == iterations_max {
                break bounds;
            }
            kept = kept.start + left.start..kept.start + left.end;
        };
        // As in astropy, the last bounds apply to all values, not only to those still there.
        let kept = within(&sorted, (lower, upper));
        (!kept.is_empty()).then_some(Self { sorted, kept })
    }

    fn values(&self) -> &[f64] {
        &self.sorted[self.kept.clone()]
    }

    /// The mean of what remains.
    pub fn mean(&self) -> f64 {
        mean(self.values())
    }

    /// The median of what remains.
    pub fn median(&self) -> f64 {
        middle(self.values())
    }

    /// The population standard deviation of what remains.
    pub fn stddev(&self) -> f64 {
        deviation(self.values())
    }
}

fn within(sorted: &[f64], (lower, upper): (f64, f64)) -> Range<usize> {
    let start = sorted.partition_point(|value| *value < lower);
    let end = sorted.partition_point(|value| *value <= upper);
    start..end.max(start)
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[half]
    } else {
        let (left, right) = (sorted[half - 1], sorted[half]);
        let sum = left + right;
        if sum.is_finite() { sum / 2.0 } else { left / 2.0 + right / 2.0 }
    }
}

fn mean(values: &[f64]) -> f64 {
    compensated_sum(values.iter().copied()) / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean) * (value - mean));
    (compensated_sum(squares) / values.len() as f64).sqrt()
}

/// Neumaier's sum; an overflow stays infinite.
fn compensated_sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    if lost.is_finite() { sum + lost } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_goes_and_order_does_not_matter() {
        let mut values: Vec<f64> = (0..20).map(|x| f64::from(x) / 10.0).collect();
        values.push(1000.0);
        values.push(f64::NAN);
        values.push(f64::INFINITY);
        let forward = Clipped::of(values.iter().copied(), 3.0, 5).unwrap();
        values.reverse();
        let backward = Clipped::of(values.iter().copied(), 3.0, 5).unwrap();
        assert_eq!(forward.values().len(), 20);
        assert_eq!(forward.mean().to_bits(), backward.mean().to_bits());
        assert_eq!(forward.median(), 0.95);
    }

    #[test]
    fn nothing_finite_leaves_nothing() {
        assert!(Clipped::of([].into_iter(), 3.0, 5).is_none());
        assert!(Clipped::of([f64::NAN, f64::INFINITY].into_iter(), 3.0, 5).is_none());
    }

    #[test]
    fn equal_values_all_stay() {
        let clipped = Clipped::of([2.0; 5].into_iter(), 3.0, 0).unwrap();
        assert_eq!((clipped.mean(), clipped.stddev()), (2.0, 0.0));
    }
}
