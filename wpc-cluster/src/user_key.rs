//! Keys of users of NATS servers.

use crate::error::Error;
use nkeys::{KeyPair, KeyPairType};
use std::fmt;

/// The key of a user of NATS servers. The process has the seed, and the server has the public key.
pub struct UserKey {
    seed: String,
    public_key: String,
}

impl UserKey {
    /// A random key.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the random number generator of the system fails.
    pub fn new() -> Result<Self, Error> {
        let pair = KeyPair::new_user();
        let seed = pair.seed().map_err(|error| Error::Options(error.to_string()))?;
        Ok(Self { seed, public_key: pair.public_key() })
    }

    /// The key with this seed.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if it is not the seed of a user.
    pub fn from_seed(seed: &str) -> Result<Self, Error> {
        let seed = seed.trim().to_owned();
        let found = KeyPair::from_seed(&seed).ok();
        let pair = found.filter(|pair| pair.key_pair_type() == KeyPairType::User);
        let pair = pair.ok_or_else(|| {
            let text = "expected the seed of the nkey of a user, which starts with `SU` and which `wpc cluster key` writes";
            Error::Options(text.to_owned())
        })?;
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

/// The public key of a deployer, which verifies signatures.
///
/// # Errors
///
/// [`Error::Options`] if it is not the public key of a user.
pub(crate) fn deployer(key: &str) -> Result<KeyPair, Error> {
    let found = KeyPair::from_public_key(key);
    found.ok().filter(|found| found.key_pair_type() == KeyPairType::User).ok_or_else(|| {
        Error::Options(format!(
            "invalid key of a deployer {key:?}: expected the public key of a user, which starts with `U` and which \
             `wpc cluster key` prints"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_random_and_its_seed_is_not_shown() {
        let (key, other) = (UserKey::new().unwrap(), UserKey::new().unwrap());
        assert!(key.seed().starts_with("SU") && key.public_key().starts_with('U'));
        assert_ne!(key.public_key(), other.public_key());
        let pair = KeyPair::from_seed(key.seed()).unwrap();
        assert_eq!(pair.public_key(), key.public_key());
        assert!(!format!("{key:?}").contains(key.seed()));
    }

    #[test]
    fn the_key_of_a_deployer_is_that_of_a_user() {
        deployer(&KeyPair::new_user().public_key()).unwrap();
        for invalid in ["", "U", &KeyPair::new_account().public_key(), "ada"] {
            let error = deployer(invalid).unwrap_err().to_string();
            assert!(error.contains("wpc cluster key"), "{error}");
        }
    }
}
