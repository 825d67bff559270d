//! Searches compressed logs, and yields what it finds while it reads on.

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read as _};
use wpc::GuestError;

/// The maximum number of bytes of a line that are searched and shown.
const MAX_LINE: u64 = 16 * 1024;

/// A line of a log.
#[derive(Debug, PartialEq, Serialize, Deserialize, wpc::Schema)]
pub struct Line {
    /// Its number in the log, from 1.
    number: u64,
    text: String,
}

/// Yields the lines of a log that contain a text, and returns the number of all its lines. The log is compressed with gzip.
/// It may have several members, for example if compressed parts were appended to it.
///
/// Only the first 16 KiB of a line are searched and shown. Bytes that are not UTF-8 become replacement characters.
///
/// Errors: `CorruptLog` if the data is damaged, incomplete or not compressed with gzip. The lines before the damage were
/// yielded.
#[wpc::function(yields = Line)]
fn search(log: &[u8], text: &str) -> Result<u64, GuestError> {
    let corrupt = |error: std::io::Error| GuestError::new("CorruptLog", error.to_string());
    let mut log = BufReader::new(MultiGzDecoder::new(log));
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        // A line of any length takes bounded memory.
        let read = log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(corrupt)?;
        if read == 0 {
            return Ok(number);
        }
        number += 1;
        if line.last() != Some(&b'\n') {
            log.skip_until(b'\n').map_err(corrupt)?;
        }
        let shown = String::from_utf8_lossy(&line);
        let shown = shown.trim_end_matches(['\n', '\r']);
        if shown.contains(text) {
            wpc::yield_item(&Line { number, text: shown.to_owned() })?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;
    use wpc::testing::Host;

    fn compressed(text: &[u8]) -> Vec<u8> {
        let mut log = GzEncoder::new(Vec::new(), Compression::default());
        log.write_all(text).unwrap();
        log.finish().unwrap()
    }

    fn line(number: u64, text: &str) -> Line {
        Line { number, text: text.to_owned() }
    }

    #[test]
    fn lines_that_contain_the_text_are_yielded_with_their_numbers() {
        let host = Host::new().install();
        let log = compressed(b"GET /tea 200\nGET /jam 404\r\n\nGET /ham 404");
        assert_eq!(search(&log, "404").unwrap(), 4);
        assert_eq!(host.items::<Line>(), [line(2, "GET /jam 404"), line(4, "GET /ham 404")]);
    }

    #[test]
    fn appended_members_belong_to_the_log() {
        let host = Host::new().install();
        let log = [compressed(b"one\n"), compressed(b"two\n")].concat();
        assert_eq!(search(&log, "").unwrap(), 2);
        assert_eq!(host.items::<Line>(), [line(1, "one"), line(2, "two")]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_has_its_number() {
        let host = Host::new().install();
        let log = compressed(&[&[b'a'; 100_000][..], b"\nb\n"].concat());
        assert_eq!(search(&log, "").unwrap(), 2);
        let items = host.items::<Line>();
        assert_eq!(items[0].text.len() as u64, MAX_LINE);
        assert_eq!(items[1], line(2, "b"));
    }

    #[test]
    fn truncated_and_foreign_data_is_rejected_after_the_lines_before() {
        let host = Host::new().install();
        let log = compressed(b"one\ntwo\n");
        let error = search(&log[..log.len() - 1], "").unwrap_err();
        assert_eq!(error.name, "CorruptLog");
        assert_eq!(host.items::<Line>(), [line(1, "one"), line(2, "two")]);
        assert_eq!(search(b"not compressed", "").unwrap_err().name, "CorruptLog");
    }
}
