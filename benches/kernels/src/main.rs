//! Times the filters' inner loops over an image in memory, on two threads: `kernel-speed [SIDE]`.
//!
//! Prints a line for each filter: its name and the median seconds. `filter` is the engine's own code
//! (a link); what is around it here is what the engine does too: windows are gathered from the image
//! with its edges reflected, block by block, and results are laid where they belong.

#[allow(dead_code, clippy::redundant_closure)]
mod filter;

use std::time::Instant;

use filter::{correlate::correlate1d, extreme::extreme1d, gaussian_taps::gaussian_taps};
use filter::{rank::rank_nd, uniform::uniform1d};

/// The engine's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BLOCK: usize = 512;
const RUNS: usize = 5;

/// A filter of a window that reaches `halo` elements beyond each end.
struct Filter {
    name: &'static str,
    halo: usize,
    run: fn(&[f32], [usize; 2]) -> Vec<f32>,
}

fn gaussian(window: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let taps = gaussian_taps(2.0, 0, 8);
    let down = correlate1d(window, &[rows, columns], 0, &taps);
    correlate1d(&down, &[rows - 16, columns], 1, &taps)
}

fn uniform(window: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let down = uniform1d(window, &[rows, columns], 0, 15);
    uniform1d(&down, &[rows - 14, columns], 1, 15)
}

fn maximum(window: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let down = extreme1d(window, &[rows, columns], 0, 15, true);
    extreme1d(&down, &[rows - 14, columns], 1, 15, true)
}

fn median<const SIZE: usize>(window: &[f32], shape: [usize; 2]) -> Vec<f32> {
    rank_nd(window, &shape, &[SIZE, SIZE], None, SIZE * SIZE / 2)
}

const FILTERS: [Filter; 6] = [
    Filter { name: "Gaussian, sigma 2", halo: 8, run: gaussian },
    Filter { name: "median, 3 x 3", halo: 1, run: median::<3> },
    Filter { name: "median, 5 x 5", halo: 2, run: median::<5> },
    Filter { name: "median, 15 x 15", halo: 7, run: median::<15> },
    Filter { name: "uniform, 15 x 15", halo: 7, run: uniform },
    Filter { name: "maximum, 15 x 15", halo: 7, run: maximum },
];

/// The index inside `0..length` for one up to a length outside, reflected at the ends.
fn reflected(index: isize, length: usize) -> usize {
    let end = length as isize;
    (if index < 0 {
        -1 - index
    } else if index >= end {
        2 * end - 1 - index
    } else {
        index
    }) as usize
}

/// The window of a block: its shape is the block's, wider by the halo on each side.
fn gather(image: &[f32], side: usize, top: usize, left: usize, halo: usize) -> Vec<f32> {
    let wide = BLOCK + 2 * halo;
    let mut window = Vec::with_capacity(wide * wide);
    for row in 0..wide {
        let row = reflected((top + row) as isize - halo as isize, side) * side;
        let inside = left >= halo && left + BLOCK + halo <= side;
        if inside {
            window.extend_from_slice(&image[row + left - halo..][..wide]);
        } else {
            let columns = (0..wide).map(|at| (left + at) as isize - halo as isize);
            window.extend(columns.map(|column| image[row + reflected(column, side)]));
        }
    }
    window
}

/// The rows of blocks that begin at `top`.
fn strip(filter: &Filter, image: &[f32], side: usize, top: usize, out: &mut [f32]) {
    let wide = BLOCK + 2 * filter.halo;
    for left in (0..side).step_by(BLOCK) {
        let window = gather(image, side, top, left, filter.halo);
        let found = (filter.run)(&window, [wide, wide]);
        for (row, found) in found.chunks_exact(BLOCK).enumerate() {
            out[row * side + left..][..BLOCK].copy_from_slice(found);
        }
    }
}

fn seconds(filter: &Filter, image: &[f32], side: usize, out: &mut [f32]) -> f64 {
    let started = Instant::now();
    let mut strips: Vec<(usize, &mut [f32])> = out.chunks_mut(BLOCK * side).enumerate().collect();
    let others = strips.split_off(strips.len() / 2);
    std::thread::scope(|scope| {
        for half in [strips, others] {
            scope.spawn(move || {
                for (number, out) in half {
                    strip(filter, image, side, number * BLOCK, out);
                }
            });
        }
    });
    started.elapsed().as_secs_f64()
}

fn main() {
    let side: usize = std::env::args().nth(1).map_or(8192, |side| side.parse().expect("a number"));
    assert!(side % BLOCK == 0 && side > 0, "the side must be a multiple of {BLOCK}");
    let mut seed = 42_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / 1e5 + 200.0
    };
    let image: Vec<f32> = (0..side * side).map(|_| noise()).collect();
    let mut out = vec![0.0; side * side];
    for filter in &FILTERS {
        let mut times: Vec<f64> =
            (0..RUNS).map(|_| seconds(filter, &image, side, &mut out)).collect();
        times.sort_by(f64::total_cmp);
        println!("{}\t{}", filter.name, times[RUNS / 2]);
    }
}
