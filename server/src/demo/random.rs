//! Random numbers that are the same on every machine and for every number of threads.
//!
//! Each piece of the sample draws from a stream of its own, so pieces may be made in any order.
//! The generator is SplitMix64 (Steele, Lea, Flood 2014).

/// One stream.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    second_normal: Option<f64>,
}

impl Random {
    /// The stream with these numbers: what it is for, and which piece.
    pub fn stream(purpose: u64, piece: u64) -> Self {
        Self { state: mix(mix(purpose) ^ piece), second_normal: None }
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number in (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A normal deviate of mean 0 and deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        if let Some(normal) = self.second_normal.take() {
            return normal;
        }
        let radius = (-2.0 * self.unit().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.unit()).sin_cos();
        self.second_normal = Some(radius * sine);
        radius * cosine
    }
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers of SplitMix64 from the state 1234567, as published with it.
        let mut random = Random { state: 1_234_567, second_normal: None };
        let numbers: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn normal_deviates_have_mean_0_and_deviation_1() {
        let mut random = Random::stream(1, 2);
        let count = 100_000;
        let deviates: Vec<f64> = (0..count).map(|_| random.normal()).collect();
        let mean = deviates.iter().sum::<f64>() / f64::from(count);
        let square = deviates.iter().map(|deviate| deviate * deviate).sum::<f64>();
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((square / f64::from(count) - 1.0).abs() < 0.03, "{square}");
    }
}
