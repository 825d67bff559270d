//! Compression with the C library Zstandard, as a function or as a dependency of other modules.
//!
//! The C code is part of its package and is compiled to WebAssembly, so that a memory error in it ends a sandbox instead
//! of the host.

use std::io::Read as _;
use wpc::GuestError;
use zstd::stream::read::Decoder;

/// Compresses bytes to a Zstandard frame. Levels range from -7, the fastest, to 19. Level 3 is the default, which 0 also
/// selects. Other levels are clamped.
///
/// Errors: `CompressionFailed` if the memory does not suffice.
#[wpc::function]
fn compress(bytes: &[u8], level: i32) -> Result<Vec<u8>, GuestError> {
    // Levels above 19 take hundreds of megabytes.
    zstd::bulk::compress(bytes, level.clamp(-7, 19))
        .map_err(|error| GuestError::new("CompressionFailed", error.to_string()))
}

/// Decompresses bytes to at most `max_size` bytes.
///
/// Errors: `TooLarge` if the decompressed data is larger; `CorruptData` if the data is damaged, incomplete or not
/// Zstandard data.
#[wpc::function]
fn decompress(bytes: &[u8], max_size: u32) -> Result<Vec<u8>, GuestError> {
    let corrupt = |error: std::io::Error| GuestError::new("CorruptData", error.to_string());
    let decoder = Decoder::with_buffer(bytes).map_err(corrupt)?;
    let mut plain = Vec::new();
    // Decompressed step by step, because the size that the data declares is not trusted. One byte above the limit shows
    // that the data is larger.
    decoder.take(u64::from(max_size) + 1).read_to_end(&mut plain).map_err(corrupt)?;
    if plain.len() > max_size as usize {
        let message = format!("the decompressed data is larger than the limit of {max_size} bytes");
        return Err(GuestError::new("TooLarge", message));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_compressed_and_decompressed() {
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
    fn data_above_max_size_is_rejected() {
        let packed = compress(&[0; 1000], 3).unwrap();
        assert_eq!(decompress(&packed, 1000).unwrap(), [0; 1000]);
        assert_eq!(decompress(&packed, 999).unwrap_err().name, "TooLarge");
        assert_eq!(decompress(&packed, 0).unwrap_err().name, "TooLarge");
        // Two frames are decompressed as one.
        let twice = packed.repeat(2);
        assert_eq!(decompress(&twice, 2000).unwrap(), [0; 2000]);
        assert_eq!(decompress(&twice, 1999).unwrap_err().name, "TooLarge");
    }

    #[test]
    fn truncated_and_foreign_data_is_rejected() {
        let packed = compress(b"to be or not to be", 3).unwrap();
        for end in 1..packed.len() {
            assert_eq!(decompress(&packed[..end], 100).unwrap_err().name, "CorruptData", "{end}");
        }
        assert_eq!(decompress(b"PK\x03\x04 and so on", 100).unwrap_err().name, "CorruptData");
        assert_eq!(decompress(b"", 100).unwrap_err().name, "CorruptData");
    }
}
