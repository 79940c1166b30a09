//! Names intervals exactly as `pandas.cut` prints them: `[0.0, 0.333)`.
//!
//! pandas rounds the edges to three digits after the point (three significant ones below 1), takes
//! more digits if two edges would look alike, and prints integers as integers. Where its rounding
//! overflows (edges near the ends of the f64 range) it prints `inf` or fails; here the edge stays
//! as it is.

use super::bins::Closed;

const DIGITS_MIN: i32 = 3;
const DIGITS_MAX: i32 = 19;

/// The names of the intervals between neighbouring integer edges.
pub fn of_integers(edges: &[i64], closed: Closed) -> Vec<String> {
    intervals(&edges.iter().map(i64::to_string).collect::<Vec<_>>(), closed)
}

/// The names of the intervals between neighbouring floating-point edges.
pub fn of_floats(edges: &[f64], closed: Closed) -> Vec<String> {
    let rounded = |digits| edges.iter().map(|edge| round(*edge, digits)).collect::<Vec<_>>();
    let all_differ = |edges: &Vec<f64>| edges.windows(2).all(|pair| pair[0] != pair[1]);
    let shown = (DIGITS_MIN..=DIGITS_MAX)
        .map(rounded)
        .find(all_differ)
        .unwrap_or_else(|| rounded(DIGITS_MIN));
    intervals(&shown.into_iter().map(python_repr).collect::<Vec<_>>(), closed)
}

fn intervals(edges: &[String], closed: Closed) -> Vec<String> {
    let name = |pair: &[String]| match closed {
        Closed::Left => format!("[{}, {})", pair[0], pair[1]),
        Closed::Right => format!("({}, {}]", pair[0], pair[1]),
    };
    edges.windows(2).map(name).collect()
}

/// pandas' `_round_frac`: `digits` after the point, or as many significant ones below 1.
fn round(edge: f64, digits: i32) -> f64 {
    if !edge.is_finite() || edge == 0.0 {
        return edge;
    }
    let digits = match edge.trunc() {
        0.0 => digits - 1 - libm::log10(edge.abs()).floor() as i32,
        _ => digits,
    };
    let Ok(scale) = format!("1e{digits}").parse::<f64>() else { return edge };
    let rounded = (edge * scale).round_ties_even() / scale;
    if rounded.is_finite() { rounded } else { edge }
}

/// The shortest text that reads back as `value`, in Python's notation.
fn python_repr(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let text = format!("{value:?}");
    match text.split_once('e') {
        None => halves_to_even(value, text),
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
    }
}

/// Of two shortest texts that are equally near Python takes the one that ends in an even digit.
fn halves_to_even(value: f64, shortest: String) -> String {
    let decimals = shortest.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let rounded = format!("{value:.decimals$}");
    if rounded.parse() == Ok(value) { rounded } else { shortest }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line is what pandas 3.1.1 prints for `pandas.cut(right=False)`.
    #[test]
    fn floats_look_as_in_pandas() {
        let inf = f64::INFINITY;
        let cases: &[(&[f64], &[&str])] = &[
            (&[0.0, 0.5, 1.0], &["[0.0, 0.5)", "[0.5, 1.0)"]),
            (&[3000.0, 4000.0], &["[3000.0, 4000.0)"]),
            (&[0.00012345, 0.5], &["[0.000123, 0.5)"]),
            (&[1.23456, 2.34567], &["[1.235, 2.346)"]),
            (&[1.2341, 1.2342, 1.2343], &["[1.2341, 1.2342)", "[1.2342, 1.2343)"]),
            (&[1e16, 1e17], &["[1e+16, 1e+17)"]),
            (&[1e-5, 1e-3], &["[1e-05, 0.001)"]),
            (&[-inf, 0.0, inf], &["[-inf, 0.0)", "[0.0, inf)"]),
            (&[1.0 / 3.0, 2.0 / 3.0, 1.0], &["[0.333, 0.667)", "[0.667, 1.0)"]),
            (&[123456.789123, 200000.0], &["[123456.789, 200000.0)"]),
            (&[1e15 + 0.3, 1e16], &["[1000000000000000.2, 1e+16)"]),
            (&[-0.001234, 0.001234], &["[-0.00123, 0.00123)"]),
            (&[0.1 + 0.2, 0.4], &["[0.3, 0.4)"]),
            (&[999.9996, 1000.5], &["[1000.0, 1000.5)"]),
            (&[0.99996, 1.5], &["[1.0, 1.5)"]),
            (&[1.0, 2.0005], &["[1.0, 2.001)"]),
            (&[1.0, 2.0025], &["[1.0, 2.002)"]),
            (&[1.0000000001, 1.0000000002], &["[1.0000000001, 1.0000000002)"]),
            (&[1.0, 1.0000000000000002], &["[1.0, 1.0000000000000002)"]),
        ];
        for (edges, names) in cases {
            assert_eq!(of_floats(edges, Closed::Left), *names, "edges {edges:?}");
        }
    }

    #[test]
    fn an_edge_that_cannot_be_rounded_stays() {
        assert_eq!(of_floats(&[1e300, 1e308], Closed::Left), ["[1e+300, 1e+308)"]);
        assert_eq!(of_floats(&[5e-324, 1.0], Closed::Left), ["[5e-324, 1.0)"]);
    }

    #[test]
    fn integers_stay_integers() {
        assert_eq!(of_integers(&[-1, 0, 3000], Closed::Left), ["[-1, 0)", "[0, 3000)"]);
        assert_eq!(of_integers(&[3000, 4000], Closed::Right), ["(3000, 4000]"]);
    }
}
