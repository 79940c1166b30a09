//! Colour maps: 256 colours, from few control points.
//!
//! viridis, magma, inferno and plasma are every 16th colour of the tables that S. van der Walt and
//! N. Smith published for matplotlib (CC0); between them colours are interpolated, which departs from
//! the full tables by at most 7 of 255. coolwarm follows K. Moreland, "Diverging Color Maps for
//! Scientific Visualization" (2009), from (59, 76, 192) to (180, 4, 38).

/// A colour map.
#[derive(Debug)]
pub struct Colormap {
    name: &'static str,
    /// Colours at equal distances, as 0xrrggbb.
    points: &'static [u32],
}

const COLORMAPS: [Colormap; 6] = [
    Colormap { name: "gray", points: &[0x000000, 0xffffff] },
    Colormap {
        name: "viridis",
        points: &[
            0x440154, 0x48186a, 0x472d7b, 0x424086, 0x3b528b, 0x33638d, 0x2c728e, 0x26828e,
            0x21908c, 0x1f9f88, 0x27ad81, 0x3ebc74, 0x5cc863, 0x82d34d, 0xaadc32, 0xd5e21a,
            0xfde725,
        ],
    },
    Colormap {
        name: "magma",
        points: &[
            0x000004, 0x0a0822, 0x1d1147, 0x36106b, 0x50127c, 0x691c81, 0x822681, 0x9c2e7f,
            0xb6367a, 0xcf4070, 0xe65164, 0xf46a5c, 0xfb8861, 0xfea571, 0xfec287, 0xfde0a1,
            0xfcfdbf,
        ],
    },
    Colormap {
        name: "inferno",
        points: &[
            0x000004, 0x0b0724, 0x210c4a, 0x3d0965, 0x56106e, 0x70196e, 0x89226a, 0xa32c61,
            0xbb3654, 0xd14545, 0xe35932, 0xf1721e, 0xf98c0a, 0xfcaa0f, 0xf9c932, 0xf2e865,
            0xfcffa4,
        ],
    },
    Colormap {
        name: "plasma",
        points: &[
            0x0d0887, 0x310597, 0x4c02a1, 0x6600a7, 0x7e03a8, 0x9511a1, 0xa92395, 0xbc3587,
            0xcc4678, 0xd9596a, 0xe56b5d, 0xf07f4f, 0xf89441, 0xfdab33, 0xfdc328, 0xf9dd25,
            0xf0f921,
        ],
    },
    Colormap {
        name: "coolwarm",
        points: &[
            0x3b4cc0, 0x4e68d7, 0x6282ea, 0x779af7, 0x8db0fe, 0xa3c2fe, 0xb8d0f9, 0xccd9ee,
            0xdddddd, 0xecd3c6, 0xf5c4ad, 0xf7b194, 0xf49a7b, 0xec7f63, 0xde614c, 0xcb3e38,
            0xb40426,
        ],
    },
];

/// The names that there are.
pub fn names() -> String {
    COLORMAPS.map(|known| known.name).join(", ")
}

/// A colour such as `#ff8000`.
pub fn parse(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok().map(parts)
}

impl Colormap {
    /// The map of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        const KNOWN: &[Colormap] = &COLORMAPS;
        KNOWN.iter().find(|known| known.name == name)
    }

    /// Whether red, green and blue are always the same.
    pub fn is_gray(&self) -> bool {
        self.name == "gray"
    }

    /// So many of its colours, two or more, from the smallest value to the largest.
    pub fn table(&self, count: usize) -> Vec<[u8; 3]> {
        let colour = |level: usize| {
            let at = level as f64 * (self.points.len() - 1) as f64 / (count - 1) as f64;
            let left = (at as usize).min(self.points.len() - 2);
            let (from, to) = (parts(self.points[left]), parts(self.points[left + 1]));
            let between = |part: usize| {
                let (from, to) = (f64::from(from[part]), f64::from(to[part]));
                (from + (to - from) * (at - left as f64)).round() as u8
            };
            [0, 1, 2].map(between)
        };
        (0..count).map(colour).collect()
    }
}

fn parts(colour: u32) -> [u8; 3] {
    let [_, red, green, blue] = colour.to_be_bytes();
    [red, green, blue]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_end_at_their_ends_and_gray_is_the_level() {
        let gray = Colormap::by_name("gray").unwrap().table(256);
        assert!((0..=255).all(|level| gray[level as usize] == [level; 3]));
        let viridis = Colormap::by_name("viridis").unwrap().table(256);
        assert_eq!((viridis[0], viridis[255]), ([68, 1, 84], [253, 231, 37]));
        // matplotlib's viridis(64) is (59, 82, 139)
        assert!(viridis[64].iter().zip([59, 82, 139]).all(|(a, b)| a.abs_diff(b) <= 2));
        let coolwarm = Colormap::by_name("coolwarm").unwrap().table(256);
        assert!(coolwarm[127].iter().all(|part| part.abs_diff(221) <= 2), "{:?}", coolwarm[127]);
        assert!(Colormap::by_name("jet").is_none());
    }

    #[test]
    fn colours_are_six_digits() {
        assert_eq!(parse("#ff8000"), Some([255, 128, 0]));
        assert_eq!([parse("ff8000"), parse("#ff80"), parse("#+f8000")], [None; 3]);
    }
}
