//! Exact medians and percentiles of unordered values.
//!
//! In: values in any order, in one or more pieces. Out: order statistics, where NaN counts as
//! greater than every number, as in PostgreSQL and DuckDB.

/// A floating-point type.
pub trait Real: Copy + Default + Send + Sync + 'static {
    /// A number that orders as the value does in IEEE 754's total order.
    fn key(self) -> i64;
    /// The same number in double precision.
    fn to_double(self) -> f64;
    /// The nearest number of this type.
    fn from_double(value: f64) -> Self;
}

impl Real for f64 {
    fn key(self) -> i64 {
        let bits = self.to_bits().cast_signed();
        bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
    }
    fn to_double(self) -> f64 {
        self
    }
    fn from_double(value: f64) -> Self {
        value
    }
}

impl Real for f32 {
    fn key(self) -> i64 {
        let bits = self.to_bits().cast_signed();
        i64::from(bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed())
    }
    fn to_double(self) -> f64 {
        f64::from(self)
    }
    fn from_double(value: f64) -> Self {
        value as f32
    }
}

/// The median: the middle value, or the mean of the two in the middle; `None` of nothing.
pub fn median<T: Real>(parts: &[&[T]]) -> Option<T> {
    let count: usize = parts.iter().map(|part| part.len()).sum();
    let middle = count / 2;
    if count % 2 == 1 {
        return ranked(parts, middle, middle).map(|(value, _)| value);
    }
    let (left, right) = ranked(parts, middle.checked_sub(1)?, middle)?;
    Some(T::from_double(mean_of_two(left.to_double(), right.to_double())))
}

/// The value below which the share `fraction` (0 to 1) of the values lies, interpolated between the
/// neighbours as `numpy.percentile` does it; counted from the greatest value if `descending`.
pub fn percentile<T: Real>(parts: &[&[T]], fraction: f64, descending: bool) -> Option<T> {
    let count: usize = parts.iter().map(|part| part.len()).sum();
    let last = count.checked_sub(1)?;
    let position = fraction * last as f64;
    let below = (position.floor() as usize).min(last);
    let weight = position - below as f64;
    let rank = if descending { last - below } else { below };
    if weight == 0.0 || below == last {
        return ranked(parts, rank, rank).map(|(value, _)| value);
    }
    let (from, to) = if descending {
        ranked(parts, rank - 1, rank).map(|(lower, upper)| (upper, lower))?
    } else {
        ranked(parts, rank, rank + 1)?
    };
    Some(T::from_double(interpolate(from.to_double(), to.to_double(), weight)))
}

/// The same of the values that differ.
pub fn percentile_distinct<T: Real>(parts: &[&[T]], fraction: f64, descending: bool) -> Option<T> {
    let mut values = parts.concat();
    values.sort_unstable_by_key(|value| value.key());
    values.dedup_by(|one, other| {
        let (one, other) = (one.to_double(), other.to_double());
        one == other || one.is_nan() && other.is_nan()
    });
    percentile(&[&values], fraction, descending)
}

/// Below so many values they are copied together and partitioned.
const VALUES_SAMPLED_FROM: usize = 1 << 17;
/// How many values are drawn to guess where a rank lies, and how far off the guess may be: four
/// times the deviation of a median's rank among so many.
const SAMPLE_VALUES: usize = 1 << 14;
const SAMPLE_RANKS_OFF: usize = 256;
/// Values looked at before those found among them are copied.
const VALUES_TOGETHER: usize = 1024;

/// The values of two ranks, counted from 0: `upper` is `lower` or the next one. `None` if there are
/// not so many values.
fn ranked<T: Real>(parts: &[&[T]], lower: usize, upper: usize) -> Option<(T, T)> {
    let count: usize = parts.iter().map(|part| part.len()).sum();
    if count >= VALUES_SAMPLED_FROM {
        let (below, mut candidates) = around(parts, count, lower);
        let first = lower.checked_sub(below);
        // Rarely, the guess misses.
        if let Some(first) = first.filter(|first| first + (upper - lower) < candidates.len()) {
            return select(&mut candidates, first, first + (upper - lower));
        }
    }
    select(&mut parts.concat(), lower, upper)
}

fn select<T: Real>(values: &mut [T], lower: usize, upper: usize) -> Option<(T, T)> {
    if upper >= values.len() {
        return None;
    }
    let by_key = |left: &T, right: &T| left.key().cmp(&right.key());
    let (_, value, above) = values.select_nth_unstable_by(lower, by_key);
    let value = *value;
    let next = above.iter().copied().min_by(by_key).filter(|_| upper > lower);
    Some((value, next.unwrap_or(value)))
}

/// Values around a rank, guessed from a sample, and how many lie below all of them.
///
/// The full set is read once and not moved; only some three in a hundred values are copied.
fn around<T: Real>(parts: &[&[T]], count: usize, rank: usize) -> (usize, Vec<T>) {
    let sample = sorted_sample(parts, count);
    let guess = (rank as f64 / count as f64 * sample.len() as f64) as usize;
    let lowest = guess.checked_sub(SAMPLE_RANKS_OFF).map_or(i64::MIN, |place| sample[place]);
    let highest = sample.get(guess + SAMPLE_RANKS_OFF).copied().unwrap_or(i64::MAX);
    let mut below = 0;
    let mut candidates = Vec::with_capacity(count / 16);
    let mut found = [T::default(); VALUES_TOGETHER];
    for block in parts.iter().flat_map(|part| part.chunks(VALUES_TOGETHER)) {
        let mut found_count = 0;
        for value in block {
            let key = value.key();
            below += usize::from(key < lowest);
            found[found_count] = *value;
            found_count += usize::from(key >= lowest && key <= highest);
        }
        candidates.extend_from_slice(&found[..found_count]);
    }
    (below, candidates)
}

/// Keys of values drawn at places that no pattern in the data follows, yet always the same ones.
fn sorted_sample<T: Real>(parts: &[&[T]], count: usize) -> Vec<i64> {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
    const INCREMENT: u64 = 1_442_695_040_888_963_407;
    let stride = count / SAMPLE_VALUES;
    let mut state = INCREMENT;
    let mut sample = Vec::with_capacity(SAMPLE_VALUES);
    let (mut part, mut part_start) = (0, 0);
    for step in 0..SAMPLE_VALUES {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let place = step * stride + (state >> 33) as usize % stride;
        while part < parts.len() && place - part_start >= parts[part].len() {
            part_start += parts[part].len();
            part += 1;
        }
        sample.extend(parts.get(part).map(|values| values[place - part_start].key()));
    }
    sample.sort_unstable();
    sample
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
        assert_eq!(median::<f64>(&[]), None);
        assert_eq!(median::<f64>(&[&[]]), None);
        assert_eq!(median(&[&[3.0]]), Some(3.0));
        assert_eq!(median(&[&[4.0], &[1.0]]), Some(2.5));
        assert_eq!(median(&[&[4.0_f32, 1.0], &[2.0]]), Some(2.0));
        assert_eq!(median(&[&[f64::MAX, f64::MAX]]), Some(f64::MAX));
        assert_eq!(median(&[&[f64::INFINITY, f64::INFINITY]]), Some(f64::INFINITY));
    }

    #[test]
    fn nan_is_greatest() {
        assert_eq!(median(&[&[f64::NAN, 1.0, 2.0]]), Some(2.0));
        assert!(median(&[&[f64::NAN, f64::NAN, 2.0]]).is_some_and(f64::is_nan));
    }

    #[test]
    fn keys_order_as_the_values() {
        let values = [f64::NEG_INFINITY, -2.0, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        assert!(values.is_sorted_by_key(|value| value.key()));
        assert!(values.map(|value| value as f32).is_sorted_by_key(|value| value.key()));
    }

    /// Expected: `numpy.percentile([15, 20, 35, 40, 50], 40)` is 29, of 25 it is 20.
    #[test]
    fn percentile_as_numpy() {
        let values: &[&[f64]] = &[&[40.0, 15.0, 50.0], &[20.0, 35.0]];
        assert_eq!(percentile(values, 0.4, false), Some(29.0));
        assert_eq!(percentile(values, 0.25, false), Some(20.0));
        assert_eq!(percentile(values, 0.6, true), Some(29.0));
        assert_eq!(percentile(values, 0.0, false), Some(15.0));
        assert_eq!(percentile(values, 0.0, true), Some(50.0));
        assert_eq!(percentile(values, 1.0, false), Some(50.0));
        assert_eq!(percentile(values, 1.0, true), Some(15.0));
    }

    /// Every rank of large sets in awkward orders is what sorting gives.
    #[test]
    fn ranks_of_many_are_those_of_the_sorted() {
        let count = 2 * VALUES_SAMPLED_FROM + 3;
        let mixed = |i: usize| (i.wrapping_mul(2_654_435_761) % 1_000_003) as f64 - 5e5;
        let sets: [Vec<f64>; 5] = [
            (0..count).map(mixed).collect(),
            (0..count).map(|i| i as f64).collect(),
            (0..count).map(|i| if i % 16 == 0 { 1.0 } else { -1.0 }).collect(),
            vec![2.5; count],
            (0..count).map(|i| if i % 3 == 0 { f64::NAN } else { mixed(i) }).collect(),
        ];
        for values in sets {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let parts: Vec<&[f64]> = values.chunks(65_536).collect();
            for rank in [0, 1, 300, count / 3, count / 2, count - 400, count - 2] {
                let (lower, upper) = ranked(&parts, rank, rank + 1).unwrap();
                assert_eq!(lower.to_bits(), sorted[rank].to_bits());
                assert_eq!(upper.to_bits(), sorted[rank + 1].to_bits());
            }
            assert!(ranked(&parts, count - 1, count).is_none());
        }
    }
}
