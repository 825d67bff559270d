//! The text of a token: `wpc_<id>_<secret><checksum>` in lower-case hexadecimal digits.
//!
//! Eight digits identify it, 64 are the secret, and the last eight are a checksum, so that a mistyped or cut token is
//! recognised without a look-up, and a scanner for leaked secrets finds tokens by their form.
//!
//! Only the SHA-256 of a token is kept. A slow hash such as Argon2 protects passwords, which can be guessed. A secret of 256
//! random bits cannot be guessed, whatever the hash is, and a slow hash would delay each request.

use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use std::str::FromStr;
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "wpc_";
const ID_DIGITS: usize = 8;
const SECRET_DIGITS: usize = 64;
const CHECKSUM_DIGITS: usize = 8;
/// The length of everything before the checksum.
const SIGNED: usize = PREFIX.len() + ID_DIGITS + 1 + SECRET_DIGITS;

/// Identifies a token. It is not secret. As text, it is eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(u32);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() != ID_DIGITS || !text.bytes().all(is_digit) {
            return Err(InvalidId);
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| InvalidId)
    }
}

/// The text is not the id of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a token: {ID_DIGITS} digits of 0-9 and a-f")]
#[non_exhaustive]
pub struct InvalidId;

/// The SHA-256 of a token.
#[derive(Clone, Copy)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(signed: &str) -> Self {
        Self(Sha256::digest(signed).into())
    }

    /// Compares in constant time.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    pub(super) fn to_text(self) -> String {
        digits(&self.0)
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(is_digit) {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }

    fn checksum(&self) -> String {
        digits(&self.0[..CHECKSUM_DIGITS / 2])
    }
}

/// A hash is not shown either.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// The text of a new token. It is shown once, and not by `Debug`.
pub struct TokenText(String);

impl TokenText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText")
    }
}

/// A new token.
pub(super) fn generate() -> std::io::Result<(TokenId, TokenText, TokenHash)> {
    let (mut id, mut secret) = ([0; ID_DIGITS / 2], [0; SECRET_DIGITS / 2]);
    getrandom::fill(&mut id).map_err(std::io::Error::other)?;
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    let id = TokenId(u32::from_be_bytes(id));
    let mut text = format!("{PREFIX}{id}_{}", digits(&secret));
    let hash = TokenHash::of(&text);
    text.push_str(&hash.checksum());
    Ok((id, TokenText(text), hash))
}

/// The id and the hash of a token; `None` if the text cannot be a token.
pub(super) fn parse(text: &str) -> Option<(TokenId, TokenHash)> {
    let (signed, checksum) = text.split_at_checked(SIGNED)?;
    let (id, secret) = signed.strip_prefix(PREFIX)?.split_once('_')?;
    if secret.len() != SECRET_DIGITS || !secret.bytes().all(is_digit) {
        return None;
    }
    let id = id.parse().ok()?;
    let hash = TokenHash::of(signed);
    (hash.checksum() == checksum).then_some((id, hash))
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised() {
        let (id, text, hash) = generate().unwrap();
        let (parsed, presented) = parse(text.as_str()).unwrap();
        assert_eq!((parsed, text.as_str().len()), (id, SIGNED + CHECKSUM_DIGITS));
        assert!(hash.is(&presented));
        assert!(TokenHash::from_text(&hash.to_text()).unwrap().is(&hash));
    }

    #[test]
    fn a_changed_cut_or_extended_token_is_not() {
        let (_, text, _) = generate().unwrap();
        let text = text.as_str();
        for at in 0..text.len() {
            assert!(parse(&text[..at]).is_none(), "cut at {at}");
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(parse(std::str::from_utf8(&changed).unwrap()).is_none(), "changed at {at}");
        }
        for other in [format!("{text}0"), text.to_uppercase(), "é".repeat(50), String::new()] {
            assert!(parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn the_secret_is_not_shown_by_debug() {
        let (_, text, hash) = generate().unwrap();
        let shown = format!("{text:?}{hash:?}");
        assert_eq!(shown, "TokenTextTokenHash");
    }
}
