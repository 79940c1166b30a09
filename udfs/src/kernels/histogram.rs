//! Counts values in bins of one width, as `numpy.histogram` does with a range.

/// Bins of one width.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    edges: Vec<f64>,
    bins_per_unit: f64,
}

impl Bins {
    /// `count` bins from `low` to `high`; NumPy's `linspace` gives the edges, and equal bounds are
    /// moved half a unit apart, as NumPy does. `None` unless both are finite, `low` is not above
    /// `high`, and the bins have a width.
    pub fn try_new(low: f64, high: f64, count: usize) -> Option<Self> {
        let (low, high) = if low == high { (low - 0.5, high + 0.5) } else { (low, high) };
        let width = (high - low) / count as f64;
        if !(low < high && width.is_finite() && width > 0.0) {
            return None;
        }
        let mut edges: Vec<f64> = (0..=count).map(|edge| edge as f64 * width + low).collect();
        edges[count] = high;
        Some(Self { edges, bins_per_unit: count as f64 / (high - low) })
    }

    /// How many bins.
    pub fn count(&self) -> usize {
        self.edges.len() - 1
    }

    /// The bin of a value: closed on the left, the last one on both sides. `None` outside, and for
    /// NaN.
    #[inline]
    pub fn of(&self, value: f64) -> Option<usize> {
        let last = self.count() - 1;
        if !(value >= self.edges[0] && value <= self.edges[last + 1]) {
            return None;
        }
        // The quotient may be off by one beside an edge; the edges decide.
        let bin = (((value - self.edges[0]) * self.bins_per_unit) as usize).min(last);
        if value < self.edges[bin] {
            Some(bin - 1)
        } else if bin < last && value >= self.edges[bin + 1] {
            Some(bin + 1)
        } else {
            Some(bin)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bin_is_closed_and_outside_is_nothing() {
        let bins = Bins::try_new(0.0, 10.0, 5).unwrap();
        let found = [-0.1, 0.0, 2.0, 9.9, 10.0, 10.1, f64::NAN, f64::INFINITY];
        let found = found.map(|value| bins.of(value));
        assert_eq!(found, [None, Some(0), Some(1), Some(4), Some(4), None, None, None]);
    }

    #[test]
    fn every_edge_opens_its_bin() {
        let bins = Bins::try_new(0.1, 0.9, 7919).unwrap();
        for (bin, edge) in bins.edges.iter().enumerate().take(7919) {
            assert_eq!(bins.of(*edge), Some(bin));
        }
        for bin in 1..7919 {
            assert_eq!(bins.of(bins.edges[bin].next_down()), Some(bin - 1));
        }
    }

    #[test]
    fn ranges_without_width_are_refused() {
        assert!(Bins::try_new(1.0, 0.0, 3).is_none());
        assert!(Bins::try_new(f64::NAN, 0.0, 3).is_none());
        assert!(Bins::try_new(0.0, f64::INFINITY, 3).is_none());
        assert_eq!(Bins::try_new(1.0, 1.0, 1).unwrap().edges, [0.5, 1.5]);
    }
}
