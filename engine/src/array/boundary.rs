//! What an array is taken to hold beyond its ends: SciPy's boundary modes, as maps of indices.
//!
//! In: an index that may lie outside, and the axis' length. Out: the index inside that stands for
//! it. A map rather than padding: halos wider than a chunk or than the array, corners, and chains
//! of functions come out right by construction.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// How an array goes on beyond the ends of an axis. Names and meaning are `scipy.ndimage`'s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Boundary {
    /// `d c b a | a b c d | d c b a`
    Reflect,
    /// `d c b | a b c d | c b a`
    Mirror,
    /// `a a a a | a b c d | d d d d`
    Nearest,
    /// `a b c d | a b c d | a b c d`
    Wrap,
    /// `k k k k | a b c d | k k k k`
    Constant(f64),
}

impl Boundary {
    /// The names of the modes, the default first.
    pub const NAMES: [&'static str; 5] = ["reflect", "mirror", "nearest", "wrap", "constant"];

    /// The mode called `name`; `cval` is the value of a constant one.
    ///
    /// # Errors
    /// `Plan` for an unknown name.
    pub fn named(name: &str, cval: f64) -> Result<Self> {
        match name.parse::<Self>()? {
            Self::Constant(_) => Ok(Self::Constant(cval)),
            mode => Ok(mode),
        }
    }

    /// The index inside `0..length` that stands for `index`; `None` for the constant. `length` is
    /// not zero.
    pub fn index(self, index: i128, length: u64) -> Option<u64> {
        let length = i128::from(length);
        let inside = match self {
            _ if (0..length).contains(&index) => index,
            Self::Constant(_) => return None,
            Self::Nearest => index.clamp(0, length - 1),
            Self::Wrap => index.rem_euclid(length),
            Self::Reflect => {
                let at = index.rem_euclid(2 * length);
                at.min(2 * length - 1 - at)
            }
            Self::Mirror if length == 1 => 0,
            Self::Mirror => {
                let at = index.rem_euclid(2 * length - 2);
                at.min(2 * length - 2 - at)
            }
        };
        Some(inside as u64)
    }
}

impl FromStr for Boundary {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "reflect" | "grid-mirror" => Self::Reflect,
            "mirror" => Self::Mirror,
            "nearest" => Self::Nearest,
            "wrap" | "grid-wrap" => Self::Wrap,
            "constant" | "grid-constant" => Self::Constant(0.0),
            _ => {
                return Err(Error::plan(format!(
                    "no boundary mode '{name}'; the modes are {}",
                    Self::NAMES.join(", ")
                )));
            }
        })
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reflect => f.write_str("reflect"),
            Self::Mirror => f.write_str("mirror"),
            Self::Nearest => f.write_str("nearest"),
            Self::Wrap => f.write_str("wrap"),
            Self::Constant(value) => write!(f, "constant {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands at the indices `-range..length + range` of `abcd`.
    fn extended(mode: Boundary, text: &str, range: i128) -> String {
        let letters: Vec<char> = text.chars().collect();
        let length = letters.len() as u64;
        (-range..i128::from(length) + range)
            .map(|index| mode.index(index, length).map_or('k', |at| letters[at as usize]))
            .collect()
    }

    #[test]
    fn the_modes_go_on_as_scipy_documents_them() {
        assert_eq!(extended(Boundary::Reflect, "abcd", 4), "dcbaabcddcba");
        assert_eq!(extended(Boundary::Mirror, "abcd", 3), "dcbabcdcba");
        assert_eq!(extended(Boundary::Nearest, "abcd", 3), "aaaabcdddd");
        assert_eq!(extended(Boundary::Wrap, "abcd", 5), "dabcdabcdabcda");
        assert_eq!(extended(Boundary::Constant(0.0), "abcd", 2), "kkabcdkk");
    }

    #[test]
    fn an_axis_of_one_element_goes_on_with_it() {
        for mode in [Boundary::Reflect, Boundary::Mirror, Boundary::Nearest, Boundary::Wrap] {
            assert_eq!(extended(mode, "a", 3), "aaaaaaa");
        }
    }

    #[test]
    fn an_unknown_mode_is_answered_with_the_known_ones() {
        let error = Boundary::named("refect", 0.0).unwrap_err().to_string();
        assert!(error.contains("reflect, mirror, nearest, wrap, constant"), "{error}");
        assert_eq!(Boundary::named("Constant", 2.5).unwrap(), Boundary::Constant(2.5));
    }
}
