//! The element types of the filters.
//!
//! In: a value of one of ten types. Out: the value as a double and back, as SciPy's C code converts
//! it, and as an unsigned key that orders as the value does. Sorting and selecting work on keys:
//! four types instead of ten, and compared without a case for NaN.

use std::fmt::Debug;

mod sealed {
    pub trait Sealed {}
}

/// An unsigned integer that stands for a value when values are put in order.
pub trait Key: Copy + Ord + Default + Debug + Send + Sync + 'static + sealed::Sealed {
    /// How many bytes a key has.
    const BYTES: usize;
    /// The byte at `place`, counted from the lowest.
    fn byte(self, place: usize) -> usize;
}

/// A type of the elements that filters take.
pub trait Element:
    Copy + Default + PartialEq + Debug + Send + Sync + 'static + sealed::Sealed
{
    /// The unsigned integer of the same width.
    type Key: Key;
    /// The value in double precision.
    fn to_double(self) -> f64;
    /// The number in this type: rounded to nearest for a float, cut towards zero for an integer.
    ///
    /// A number out of an integer type's range becomes what SciPy gives on x86-64: 32-bit and
    /// smaller types (but `u32`) go through a 32-bit signed integer, the others through a 64-bit
    /// one, whose lowest value stands for every number out of range and for NaN, and then keep
    /// their low bits. So -1 becomes 255 in `u8`.
    fn from_double(value: f64) -> Self;
    /// A key that orders as the values do, -0 before 0 and every NaN after all numbers.
    fn key(self) -> Self::Key;
    /// A key that orders as the values do, -0 before 0 and every NaN before all numbers.
    fn key_nan_first(self) -> Self::Key;
    /// The value of a key of either order; a NaN if it was one.
    fn from_key(key: Self::Key) -> Self;
}

macro_rules! keys {
    ($($key:ty),*) => {$(
        impl sealed::Sealed for $key {}
        impl Key for $key {
            const BYTES: usize = size_of::<$key>();
            #[inline(always)]
            fn byte(self, place: usize) -> usize {
                (self >> (8 * place)) as usize & 0xff
            }
        }
    )*};
}
keys!(u8, u16, u32, u64);

macro_rules! integers {
    ($($integer:ty, $key:ty, $through:path, $flip:expr;)*) => {$(
        impl Element for $integer {
            type Key = $key;
            #[inline(always)]
            fn to_double(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_double(value: f64) -> Self {
                $through(value) as $integer
            }
            #[inline(always)]
            fn key(self) -> $key {
                self as $key ^ $flip
            }
            #[inline(always)]
            fn key_nan_first(self) -> $key {
                self.key()
            }
            #[inline(always)]
            fn from_key(key: $key) -> Self {
                (key ^ $flip) as $integer
            }
        }
    )*};
}
integers! {
    u8, u8, truncated_32, 0;
    u16, u16, truncated_32, 0;
    u32, u32, truncated_64, 0;
    u64, u64, truncated_64_unsigned, 0;
    i8, u8, truncated_32, 1 << 7;
    i16, u16, truncated_32, 1 << 15;
    i32, u32, truncated_32, 1 << 31;
    i64, u64, truncated_64, 1 << 63;
}
impl sealed::Sealed for i8 {}
impl sealed::Sealed for i16 {}
impl sealed::Sealed for i32 {}
impl sealed::Sealed for i64 {}

/// A float's bits, all turned if it is negative, else the sign's alone.
macro_rules! ordered_bits {
    ($value:expr, $key:ty) => {{
        let bits = $value.to_bits();
        let negative = (bits >> (<$key>::BITS - 1)).wrapping_neg();
        bits ^ (negative | 1 << (<$key>::BITS - 1))
    }};
}

macro_rules! floats {
    ($($float:ty, $key:ty;)*) => {$(
        impl sealed::Sealed for $float {}
        impl Element for $float {
            type Key = $key;
            #[inline(always)]
            fn to_double(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_double(value: f64) -> Self {
                value as $float
            }
            #[inline(always)]
            fn key(self) -> $key {
                if self.is_nan() { <$key>::MAX } else { ordered_bits!(self, $key) }
            }
            #[inline(always)]
            fn key_nan_first(self) -> $key {
                if self.is_nan() { 0 } else { ordered_bits!(self, $key) }
            }
            #[inline(always)]
            fn from_key(key: $key) -> Self {
                let negative = ((key >> (<$key>::BITS - 1)) ^ 1).wrapping_neg();
                let value = <$float>::from_bits(key ^ (negative | 1 << (<$key>::BITS - 1)));
                // one NaN of all: SQL compares bits
                if value.is_nan() { <$float>::NAN } else { value }
            }
        }
    )*};
}
floats! {
    f32, u32;
    f64, u64;
}

/// Whether there is a NaN.
pub fn holds_nan<T: Element>(values: &[T]) -> bool {
    const LANES: usize = 1024;
    let nan = |all: bool, value: &T| all | (value.to_double().is_nan());
    values.chunks(LANES).any(|lanes| lanes.iter().fold(false, nan))
}

#[inline(always)]
fn truncated_32(value: f64) -> i32 {
    if value > -2_147_483_649.0 && value < 2_147_483_648.0 { value as i32 } else { i32::MIN }
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

#[inline(always)]
fn truncated_64(value: f64) -> i64 {
    if (-TWO_TO_63..TWO_TO_63).contains(&value) { value as i64 } else { i64::MIN }
}

#[inline(always)]
fn truncated_64_unsigned(value: f64) -> u64 {
    if value >= TWO_TO_63 {
        truncated_64(value - TWO_TO_63).cast_unsigned() ^ 1 << 63
    } else {
        truncated_64(value).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row was printed by `scipy.ndimage.correlate1d` for the weight alone, over a one.
    #[test]
    fn doubles_become_integers_as_scipy_casts_them() {
        assert_eq!([-1.5, -300.7, 3e9, 7e10].map(u8::from_double), [255, 212, 0, 0]);
        assert_eq!([-1.5, -300.7, 3e9].map(u16::from_double), [65535, 65236, 0]);
        assert_eq!(
            [-1.5, 3e9, -3e9, 7e10, 1e19].map(u32::from_double),
            [4_294_967_295, 3_000_000_000, 1_294_967_296, 1_280_523_264, 0]
        );
        assert_eq!(
            [-1.5, 7e10, 1e19, -1e19, 2e20, f64::NAN].map(u64::from_double),
            [u64::MAX, 70_000_000_000, 10_000_000_000_000_000_000, 1 << 63, 0, 1 << 63]
        );
        assert_eq!([-1.5, -300.7, 3e9].map(i8::from_double), [-1, -44, 0]);
        assert_eq!([-1.5, 3e9, f64::NAN].map(i32::from_double), [-1, i32::MIN, i32::MIN]);
        assert_eq!([-1.5, 7e10, 1e19].map(i64::from_double), [-1, 70_000_000_000, i64::MIN]);
    }

    #[test]
    fn keys_order_as_values_do() {
        let ordered = [f32::NEG_INFINITY, -2.0, -1e-40, -0.0, 0.0, 1e-40, 2.0, f32::INFINITY];
        assert!(ordered.is_sorted_by(|left, right| left.key() < right.key()));
        assert!(ordered.iter().all(|value| f32::from_key(value.key()) == *value));
        assert!([i64::MIN, -1, 0, 1, i64::MAX].is_sorted_by_key(|value| value.key()));
        assert_eq!(i8::from_key((-3_i8).key()), -3);
    }

    #[test]
    fn every_nan_is_at_one_end() {
        for nan in [f64::NAN, -f64::NAN] {
            assert!(nan.key() > f64::INFINITY.key());
            assert!(nan.key_nan_first() < f64::NEG_INFINITY.key_nan_first());
            assert!(f64::from_key(nan.key()).is_nan());
            assert!(f64::from_key(nan.key_nan_first()).is_nan());
        }
    }
}
