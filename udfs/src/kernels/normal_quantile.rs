//! The quantile function of the normal distribution, to about 16 digits: PPND16 of Wichura,
//! "Algorithm AS 241" (Applied Statistics 37, 1988). The logarithm is that of the crate `libm` and not
//! the platform's, so that deviates are the same bits on any machine.

/// Numerator and denominator of a rational function, the coefficient of the highest power first.
type Rational = [[f64; 8]; 2];

/// Where |p - 1/2| is at most [`CENTRE`].
#[rustfmt::skip]
#[allow(clippy::excessive_precision)] // as published
const NEAR: Rational = [
    [
        2.509_080_928_730_122_672_7e3, 3.343_057_558_358_812_810_5e4,
        6.726_577_092_700_870_085_3e4, 4.592_195_393_154_987_145_7e4,
        1.373_169_376_550_946_112_5e4, 1.971_590_950_306_551_442_7e3,
        1.331_416_678_917_843_774_5e2, 3.387_132_872_796_366_608_0,
    ],
    [
        5.226_495_278_852_854_561_0e3, 2.872_908_573_572_194_267_4e4,
        3.930_789_580_009_271_061_0e4, 2.121_379_430_158_659_586_7e4,
        5.394_196_021_424_751_107_7e3, 6.871_870_074_920_579_083_0e2,
        4.231_333_070_160_091_125_2e1, 1.0,
    ],
];
/// Where sqrt(-ln p) is at most [`TAIL`].
#[rustfmt::skip]
#[allow(clippy::excessive_precision)]
const MIDDLE: Rational = [
    [
        7.745_450_142_783_414_076_40e-4, 2.272_384_498_926_918_458_33e-2,
        2.417_807_251_774_506_117_70e-1, 1.270_458_252_452_368_382_58,
        3.647_848_324_763_204_605_04, 5.769_497_221_460_691_405_50,
        4.630_337_846_156_545_295_90, 1.423_437_110_749_683_577_34,
    ],
    [
        1.050_750_071_644_416_843_24e-9, 5.475_938_084_995_344_946_00e-4,
        1.519_866_656_361_645_719_66e-2, 1.481_039_764_274_800_745_90e-1,
        6.897_673_349_851_000_045_50e-1, 1.676_384_830_183_803_849_40,
        2.053_191_626_637_758_821_87, 1.0,
    ],
];
#[rustfmt::skip]
#[allow(clippy::excessive_precision)]
const FAR: Rational = [
    [
        2.010_334_399_292_288_132_65e-7, 2.711_555_568_743_487_578_15e-5,
        1.242_660_947_388_078_438_60e-3, 2.653_218_952_657_612_309_30e-2,
        2.965_605_718_285_048_912_30e-1, 1.784_826_539_917_291_335_80,
        5.463_784_911_164_114_369_90, 6.657_904_643_501_103_777_20,
    ],
    [
        2.044_263_103_389_939_785_64e-15, 1.421_511_758_316_445_888_70e-7,
        1.846_318_317_510_054_681_80e-5, 7.868_691_311_456_132_591_00e-4,
        1.487_536_129_085_061_485_25e-2, 1.369_298_809_227_358_053_10e-1,
        5.998_322_065_558_879_376_90e-1, 1.0,
    ],
];
const CENTRE: f64 = 0.425;
const TAIL: f64 = 5.0;

/// The value below which a normal deviate of mean 0 and deviation 1 lies with this probability,
/// which is above 0 and below 1.
pub fn normal_quantile(probability: f64) -> f64 {
    let offset = probability - 0.5;
    if offset.abs() <= CENTRE {
        return offset * at(&NEAR, CENTRE * CENTRE - offset * offset);
    }
    let tail = if offset < 0.0 { probability } else { 1.0 - probability };
    let root = (-libm::log(tail)).sqrt();
    let deviate = if root <= TAIL { at(&MIDDLE, root - 1.6) } else { at(&FAR, root - TAIL) };
    deviate.copysign(offset)
}

fn at([numerator, denominator]: &Rational, x: f64) -> f64 {
    let value = |coefficients: &[f64; 8]| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    value(numerator) / value(denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy.special.ndtri
        for (probability, expected) in [
            (1e-300, -37.0470962993612),
            (1.1102230246251565e-16, -8.209536151601387),
            (1e-12, -7.034483825301131),
            (1.3e-11, -6.667611456510741),
            (1e-09, -5.9978070150076865),
            (1e-05, -4.264890793922825),
            (0.001, -3.090232306167813),
            (0.0749, -1.4402382675279635),
            (0.0751, -1.4388253927525403),
            (0.2, -0.8416212335729142),
            (0.4999, -0.0002506628300880075),
            (0.5001, 0.0002506628300880075),
            (0.6, 0.2533471031357997),
            (0.9, 1.2815515655446004),
            (0.925, 1.4395314709384563),
            (0.9251, 1.4402382675279635),
            (0.99, 2.3263478740408408),
            (0.999999, 4.753424308817087),
            (0.9999999999999999, 8.209536151601387),
        ] {
            let found = normal_quantile(probability);
            let error = ((found - expected) / expected).abs();
            assert!(error < 4e-15, "{probability}: {found}, not {expected}");
        }
        assert_eq!(normal_quantile(0.5), 0.0);
    }
}
