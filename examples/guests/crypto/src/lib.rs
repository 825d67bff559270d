//! Random identifiers; needs the capability `random`.

/// A random UUID (RFC 9562, version 4).
#[wpc::function]
fn random_uuid() -> String {
    let mut bytes: [u8; 16] = wpc::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
