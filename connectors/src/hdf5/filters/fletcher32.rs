//! Fletcher's checksum of 32 bits, as HDF5 appends it to a chunk.

use almagest_engine::{Error, Result};

/// Words that can be summed before a sum of 64 bits needs folding is far more; this many keep the
/// sums small enough for one fold.
const BATCH_WORDS: usize = 4096;

/// What stands before the checksum, once that is found right.
///
/// # Errors
/// `DataInvalid`.
pub fn checked(stored: &[u8]) -> Result<&[u8]> {
    let Some((data, sum)) = stored.split_last_chunk::<4>() else {
        return Err(Error::data_invalid("a chunk is too short for its checksum"));
    };
    let (found, expected) = (fletcher32(data), u32::from_le_bytes(*sum));
    // Files of HDF5 before 1.6.3 have the bytes of each half swapped.
    let [a, b, c, d] = found.to_be_bytes();
    if found == expected || u32::from_be_bytes([b, a, d, c]) == expected {
        return Ok(data);
    }
    Err(Error::data_invalid("a chunk's checksum (fletcher32) does not fit its bytes"))
}

/// The sum over big-endian words of 16 bits, as `H5_checksum_fletcher32` computes it.
fn fletcher32(data: &[u8]) -> u32 {
    let (mut low, mut high) = (0_u64, 0_u64);
    let (words, rest) = data.as_chunks::<2>();
    for batch in words.chunks(BATCH_WORDS) {
        // high += n * low + n * w0 + (n - 1) * w1 + … + 1 * w(n-1), without a chain of additions
        let (mut sum, mut weighted) = (0_u64, 0_u64);
        for (index, word) in batch.iter().enumerate() {
            let word = u64::from(u16::from_be_bytes(*word));
            sum += word;
            weighted += word * (batch.len() - index) as u64;
        }
        high = fold(high + low * batch.len() as u64 + weighted);
        low = fold(low + sum);
    }
    if let [last] = rest {
        low = fold(low + (u64::from(*last) << 8));
        high = fold(high + low);
    }
    (fold(high) as u32) << 16 | fold(low) as u32
}

/// Modulo 65535, where 65535 may stand for 0 as in the original.
fn fold(mut sum: u64) -> u64 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

#[cfg(test)]
mod tests {
    use rust_hdf5::format::messages::filter as decoders;

    use super::*;

    #[test]
    fn the_sum_is_that_of_the_other_decoder() {
        let filter = decoders::Filter { id: 3, flags: 0, cd_values: vec![] };
        let pipeline = decoders::FilterPipeline { filters: vec![filter] };
        for length in [1, 2, 3, 720, 721, 8192, 10_001, 70_000] {
            let data: Vec<u8> = (0..length).map(|index| (index * 31 % 253) as u8).collect();
            let stored = decoders::apply_filters(&pipeline, &data).unwrap();
            assert_eq!(checked(&stored).unwrap(), data, "{length} bytes");
            let mut damaged = stored.clone();
            damaged[length / 2] ^= 4;
            assert!(checked(&damaged).is_err(), "{length} bytes");
        }
    }
}
