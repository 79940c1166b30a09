//! Limits of a scale: the values that become the first and the last colour.
//!
//! In: pixels, NaN and infinities among them, which are left out. Out: two values. zscale is IRAF's,
//! as `astropy.visualization.ZScaleInterval` computes it with its defaults; percentiles are NumPy's
//! (`numpy.percentile`, linear).

/// Pixels that zscale looks at.
const SAMPLES: usize = 1000;
/// How much of the slope of the sorted samples is shown.
const CONTRAST: f64 = 0.25;
/// If more samples than this part are rejected, the limits are the smallest and the largest.
const REJECTED_MAX: f64 = 0.5;
const SAMPLES_MIN: usize = 5;
/// Deviations from the line beyond which samples are rejected.
const SIGMAS: f64 = 2.5;
const ITERATIONS_MAX: usize = 5;
/// Neighbours of a rejected sample that are rejected with it, as a part of all.
const GROWN: f64 = 0.01;

/// How limits are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limits {
    /// The smallest and the largest value.
    MinMax,
    /// IRAF's zscale.
    Zscale,
    /// These values.
    Values(f64, f64),
    /// Percentiles of the values.
    Percentiles(f64, f64),
}

impl Limits {
    /// The limits that a text means; none if it means none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "minmax" => return Some(Self::MinMax),
            "zscale" => return Some(Self::Zscale),
            _ => {}
        }
        let (low, high) = text.split_once(',')?;
        let (low, high) = (low.trim(), high.trim());
        let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
        match (low.strip_prefix('p'), high.strip_prefix('p')) {
            (Some(low), Some(high)) => {
                let (low, high) = (number(low)?, number(high)?);
                (0.0 <= low && low < high && high <= 100.0).then_some(Self::Percentiles(low, high))
            }
            _ => {
                let (low, high) = (number(low)?, number(high)?);
                (low < high).then_some(Self::Values(low, high))
            }
        }
    }

    /// The limits for these pixels; 0 and 1 if none is a number.
    pub fn of(self, pixels: &[f32]) -> (f64, f64) {
        let finite = || pixels.iter().copied().filter(|pixel| pixel.is_finite());
        let limits = match self {
            Self::Values(low, high) => Some((low, high)),
            Self::MinMax => min_max(finite()),
            Self::Percentiles(low, high) => {
                let mut values: Vec<f32> = finite().collect();
                let mut at = |part| percentile(&mut values, part);
                at(low).zip(at(high))
            }
            Self::Zscale => {
                let stride = (finite().count() / SAMPLES).max(1);
                zscale(finite().step_by(stride).take(SAMPLES).map(f64::from).collect())
            }
        };
        limits.unwrap_or((0.0, 1.0))
    }
}

fn min_max(values: impl Iterator<Item = f32>) -> Option<(f64, f64)> {
    let widen = |(low, high): (f32, f32), value: f32| (low.min(value), high.max(value));
    let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), widen);
    (low <= high).then_some((low.into(), high.into()))
}

fn percentile(values: &mut [f32], part: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let at = part / 100.0 * last as f64;
    let below = at.floor() as usize;
    let (_, low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let low = f64::from(*low);
    let high = above.iter().copied().min_by(f32::total_cmp).map_or(low, f64::from);
    Some(low + (high - low) * (at - below as f64))
}

fn zscale(mut samples: Vec<f64>) -> Option<(f64, f64)> {
    samples.sort_by(f64::total_cmp);
    let count = samples.len();
    let (smallest, largest) = (*samples.first()?, *samples.last()?);
    let good_min = SAMPLES_MIN.max((count as f64 * REJECTED_MAX) as usize);
    let mut bad = vec![false; count];
    let (mut good, mut good_before, mut slope) = (count, count + 1, 0.0);
    for _ in 0..ITERATIONS_MAX {
        if good >= good_before || good < good_min {
            break;
        }
        let (slope_now, intercept) = fit_line(&samples, &bad);
        slope = slope_now;
        let flat: Vec<f64> = samples
            .iter()
            .enumerate()
            .map(|(at, sample)| sample - (intercept + slope * at as f64))
            .collect();
        let threshold = SIGMAS * deviation(&flat, &bad);
        for (bad, flat) in bad.iter_mut().zip(&flat) {
            *bad |= flat.abs() > threshold;
        }
        bad = grow(&bad, ((count as f64 * GROWN) as usize).max(1));
        good_before = good;
        good = bad.iter().filter(|bad| !**bad).count();
    }
    if good < good_min {
        return Some((smallest, largest));
    }
    let slope = slope / CONTRAST;
    let middle = (count - 1) / 2;
    let median = (samples[middle] + samples[count / 2]) / 2.0;
    let low = median - (middle as f64 - 1.0) * slope;
    let high = median + (count - middle) as f64 * slope;
    Some((smallest.max(low), largest.min(high)))
}

/// Slope and intercept of the line through the samples that are not bad, by least squares.
fn fit_line(samples: &[f64], bad: &[bool]) -> (f64, f64) {
    let good = || samples.iter().enumerate().zip(bad).filter(|(_, bad)| !**bad);
    let points = || good().map(|((at, sample), _)| (at as f64, *sample));
    let count = points().count().max(1) as f64;
    let mean_at = points().map(|(at, _)| at).sum::<f64>() / count;
    let mean = points().map(|(_, sample)| sample).sum::<f64>() / count;
    let products = points().map(|(at, sample)| (at - mean_at) * (sample - mean)).sum::<f64>();
    let squares = points().map(|(at, _)| (at - mean_at) * (at - mean_at)).sum::<f64>();
    let slope = if squares > 0.0 { products / squares } else { 0.0 };
    (slope, mean - slope * mean_at)
}

fn deviation(values: &[f64], bad: &[bool]) -> f64 {
    let good = || values.iter().zip(bad).filter(|(_, bad)| !**bad).map(|(value, _)| *value);
    let count = good().count().max(1) as f64;
    let mean = good().sum::<f64>() / count;
    (good().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt()
}

/// Bad are also the neighbours of a bad one, as `numpy.convolve(…, mode='same')` spreads it over
/// `length`.
fn grow(bad: &[bool], length: usize) -> Vec<bool> {
    let after = (length - 1) / 2;
    let before = length - 1 - after;
    let window = |at: usize| at.saturating_sub(before)..bad.len().min(at + after + 1);
    (0..bad.len()).map(|at| bad[window(at)].contains(&true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the linear congruential generator of the C standard's example, as noise around
    /// 110 with a bright pixel in 37.
    fn pixels(count: usize) -> Vec<f32> {
        let mut state = 1_u64;
        let mut next = || {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            state
        };
        let mut pixel = || {
            let (a, b, bright) = (next(), next(), next() % 37 == 0);
            let value = 100.0 + (a % 1000 + b % 1000) as f64 / 100.0;
            (if bright { value * 50.0 } else { value }) as f32
        };
        (0..count).map(|_| pixel()).collect()
    }

    fn near(found: (f64, f64), low: f64, high: f64) {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * b.abs();
        assert!(near(found.0, low) && near(found.1, high), "{found:?}, expected {low}, {high}");
    }

    /// Expected: `ZScaleInterval().get_limits` of astropy 8.0.2.
    #[test]
    fn zscale_is_astropys() {
        near(Limits::Zscale.of(&pixels(3)), 111.37, 112.55);
        near(Limits::Zscale.of(&pixels(50)), 100.81, 117.39);
        near(Limits::Zscale.of(&pixels(5000)), 100.17, 138.10213578026952);
        let mut holes = pixels(5000);
        holes.iter_mut().step_by(7).for_each(|pixel| *pixel = f32::NAN);
        near(Limits::Zscale.of(&holes), 100.23, 137.55168408540908);
    }

    /// Expected: `numpy.percentile`.
    #[test]
    fn percentiles_are_numpys() {
        let limits = Limits::Percentiles(1.0, 99.0);
        near(limits.of(&pixels(3)), 111.37560272, 112.53200302);
        near(limits.of(&pixels(50)), 101.3294001, 117.28219879);
        near(limits.of(&pixels(5000)), 101.3698027, 5561.54);
    }

    #[test]
    fn limits_without_a_number_are_0_and_1() {
        for limits in [Limits::MinMax, Limits::Zscale, Limits::Percentiles(0.0, 100.0)] {
            assert_eq!(limits.of(&[f32::NAN, f32::INFINITY]), (0.0, 1.0));
            assert_eq!(limits.of(&[f32::NAN, 3.0, f32::INFINITY]), (3.0, 3.0));
        }
    }

    #[test]
    fn limits_are_two_numbers_the_smaller_first() {
        assert_eq!(Limits::parse("-1, 2.5"), Some(Limits::Values(-1.0, 2.5)));
        assert_eq!(Limits::parse("p0.5,p99.5"), Some(Limits::Percentiles(0.5, 99.5)));
        for wrong in ["", "1", "2,1", "1,1", "p1,99", "p1,p101", "p-1,p50", "nan,1", "1,inf", "a,b"]
        {
            assert_eq!(Limits::parse(wrong), None, "{wrong}");
        }
    }
}
