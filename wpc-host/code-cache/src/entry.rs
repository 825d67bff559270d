//! The format of an entry: a header, then the code. This module does not access files.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | [`MAGIC`], with the format's version |
//! | 32 | HMAC-SHA-256 over the magic and everything after this field |
//! | 32 | SHA-256 of the module |
//! | 32 | digest of the compiler's settings and version |
//! | 8 | length of the code, little-endian |
//! | the rest | the code |

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The first bytes of an entry. The last byte is the version of the format.
pub const MAGIC: [u8; 8] = *b"wpccode\x01";

/// The length of the header, in bytes.
pub const HEADER: usize = 8 + 3 * 32 + 8;

/// The key that entries are verified with: as many random bytes as a block of SHA-256 has.
#[derive(Clone)]
pub struct Key([u8; Self::LENGTH]);

impl Key {
    /// The length of a key, in bytes.
    pub const LENGTH: usize = 64;

    /// Creates a key from bytes, which should come from the operating system's random number generator.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Identifies the module and the settings that an entry was compiled from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a further field would be a further format")]
pub struct Identity {
    /// SHA-256 of the module.
    pub module: [u8; 32],
    /// Digest of the compiler's settings and version.
    pub settings: [u8; 32],
}

impl Identity {
    /// The name of the entry's file: 64 hexadecimal digits.
    #[must_use]
    pub fn name(&self) -> String {
        let digest = Sha256::new().chain_update(self.module).chain_update(self.settings).finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Verified code.
#[derive(Debug)]
pub struct Code<'a>(&'a [u8]);

impl<'a> Code<'a> {
    /// The bytes that were sealed.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Why an entry is not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It is shorter than its header.
    #[error("it is truncated: its header has {HEADER} bytes, but it has {found}")]
    Truncated {
        /// The length of the entry.
        found: usize,
    },
    /// It does not begin with [`MAGIC`].
    #[error("it does not begin with the magic bytes of this version of the format")]
    NotAnEntry,
    /// It is the code of another module.
    #[error("it is the code of another module")]
    OtherModule,
    /// It was compiled with other settings, or by another version of the compiler.
    #[error("its code was compiled with other settings")]
    OtherSettings,
    /// The length of its code differs from the declared length.
    #[error("it declares {declared} bytes of code, but has {found}")]
    Length {
        /// The length that its header declares.
        declared: u64,
        /// The number of bytes after the header.
        found: u64,
    },
    /// Its digest is wrong: a bit has changed, or it was sealed with another key.
    #[error("its digest does not match its code")]
    Digest,
}

/// Creates an entry.
#[must_use]
pub fn seal(code: &[u8], identity: &Identity, key: &Key) -> Vec<u8> {
    let mut entry = Vec::with_capacity(HEADER + code.len());
    entry.extend(MAGIC);
    entry.extend([0; 32]);
    entry.extend(identity.module);
    entry.extend(identity.settings);
    entry.extend((code.len() as u64).to_le_bytes());
    entry.extend(code);
    let mac = mac(&entry, key).finalize().into_bytes();
    entry[8..40].copy_from_slice(&mac);
    entry
}

/// Verifies an entry and returns its code.
///
/// # Errors
///
/// [`Rejection`] with the problem of the entry.
pub fn open<'a>(entry: &'a [u8], identity: &Identity, key: &Key) -> Result<Code<'a>, Rejection> {
    let Some((header, code)) = entry.split_at_checked(HEADER) else {
        return Err(Rejection::Truncated { found: entry.len() });
    };
    if header[..8] != MAGIC {
        return Err(Rejection::NotAnEntry);
    }
    if header[40..72] != identity.module {
        return Err(Rejection::OtherModule);
    }
    if header[72..104] != identity.settings {
        return Err(Rejection::OtherSettings);
    }
    let declared = header[104..].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let found = code.len() as u64;
    if declared != found {
        return Err(Rejection::Length { declared, found });
    }
    mac(entry, key).verify_slice(&header[8..40]).map_err(|_| Rejection::Digest)?;
    Ok(Code(code))
}

/// The authentication code over an entry, except the field that contains it. `entry` is at least as long as a header.
fn mac(entry: &[u8], key: &Key) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new(&key.0.into());
    mac.chain_update(&entry[..8]).chain_update(&entry[40..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, Identity, Key) {
        let identity = Identity { module: [1; 32], settings: [2; 32] };
        let key = Key::new([3; Key::LENGTH]);
        (seal(b"native code", &identity, &key), identity, key)
    }

    #[test]
    fn sealed_code_can_be_opened() {
        let (entry, identity, key) = sample();
        assert_eq!(open(&entry, &identity, &key).unwrap().bytes(), b"native code");
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let (entry, identity, key) = sample();
        for bit in 0..entry.len() * 8 {
            let mut flipped = entry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&flipped, &identity, &key).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_and_extension_is_detected() {
        let (mut entry, identity, key) = sample();
        for length in 0..entry.len() {
            assert!(open(&entry[..length], &identity, &key).is_err(), "{length} bytes");
        }
        entry.push(0);
        let rejection = open(&entry, &identity, &key).unwrap_err();
        assert_eq!(rejection, Rejection::Length { declared: 11, found: 12 });
    }

    #[test]
    fn another_module_other_settings_and_another_key_are_rejected() {
        let (entry, identity, key) = sample();
        let other_module = Identity { module: [9; 32], ..identity.clone() };
        assert_eq!(open(&entry, &other_module, &key).unwrap_err(), Rejection::OtherModule);
        let other_settings = Identity { settings: [9; 32], ..identity.clone() };
        assert_eq!(open(&entry, &other_settings, &key).unwrap_err(), Rejection::OtherSettings);
        let other_key = Key::new([9; Key::LENGTH]);
        assert_eq!(open(&entry, &identity, &other_key).unwrap_err(), Rejection::Digest);
    }

    #[test]
    fn names_depend_on_both_digests() {
        let (_, identity, _) = sample();
        let swapped = Identity { module: identity.settings, settings: identity.module };
        assert_eq!(identity.name().len(), 64);
        assert_ne!(identity.name(), swapped.name());
    }
}
