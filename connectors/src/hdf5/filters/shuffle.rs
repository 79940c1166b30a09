//! The inverse of HDF5's byte shuffle: the first bytes of all elements, then the second ones, …

/// Elements whose bytes are gathered together while they are in the nearest cache.
const BATCH: usize = 256;

/// Undoes the shuffle of elements of `width` bytes. Both buffers have the same length; bytes after
/// the last whole element are as they were.
pub fn undo(shuffled: &[u8], width: usize, out: &mut [u8]) {
    debug_assert_eq!(shuffled.len(), out.len());
    match width {
        0 | 1 => out.copy_from_slice(shuffled),
        2 => undo_of::<2>(shuffled, out),
        4 => undo_of::<4>(shuffled, out),
        8 => undo_of::<8>(shuffled, out),
        _ => {
            let count = out.len() / width;
            for (place, plane) in shuffled.chunks_exact(count.max(1)).take(width).enumerate() {
                let bytes = out.iter_mut().skip(place).step_by(width);
                bytes.zip(plane).for_each(|(to, from)| *to = *from);
            }
            let rest = count * width;
            out[rest..].copy_from_slice(&shuffled[rest..]);
        }
    }
}

/// Whole batches have a length that the compiler knows, so that the loop becomes vector code.
fn undo_of<const WIDTH: usize>(shuffled: &[u8], out: &mut [u8]) {
    let count = out.len() / WIDTH;
    let planes: [&[u8]; WIDTH] =
        std::array::from_fn(|place| &shuffled[place * count..(place + 1) * count]);
    let (elements, rest) = out.as_chunks_mut::<WIDTH>();
    rest.copy_from_slice(&shuffled[count * WIDTH..]);
    let (batches, left) = elements.as_chunks_mut::<BATCH>();
    let whole = batches.len() * BATCH;
    for (number, batch) in batches.iter_mut().enumerate() {
        let bytes: [&[u8; BATCH]; WIDTH] = std::array::from_fn(|place| {
            planes[place].as_chunks::<BATCH>().0.get(number).unwrap_or(&[0; BATCH])
        });
        for (index, element) in batch.iter_mut().enumerate() {
            *element = std::array::from_fn(|place| bytes[place][index]);
        }
    }
    for (index, element) in left.iter_mut().enumerate() {
        *element = std::array::from_fn(|place| planes[place][whole + index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_rest_comes_back() {
        for width in [1, 2, 3, 4, 8, 12, 16] {
            for length in [0, 1, width, 7 * width + 1, 300 * width, 1111 * width + width - 1] {
                let whole: Vec<u8> = (0..length).map(|index| (index * 7 % 251) as u8).collect();
                let count = length / width;
                let mut shuffled = vec![];
                for place in 0..width {
                    shuffled.extend((0..count).map(|index| whole[index * width + place]));
                }
                shuffled.extend(&whole[count * width..]);
                let mut out = vec![0; length];
                undo(&shuffled, width, &mut out);
                assert_eq!(out, whole, "{length} bytes of width {width}");
            }
        }
    }
}
