//! Finds the bin of each value between increasing edges.
//!
//! In: values and edges of one type. Out: for each value, how many edges it has passed. Not here:
//! what the bins are called (`interval_labels.rs`), nulls (the functions).

/// Up to so many edges every value is compared with all of them: the loop has no branch that can
/// be mispredicted, and runs in vector registers. Above, a binary search does less work.
const EDGES_COMPARED_WITH_ALL: usize = 24;

/// Values handled together, so that their counts stay in the first-level cache.
const ROWS_TOGETHER: usize = 2048;

/// How a value on an edge counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Bins hold their left edge: an edge is passed by a value equal to it.
    Left,
    /// Bins hold their right edge: an edge is passed only by a value above it.
    Right,
}

/// For each value the number of `edges` it has passed; 0 for NaN. `edges` must be increasing.
pub fn edges_passed<T: PartialOrd + Copy>(values: &[T], edges: &[T], closed: Closed) -> Vec<u32> {
    match closed {
        Closed::Left => count(values, edges, |edge, value| edge <= value),
        Closed::Right => count(values, edges, |edge, value| edge < value),
    }
}

fn count<T: Copy>(values: &[T], edges: &[T], passed: impl Fn(T, T) -> bool) -> Vec<u32> {
    if edges.len() > EDGES_COMPARED_WITH_ALL {
        let search = |value: &T| edges.partition_point(|edge| passed(*edge, *value)) as u32;
        return values.iter().map(search).collect();
    }
    let mut counts = vec![0; values.len()];
    for (counts, values) in counts.chunks_mut(ROWS_TOGETHER).zip(values.chunks(ROWS_TOGETHER)) {
        for edge in edges {
            for (count, value) in counts.iter_mut().zip(values) {
                *count += u32::from(passed(*edge, *value));
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_an_edge_belongs_to_the_closed_side() {
        let values = [0.5, 1.0, 1.5, 2.0, f64::NAN, f64::INFINITY];
        assert_eq!(edges_passed(&values, &[1.0, 2.0], Closed::Left), [0, 1, 1, 2, 0, 2]);
        assert_eq!(edges_passed(&values, &[1.0, 2.0], Closed::Right), [0, 0, 1, 1, 0, 2]);
    }

    #[test]
    fn many_edges_give_what_few_give() {
        let edges: Vec<i64> = (0..100).map(|edge| edge * 3).collect();
        let values: Vec<i64> = (-10..400).collect();
        for closed in [Closed::Left, Closed::Right] {
            let by_search = edges_passed(&values, &edges, closed);
            let by_parts: Vec<u32> = edges.chunks(EDGES_COMPARED_WITH_ALL).fold(
                vec![0; values.len()],
                |mut sums, part| {
                    let counts = edges_passed(&values, part, closed);
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                    sums
                },
            );
            assert_eq!(by_search, by_parts);
        }
    }
}
