//! Compression with Zstandard, the C library, as a function or as a dependency of other modules.
//!
//! The C code comes with its package and is compiled to WebAssembly with the rest, so that a fault
//! in it ends a sandbox and not the host.

use std::io::Read as _;
use wpc::GuestError;
use zstd::stream::read::Decoder;

/// The bytes as a Zstandard frame. Levels go from -7, the fastest, to 19; 3 is a good one, 0 means
/// it too, and what lies beyond is taken for the nearest.
///
/// Errors: `CompressionFailed` where the memory does not suffice.
#[wpc::function]
fn compress(bytes: &[u8], level: i32) -> Result<Vec<u8>, GuestError> {
    // The levels from 20 on take hundreds of megabytes.
    zstd::bulk::compress(bytes, level.clamp(-7, 19))
        .map_err(|error| GuestError::new("CompressionFailed", error.to_string()))
}

/// What was compressed, of at most `max_size` bytes.
///
/// Errors: `TooLarge` where it would be more, however few bytes it was packed into;
/// `CorruptData` where it is no whole Zstandard data, or damaged.
#[wpc::function]
fn decompress(bytes: &[u8], max_size: u32) -> Result<Vec<u8>, GuestError> {
    let corrupt = |error: std::io::Error| GuestError::new("CorruptData", error.to_string());
    let decoder = Decoder::with_buffer(bytes).map_err(corrupt)?;
    let mut plain = Vec::new();
    // Read bit by bit: what the data says about its size may be a lie. One byte more than may be
    // tells that there would have been more.
    decoder.take(u64::from(max_size) + 1).read_to_end(&mut plain).map_err(corrupt)?;
    if plain.len() > max_size as usize {
        let message = format!("the data is larger than the {max_size} bytes that it may have");
        return Err(GuestError::new("TooLarge", message));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        let text = b"to be or not to be, that is the question".repeat(1000);
        for (bytes, level) in
            [(&text[..], 3), (&text, -100), (&text, 0), (&text, 100), (b"", 3), (b"a", 19)]
        {
            let packed = compress(bytes, level).unwrap();
            assert_eq!(decompress(&packed, 100_000).unwrap(), bytes);
        }
        assert!(compress(&text, 3).unwrap().len() < 100);
    }

    #[test]
    fn no_more_than_max_size_comes_out() {
        let packed = compress(&[0; 1000], 3).unwrap();
        assert_eq!(decompress(&packed, 1000).unwrap(), [0; 1000]);
        assert_eq!(decompress(&packed, 999).unwrap_err().name, "TooLarge");
        assert_eq!(decompress(&packed, 0).unwrap_err().name, "TooLarge");
        // Two frames are one text.
        let twice = packed.repeat(2);
        assert_eq!(decompress(&twice, 2000).unwrap(), [0; 2000]);
        assert_eq!(decompress(&twice, 1999).unwrap_err().name, "TooLarge");
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        let packed = compress(b"to be or not to be", 3).unwrap();
        for end in 1..packed.len() {
            assert_eq!(decompress(&packed[..end], 100).unwrap_err().name, "CorruptData", "{end}");
        }
        assert_eq!(decompress(b"PK\x03\x04 and so on", 100).unwrap_err().name, "CorruptData");
        assert_eq!(decompress(b"", 100).unwrap_err().name, "CorruptData");
    }
}
