//! The bytes of a PNG file of 8 bits per pixel: gray, or of a palette.
//!
//! In: positions in a palette. Out: a whole file (PNG Specification, Third Edition, sections 5.2 to
//! 5.6, 11.2 and 11.3.1): one chunk of data, rows unfiltered, since positions in a palette are no
//! quantities. Not here: which colours ([`super::colormap`]).

use almagest_engine::{Error, Result};
use libdeflater::{CompressionLvl, Compressor, Crc};

/// What the positions of an image mean.
pub struct Palette {
    /// Its colours; absent if a position is a level of gray.
    pub colours: Option<Vec<[u8; 3]>>,
    /// The last colour is transparent.
    pub last_is_transparent: bool,
}

/// The file of an image whose `lines` are its rows, a 0 in front of each.
///
/// # Errors
/// `Bug` if the compressor fails.
pub fn encode(height: u32, width: u32, palette: &Palette, lines: &[u8]) -> Result<Vec<u8>> {
    const GRAY: u8 = 0;
    const INDEXED: u8 = 3;
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let kind = if palette.colours.is_some() { INDEXED } else { GRAY };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, kind, 0, 0, 0]].concat();
    chunk(&mut file, b"IHDR", &header);
    if let Some(colours) = &palette.colours {
        chunk(&mut file, b"PLTE", colours.as_flattened());
        if palette.last_is_transparent {
            let mut opacity = vec![u8::MAX; colours.len()];
            opacity.last_mut().into_iter().for_each(|last| *last = 0);
            chunk(&mut file, b"tRNS", &opacity);
        }
    }
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut data = vec![0; compressor.zlib_compress_bound(lines.len())];
    let bytes = compressor
        .zlib_compress(lines, &mut data)
        .map_err(|cause| Error::bug("an image that does not fit its bound").caused_by(cause))?;
    chunk(&mut file, b"IDAT", &data[..bytes]);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    file.extend_from_slice(&(data.len() as u32).to_be_bytes());
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    file.extend_from_slice(&crc.sum().to_be_bytes());
}
