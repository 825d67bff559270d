//! Thumbnails of PNG and JPEG images, which may come from anybody.
//!
//! A picture's size is read and judged before room is made for its pixels. Pictures are turned the
//! way their EXIF data says, as browsers show them.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::io::Cursor;
use wpc::GuestError;

/// The longest side of a picture that is read, in pixels: more than cameras make.
const MAX_SIDE: u32 = 16_384;

/// The longest side a thumbnail may have, in pixels: its room is little beside the picture's.
const MAX_THUMBNAIL: u32 = 2048;

/// How many bytes a picture and its decoder may take: 50 million pixels of a photograph. With an
/// input as large as arguments may be, 64 MiB, it stays below a sandbox's default memory of 256 MiB:
/// a picture that cannot be read is an error, and not the end of the sandbox.
const MAX_BYTES: u64 = 144 << 20;

/// A PNG of the picture whose longer side is `max_side` at most. The sides keep their ratio; a
/// picture that is small enough keeps its size.
///
/// Errors: `BadSize` for a side of 0 or beyond 2048, `UnknownFormat` for what is neither PNG nor JPEG,
/// `ImageTooLarge` for one beyond the limits, `BadImage` for one that is damaged.
#[wpc::function]
fn thumbnail(image: &[u8], max_side: u32) -> Result<Vec<u8>, GuestError> {
    if !(1..=MAX_THUMBNAIL).contains(&max_side) {
        let message = format!("a thumbnail's side is from 1 to {MAX_THUMBNAIL} pixels");
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

/// How wide and how high the picture is shown, in pixels. Reads no more than its head.
///
/// Errors: as those of `thumbnail`.
#[wpc::function]
fn dimensions(image: &[u8]) -> Result<(u32, u32), GuestError> {
    let (decoder, orientation) = open(image)?;
    let (width, height) = decoder.dimensions();
    Ok(if is_turned_sideways(orientation) { (height, width) } else { (width, height) })
}

/// A decoder that has read the picture's head, and how the picture is turned.
fn open(image: &[u8]) -> Result<(impl ImageDecoder, Orientation), GuestError> {
    let mut reader = ImageReader::new(Cursor::new(image))
        .with_guessed_format()
        .map_err(|error| named(error.into()))?;
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(named)?;
    // A picture without a turn, or with a damaged one, is shown as it is.
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

/// A progressive JPEG is decoded to coefficients first, which take up to three times as much as its
/// pixels and which the decoder does not count. The marker of its frame is nowhere in the data of
/// other frames; where it is by chance in what lies between, the picture has to be smaller.
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
    fn sides_keep_their_ratio_and_nothing_is_enlarged() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let image = picture(400, 100, format);
            assert_eq!(dimensions(&image).unwrap(), (400, 100));
            check(&image, 100, (100, 25));
            check(&image, 399, (399, 100));
            check(&image, 400, (400, 100));
            check(&image, MAX_THUMBNAIL, (400, 100));
            // A side does not vanish.
            check(&image, 1, (1, 1));
        }
    }

    #[test]
    fn a_picture_is_turned_as_its_exif_data_says() {
        let jpeg = picture(400, 100, ImageFormat::Jpeg);
        // A marker, its length, and a TIFF with one entry: orientation, a short, 6, a quarter turn.
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
        assert_eq!(dimensions(&turned).unwrap(), (100, 400));
        check(&turned, 100, (25, 100));
    }

    #[track_caller]
    fn check_refused(image: &[u8], name: &str) {
        let error = thumbnail(image, 100).unwrap_err();
        assert_eq!(error.name, name, "{}", error.message);
    }

    #[test]
    fn what_is_no_whole_picture_is_refused() {
        check_refused(b"", "UnknownFormat");
        check_refused(b"GIF89a and so on", "UnknownFormat");
        check_refused(b"\x89PNG\r\n\x1a\nnonsense", "BadImage");
        let png = picture(400, 100, ImageFormat::Png);
        check_refused(&png[..png.len() / 2], "BadImage");
        for side in [0, MAX_THUMBNAIL + 1, u32::MAX] {
            assert_eq!(thumbnail(&png, side).unwrap_err().name, "BadSize");
        }
    }

    #[test]
    fn hostile_sizes_are_refused_before_room_is_made() {
        check_refused(&picture(MAX_SIDE + 1, 1, ImageFormat::Png), "ImageTooLarge");
        let mut jpeg = picture(8, 8, ImageFormat::Jpeg);
        // The frame's head: marker, length, precision, height, width.
        let frame = jpeg.windows(2).position(|two| two == b"\xff\xc0").unwrap();
        jpeg[frame + 5..][..4].copy_from_slice(b"\x40\0\x40\0");
        assert_eq!(dimensions(&jpeg).unwrap(), (MAX_SIDE, MAX_SIDE));
        check_refused(&jpeg, "ImageTooLarge");
        // 16 million pixels have room, but not when they are progressive.
        jpeg[frame + 5..][..4].copy_from_slice(&[0x10, 0, 0x10, 0]);
        check_refused(&[&jpeg, &b"\xff\xc2"[..]].concat(), "ImageTooLarge");
    }
}
