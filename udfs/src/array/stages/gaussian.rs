//! The Gaussian and its derivatives, as a chain of one correlation for each axis.

use std::sync::Arc;

use almagest_engine::array::{Arguments, ArraySource, Boundary};
use almagest_engine::{Error, Result};

use super::correlate1d::correlated;
use crate::kernels::filter::gaussian_taps::{gaussian_radius, gaussian_taps};

/// Standard deviations below this leave an axis as it is.
const SIGMA_MIN: f64 = 1e-15;
/// Standard deviations at which the Gaussian is cut off.
const TRUNCATE: f64 = 4.0;
/// Radii above this are refused: they take more time than anyone waits.
const RADIUS_MAX: f64 = 100_000.0;
/// Derivatives above this are refused.
const ORDER_MAX: i64 = 20;

/// A Gaussian on some axes.
#[derive(Debug)]
pub struct Gaussian {
    axes: Vec<AxisGaussian>,
}

/// A derivative of the Gaussian: its weights along each axis.
#[derive(Debug)]
pub struct GaussianWeights<'a> {
    along: Vec<(&'a AxisGaussian, Vec<f64>)>,
    is_smoothing: bool,
}

#[derive(Debug)]
struct AxisGaussian {
    axis: usize,
    sigma: f64,
    radius: usize,
    boundary: Boundary,
}

impl Gaussian {
    /// The Gaussian that `sigma`, `truncate`, `radius`, `axes`, `mode` and `cval` describe.
    ///
    /// # Errors
    /// `Plan` for arguments that do not fit.
    pub fn of(dimensions: usize, arguments: &Arguments) -> Result<Self> {
        let axes = arguments.axes(dimensions)?;
        let sigmas = arguments.number_per_axis("sigma", axes.len())?;
        let sigmas = sigmas.ok_or_else(|| arguments.wrong("sigma", "a number"))?;
        let radii = arguments.integer_per_axis("radius", axes.len())?;
        let truncate = arguments.number("truncate")?.unwrap_or(TRUNCATE);
        let boundaries = arguments.boundaries(axes.len())?;
        let mut all = vec![];
        for (place, axis) in axes.iter().enumerate() {
            let sigma = sigmas[place];
            let radius = match &radii {
                Some(radii) => radii[place] as f64,
                None if sigma > SIGMA_MIN => gaussian_radius(sigma, truncate) as f64,
                None => 0.0,
            };
            if !(0.0..=RADIUS_MAX).contains(&radius) {
                return Err(Error::plan(format!(
                    "{}: a radius of {radius} elements; it can be 0 to {RADIUS_MAX}",
                    arguments.function()
                )));
            }
            let boundary = boundaries[place];
            all.push(AxisGaussian { axis: *axis, sigma, radius: radius as usize, boundary });
        }
        Ok(Self { axes: all })
    }

    /// The derivatives that `order` asks for: none without it.
    ///
    /// # Errors
    /// `Plan` for an order that no one takes.
    pub fn orders(&self, arguments: &Arguments) -> Result<Vec<i64>> {
        let orders = arguments.integer_per_axis("order", self.axes.len())?;
        let orders = orders.unwrap_or_else(|| vec![0; self.axes.len()]);
        match orders.iter().all(|order| (0..=ORDER_MAX).contains(order)) {
            true => Ok(orders),
            false => Err(arguments.wrong("order", &format!("0 to {ORDER_MAX}"))),
        }
    }

    /// For each axis the array's derivative of this order along it, smoothed along all axes. As in
    /// SciPy, the axis' own mode holds for all axes of its term.
    ///
    /// # Errors
    /// `Plan` for elements that are no numbers.
    pub fn derivatives(
        &self,
        value: &Arc<dyn ArraySource>,
        order: i64,
    ) -> Result<Vec<Arc<dyn ArraySource>>> {
        let count = self.axes.len();
        let term = |place: usize| {
            let orders: Vec<i64> =
                (0..count).map(|other| if other == place { order } else { 0 }).collect();
            let boundary = self.axes[place].boundary;
            self.weights(&orders).filtered(Arc::clone(value), &|_| boundary)
        };
        (0..count).map(term).collect()
    }

    /// The weights of the derivatives of these orders, one for each axis.
    pub fn weights(&self, orders: &[i64]) -> GaussianWeights<'_> {
        let filtered = self.axes.iter().zip(orders).filter(|(along, _)| along.sigma > SIGMA_MIN);
        let along = filtered.map(|(along, order)| {
            (along, gaussian_taps(along.sigma, *order as usize, along.radius))
        });
        let is_smoothing = orders.iter().all(|order| *order == 0);
        GaussianWeights { along: along.collect(), is_smoothing }
    }
}

impl GaussianWeights<'_> {
    /// What all weights sum to: none if there is a derivative, whose weights sum to nothing but for
    /// what is cut off.
    pub fn total(&self) -> Option<f64> {
        let sums = self.along.iter().map(|(_, weights)| weights.iter().sum::<f64>());
        self.is_smoothing.then(|| sums.product())
    }

    /// The array filtered by them, where `beyond` says what boundaries become.
    ///
    /// # Errors
    /// `Plan` for elements that are no numbers.
    pub fn filtered(
        &self,
        mut value: Arc<dyn ArraySource>,
        beyond: &dyn Fn(Boundary) -> Boundary,
    ) -> Result<Arc<dyn ArraySource>> {
        for (along, weights) in &self.along {
            let (boundary, weights) = (beyond(along.boundary), weights.clone());
            value = correlated(value, along.axis, weights, along.radius, boundary)?;
        }
        Ok(value)
    }
}
