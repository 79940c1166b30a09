//! The weights of a Gaussian and of its derivatives.
//!
//! In: a deviation in elements, an order and a radius. Out: weights as SciPy's `_gaussian_kernel1d`
//! gives them, in an order for convolution; `gaussian_filter1d` reverses them for `correlate1d`, as
//! [`gaussian_taps`] does already. The exponential function is that of the crate `libm` and not the
//! platform's, so that weights are the same bits on any machine.

use std::iter;

/// The `2 * radius + 1` weights of a Gaussian's derivative of an order, for [`correlate1d`].
///
/// Order 0 is the Gaussian itself, with a sum of 1. `sigma` must be positive; at a radius of 0 it is
/// of no effect. Source: SciPy's `_gaussian_kernel1d`, operation by operation, with NumPy's pairwise
/// sum, reversed.
///
/// [`correlate1d`]: super::correlate::correlate1d
pub fn gaussian_taps(sigma: f64, order: usize, radius: usize) -> Vec<f64> {
    let variance = sigma * sigma;
    let distances: Vec<f64> = (0..=2 * radius).map(|index| index as f64 - radius as f64).collect();
    let mut weights: Vec<f64> =
        distances.iter().map(|x| libm::exp(-0.5 / variance * (x * x))).collect();
    let total = pairwise_sum(&weights);
    weights.iter_mut().for_each(|weight| *weight /= total);
    if order > 0 {
        let polynomial = derivative_polynomial(variance, order);
        for (weight, x) in weights.iter_mut().zip(&distances) {
            let powers = iter::successors(Some(1.0), |power| Some(power * x));
            *weight *= powers.zip(&polynomial).map(|(power, factor)| power * factor).sum::<f64>();
        }
    }
    weights.reverse();
    weights
}

/// The radius of a Gaussian that is cut at `truncate` deviations, as SciPy rounds it.
pub fn gaussian_radius(sigma: f64, truncate: f64) -> usize {
    (truncate * sigma + 0.5) as usize
}

/// The factors of the powers of x by which a derivative differs from the Gaussian itself.
fn derivative_polynomial(variance: f64, order: usize) -> Vec<f64> {
    let mut factors = vec![0.0; order + 1];
    factors[0] = 1.0;
    for _ in 0..order {
        // (q g)' = (q' - x q / variance) g
        factors = (0..=order)
            .map(|power| {
                let from_below =
                    if power > 0 { factors[power - 1] * (1.0 / -variance) } else { 0.0 };
                let from_above =
                    factors.get(power + 1).map_or(0.0, |factor| factor * (power + 1) as f64);
                from_below + from_above
            })
            .collect();
    }
    factors
}

/// The sum in NumPy's order: eight at a time up to 128 elements, halves above.
fn pairwise_sum(values: &[f64]) -> f64 {
    if values.len() < 8 {
        return values.iter().sum();
    }
    if values.len() > 128 {
        let half = values.len() / 2;
        let half = half - half % 8;
        return pairwise_sum(&values[..half]) + pairwise_sum(&values[half..]);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = eights[0];
    for eight in &eights[1..] {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let whole = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(whole, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) -> bool {
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-15 * b.abs().max(1e-3))
    }

    #[test]
    fn weights_are_those_of_scipy() {
        // scipy.ndimage._filters._gaussian_kernel1d(1.0, order, 2), reversed.
        let smooth = [
            0.05448868454964294,
            0.24420134200323332,
            0.4026199468942474,
            0.24420134200323332,
            0.05448868454964294,
        ];
        assert!(close(&gaussian_taps(1.0, 0, 2), &smooth));
        let slope: Vec<f64> =
            smooth.iter().zip([-2.0, -1.0, 0.0, 1.0, 2.0]).map(|(a, b)| a * b).collect();
        assert!(close(&gaussian_taps(1.0, 1, 2), &slope));
        let bend: Vec<f64> =
            smooth.iter().zip([3.0, 0.0, -1.0, 0.0, 3.0]).map(|(a, b)| a * b).collect();
        assert!(close(&gaussian_taps(1.0, 2, 2), &bend));
    }

    #[test]
    fn the_radius_is_rounded() {
        assert_eq!(gaussian_radius(2.0, 4.0), 8);
        assert_eq!(gaussian_radius(0.5, 3.5), 2);
        assert_eq!(gaussian_radius(0.1, 4.0), 0);
        assert_eq!(gaussian_taps(0.1, 0, 0), [1.0]);
    }

    #[test]
    fn weights_mirror_each_other_exactly() {
        for order in 0..5 {
            let weights = gaussian_taps(1.7, order, 90);
            let sign = if order % 2 == 0 { 1.0 } else { -1.0 };
            assert!(weights.iter().zip(weights.iter().rev()).all(|(a, b)| *a == sign * b));
        }
    }
}
