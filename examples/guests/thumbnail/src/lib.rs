//! Thumbnails of untrusted PNG and JPEG images.
//!
//! A picture's size is checked before memory for its pixels is allocated. Pictures are rotated by their EXIF orientation,
//! as browsers show them.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::io::Cursor;
use wpc::GuestError;

/// The longest side of an accepted picture, in pixels: more than cameras produce.
const MAX_SIDE: u32 = 16_384;

/// The longest side of a thumbnail, in pixels. Its memory is small compared with the picture's.
const MAX_THUMBNAIL: u32 = 2048;

/// The memory limit of a picture and its decoder in bytes, enough for 50 million pixels of a photograph. With the largest
/// arguments, 64 MiB, the total stays below a sandbox's default memory of 256 MiB, so that a picture that is too large is
/// an error and does not end the sandbox.
const MAX_BYTES: u64 = 144 << 20;

/// Returns a PNG of the picture whose longer side is at most `max_side`. The aspect ratio is kept; a picture that is small
/// enough keeps its size.
///
/// Errors: `BadSize` for a side of 0 or above 2048, `UnknownFormat` for data that is neither PNG nor JPEG,
/// `ImageTooLarge` for a picture above the limits, `BadImage` for a damaged one.
#[wpc::function]
fn thumbnail(image: &[u8], max_side: u32) -> Result<Vec<u8>, GuestError> {
    if !(1..=MAX_THUMBNAIL).contains(&max_side) {
        let message = format!(
            "a thumbnail's side must be between 1 and {MAX_THUMBNAIL} pixels, not {max_side}"
        );
        return Err(GuestError::new("BadSize", message));
    }
    let (mut decoder, orientation) = open(image)?;
    let mut limits = limits();
    let needed =
        decoder.total_bytes().saturating_mul(if may_be_progressive(image) { 4 } else { 1 });
    limits.reserve(needed).map_err(named)?;
    decoder.set_limits(limits).map_err(named)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(named)?;
    if picture.width().max(picture.height()) > max_side {
        picture = picture.thumbnail(max_side, max_side);
    }
    picture.apply_orientation(orientation);
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).map_err(named)?;
    Ok(png.into_inner())
}

/// Returns the displayed width and height of the picture in pixels. Reads its header only.
///
/// Errors: those of `thumbnail`.
#[wpc::function]
fn dimensions(image: &[u8]) -> Result<(u32, u32), GuestError> {
    let (decoder, orientation) = open(image)?;
    let (width, height) = decoder.dimensions();
    Ok(if is_turned_sideways(orientation) { (height, width) } else { (width, height) })
}

/// A decoder that has read the picture's header, and the picture's orientation.
fn open(image: &[u8]) -> Result<(impl ImageDecoder, Orientation), GuestError> {
    let mut reader = ImageReader::new(Cursor::new(image))
        .with_guessed_format()
        .map_err(|error| named(error.into()))?;
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(named)?;
    // A picture without a valid orientation is not rotated.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

/// A progressive JPEG is decoded to coefficients first, which take up to three times the memory of its pixels and are not
/// counted by the decoder. The marker of its frame cannot occur in the data of other frames. If it occurs by chance
/// between them, the limit is lower than necessary.
fn may_be_progressive(image: &[u8]) -> bool {
    image.starts_with(b"\xff\xd8") && image.windows(2).any(|two| two == b"\xff\xc2")
}

fn is_turned_sideways(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn named(error: ImageError) -> GuestError {
    let name = match error {
        ImageError::Unsupported(_) => "UnknownFormat",
        ImageError::Limits(_) => "ImageTooLarge",
        _ => "BadImage",
    };
    GuestError::new(name, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let picture = RgbImage::from_pixel(width, height, Rgb([200, 100, 50]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[track_caller]
    fn check(image: &[u8], max_side: u32, expected: (u32, u32)) {
        let small = thumbnail(image, max_side).unwrap();
        assert!(small.starts_with(b"\x89PNG"));
        assert_eq!(dimensions(&small).unwrap(), expected);
    }

    #[test]
    fn the_aspect_ratio_is_kept_and_nothing_is_enlarged() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let image = picture(400, 100, format);
            assert_eq!(dimensions(&image).unwrap(), (400, 100));
            check(&image, 100, (100, 25));
            check(&image, 399, (399, 100));
            check(&image, 400, (400, 100));
            check(&image, MAX_THUMBNAIL, (400, 100));
            // A side has at least one pixel.
            check(&image, 1, (1, 1));
        }
    }

    #[test]
    fn a_picture_is_rotated_by_its_exif_orientation() {
        let jpeg = picture(400, 100, ImageFormat::Jpeg);
        // A marker, its length, and a TIFF with one entry: orientation, a short, value 6 for a rotation by 90 degrees.
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
        assert_eq!(dimensions(&turned).unwrap(), (100, 400));
        check(&turned, 100, (25, 100));
    }

    #[track_caller]
    fn check_rejected(image: &[u8], name: &str) {
        let error = thumbnail(image, 100).unwrap_err();
        assert_eq!(error.name, name, "{}", error.message);
    }

    #[test]
    fn incomplete_and_foreign_data_is_rejected() {
        check_rejected(b"", "UnknownFormat");
        check_rejected(b"GIF89a and so on", "UnknownFormat");
        check_rejected(b"\x89PNG\r\n\x1a\nnonsense", "BadImage");
        let png = picture(400, 100, ImageFormat::Png);
        check_rejected(&png[..png.len() / 2], "BadImage");
        for side in [0, MAX_THUMBNAIL + 1, u32::MAX] {
            assert_eq!(thumbnail(&png, side).unwrap_err().name, "BadSize");
        }
    }

    #[test]
    fn hostile_sizes_are_rejected_before_allocation() {
        check_rejected(&picture(MAX_SIDE + 1, 1, ImageFormat::Png), "ImageTooLarge");
        let mut jpeg = picture(8, 8, ImageFormat::Jpeg);
        // The frame header: marker, length, precision, height, width.
        let frame = jpeg.windows(2).position(|two| two == b"\xff\xc0").unwrap();
        jpeg[frame + 5..][..4].copy_from_slice(b"\x40\0\x40\0");
        assert_eq!(dimensions(&jpeg).unwrap(), (MAX_SIDE, MAX_SIDE));
        check_rejected(&jpeg, "ImageTooLarge");
        // 16 million pixels are within the limit, but not if they are progressive.
        jpeg[frame + 5..][..4].copy_from_slice(&[0x10, 0, 0x10, 0]);
        check_rejected(&[&jpeg, &b"\xff\xc2"[..]].concat(), "ImageTooLarge");
    }
}
