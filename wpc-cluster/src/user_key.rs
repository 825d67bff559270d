//! A new key of a user of NATS servers.

use crate::error::Error;
use std::fmt;

/// A new key of a user of NATS servers. The process has the seed, and the server has the public key.
pub struct UserKey {
    seed: String,
    public_key: String,
}

impl UserKey {
    /// A random key.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the system has no randomness.
    pub fn new() -> Result<Self, Error> {
        let pair = nkeys::KeyPair::new_user();
        let seed = pair.seed().map_err(|error| Error::Options(error.to_string()))?;
        Ok(Self { seed, public_key: pair.public_key() })
    }

    /// The secret for [`Credentials::Nkey`](crate::Credentials), which starts with `SU`.
    #[must_use]
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// The key for the configuration of the server, which starts with `U`.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }
}

/// Without the seed.
impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_random_and_its_seed_is_not_shown() {
        let (key, other) = (UserKey::new().unwrap(), UserKey::new().unwrap());
        assert!(key.seed().starts_with("SU") && key.public_key().starts_with('U'));
        assert_ne!(key.public_key(), other.public_key());
        let pair = nkeys::KeyPair::from_seed(key.seed()).unwrap();
        assert_eq!(pair.public_key(), key.public_key());
        assert!(!format!("{key:?}").contains(key.seed()));
    }
}
