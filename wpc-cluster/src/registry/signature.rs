//! The signatures of deployers on the records of the registry.
//!
//! Permissions alone do not protect the registry: a user that may use JetStream can make the server publish stored messages to
//! any subject of the account, including those of the registry. A process to which deployer keys were passed therefore uses a record only
//! if one of them signed it.
//!
//! A deployer signs with the key with which it authenticates itself. What is signed is the text of the record, after the
//! cluster and the kind of the record, so that a signature is valid for one purpose only. It starts with a byte that no text
//! has: when a client connects, it signs a text that the server chooses, which thus can never be a record.

use crate::error::Error;
use crate::options::ClusterOptions;
use crate::user_key::deployer;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use nkeys::KeyPair;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A record that deployers sign.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// A text that only records of this kind have. It is signed.
    const KIND: &'static str;

    /// The record, as errors name it.
    fn title(&self) -> String;
}

/// A record as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// The record as JSON.
    content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    /// The public key of the deployer.
    key: String,
    /// In base64.
    bytes: String,
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Opened<R> {
    record: R,
    /// The deployer whose signature it has, or why it is not trusted. `None` if everything is accepted.
    signer: Result<Option<String>, String>,
}

impl<R: Record> Opened<R> {
    /// The record, if it is trusted.
    pub(crate) fn trusted(self) -> Result<R, Error> {
        self.signed().map(|(record, _)| record)
    }

    /// The record, if it is trusted, and the public key of the deployer that signed it; without one if everything is accepted.
    pub(crate) fn signed(self) -> Result<(R, Option<String>), Error> {
        match self.signer {
            Ok(signer) => Ok((self.record, signer)),
            Err(reason) => Err(Error::Untrusted { record: self.record.title(), reason }),
        }
    }

    /// The record, whether it is trusted or not.
    pub(crate) fn record(&self) -> &R {
        &self.record
    }
}

/// The key with which this process signs, and those whose signatures it accepts.
pub(crate) struct Trust {
    namespace: String,
    own: Option<KeyPair>,
    /// Without any, every record is accepted.
    deployers: Vec<(String, KeyPair)>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deployers: Vec<_> = self.deployers.iter().map(|(key, _)| key).collect();
        f.debug_struct("Trust").field("deployers", &deployers).finish_non_exhaustive()
    }
}

impl Trust {
    /// According to options that were [validated](ClusterOptions::validate).
    pub(crate) fn new(options: &ClusterOptions) -> Self {
        let own = options.signing_seed().and_then(|seed| KeyPair::from_seed(seed.trim()).ok());
        let key = |key: &String| Some((key.clone(), deployer(key).ok()?));
        let deployers = options.deployers.iter().filter_map(key).collect();
        Self { namespace: options.namespace.clone(), own, deployers }
    }

    /// Whether records need a signature.
    pub(crate) fn requires_signatures(&self) -> bool {
        !self.deployers.is_empty()
    }

    /// Whether this process can write records that it would accept itself.
    pub(crate) fn can_sign(&self) -> Result<(), Error> {
        let keys = &self.deployers;
        let problem = match &self.own {
            _ if keys.is_empty() => return Ok(()),
            Some(own) if keys.iter().any(|(key, _)| *key == own.public_key()) => return Ok(()),
            Some(own) => format!(
                "the key {} of this process is not among those of deployers; pass the seed of one of them with \
                 `--cluster-nkey`, or add it to `--cluster-deployers` of all processes",
                own.public_key()
            ),
            None => "this process has no key to sign with; pass the seed of a deployer's key with `--cluster-nkey`"
                .to_owned(),
        };
        Err(Error::Options(problem))
    }

    /// The record as it is stored, signed if this process has a key.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if signatures are required and this process cannot sign.
    pub(crate) fn seal<R: Record>(&self, record: &R) -> Result<Bytes, Error> {
        self.can_sign()?;
        let invalid = |error: String| Error::Options(format!("signing failed: {error}"));
        let content = serde_json::to_string(record).map_err(|error| invalid(error.to_string()))?;
        let signature = self.own.as_ref().map(|own| {
            let bytes = own.sign(&self.signed::<R>(&content));
            let bytes = bytes.map_err(|error| invalid(error.to_string()))?;
            Ok::<_, Error>(Signature {
                key: own.public_key(),
                bytes: BASE64_STANDARD.encode(bytes),
            })
        });
        let sealed = Sealed { content, signature: signature.transpose()? };
        let bytes = serde_json::to_vec(&sealed).map_err(|error| invalid(error.to_string()))?;
        Ok(bytes.into())
    }

    /// Reads a record, and verifies its signature.
    pub(crate) fn open<R: Record>(&self, value: &[u8]) -> Result<Opened<R>, String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        let sealed: Sealed = serde_json::from_slice(value).map_err(unreadable)?;
        let record = serde_json::from_str(&sealed.content).map_err(unreadable)?;
        Ok(Opened { record, signer: self.signer::<R>(&sealed) })
    }

    /// The deployer that signed a record, or why it is not trusted.
    fn signer<R: Record>(&self, sealed: &Sealed) -> Result<Option<String>, String> {
        if self.deployers.is_empty() {
            return Ok(None);
        }
        let Some(Signature { key, bytes }) = &sealed.signature else {
            let text = "it has no signature of a deployer; deploy again with the seed of a deployer's key (`--cluster-nkey`)";
            return Err(text.to_owned());
        };
        let Some((_, deployer)) = self.deployers.iter().find(|(known, _)| known == key) else {
            let key = key.escape_debug().take(80).collect::<String>();
            return Err(format!(
                "its key {key} is not among those of deployers; pass the same `--cluster-deployers` to all processes, or deploy again \
                 with one of these keys"
            ));
        };
        let is_valid = BASE64_STANDARD.decode(bytes).is_ok_and(|signature| {
            deployer.verify(&self.signed::<R>(&sealed.content), &signature).is_ok()
        });
        if is_valid {
            Ok(Some(key.clone()))
        } else {
            Err(format!("its signature is not that of the key {key}"))
        }
    }

    /// What is signed. The namespace has no line breaks, and neither has a kind.
    fn signed<R: Record>(&self, content: &str) -> Vec<u8> {
        let start = format!("wpc {} 1\n{}\n", R::KIND, self.namespace);
        [&[0xff], start.as_bytes(), content.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Credentials;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Number(u64);

    impl Record for Number {
        const KIND: &'static str = "number";

        fn title(&self) -> String {
            format!("number {}", self.0)
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other(u64);

    impl Record for Other {
        const KIND: &'static str = "other";

        fn title(&self) -> String {
            String::new()
        }
    }

    fn trust(own: Option<&KeyPair>, deployers: &[&KeyPair], namespace: &str) -> Trust {
        let mut options = ClusterOptions::new("nats://127.0.0.1:4222");
        options.namespace = namespace.to_owned();
        if let Some(own) = own {
            options.credentials = Credentials::Nkey(own.seed().unwrap());
        }
        options.deployers = deployers.iter().map(|key| key.public_key()).collect();
        Trust::new(&options)
    }

    #[test]
    fn a_record_is_trusted_if_a_deployer_signed_it_for_this_purpose_and_cluster() {
        let (ada, bob) = (KeyPair::new_user(), KeyPair::new_user());
        let nodes = trust(None, &[&ada], "wpc");
        let sealed = trust(Some(&ada), &[&ada], "wpc").seal(&Number(7)).unwrap();
        assert_eq!(nodes.open::<Number>(&sealed).unwrap().trusted().unwrap(), Number(7));
        nodes.open::<Other>(&sealed).unwrap().trusted().unwrap_err();
        let refused = |sealed: &[u8], expected: &str| {
            let opened = nodes.open::<Number>(sealed).unwrap();
            assert_eq!(opened.record(), &Number(7));
            let error = opened.trusted().unwrap_err().to_string();
            assert!(error.contains("number 7") && error.contains(expected), "{error}");
        };
        refused(&trust(Some(&bob), &[], "wpc").seal(&Number(7)).unwrap(), &bob.public_key());
        refused(&trust(None, &[], "wpc").seal(&Number(7)).unwrap(), "no signature");
        refused(&trust(Some(&ada), &[], "shop").seal(&Number(7)).unwrap(), "not that of the key");
        let mut value: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
        value["content"] = json!("8");
        let changed = nodes.open::<Number>(value.to_string().as_bytes()).unwrap();
        changed.trusted().unwrap_err();
        value["content"] = json!("7");
        value["signature"]["bytes"] = json!("AAAA");
        refused(value.to_string().as_bytes(), "not that of the key");
        // The signature of another deployer under the name of this one.
        let other = trust(Some(&bob), &[], "wpc").seal(&Number(7)).unwrap();
        let mut other: serde_json::Value = serde_json::from_slice(&other).unwrap();
        other["signature"]["key"] = json!(ada.public_key());
        refused(other.to_string().as_bytes(), "not that of the key");
        for garbage in [&b""[..], b"{}", b"7", b"\xff", b"{\"content\":\"\\\"\"}"] {
            nodes.open::<Number>(garbage).unwrap_err();
        }
    }

    #[test]
    fn without_keys_of_deployers_everything_is_accepted() {
        let ada = KeyPair::new_user();
        let open = trust(None, &[], "wpc");
        assert!(!open.requires_signatures());
        for own in [None, Some(&ada)] {
            let sealed = trust(own, &[], "wpc").seal(&Number(7)).unwrap();
            open.open::<Number>(&sealed).unwrap().trusted().unwrap();
        }
    }

    #[test]
    fn only_a_deployer_can_sign_where_signatures_are_required() {
        let (ada, bob) = (KeyPair::new_user(), KeyPair::new_user());
        let error = trust(None, &[&ada], "wpc").seal(&Number(7)).unwrap_err().to_string();
        assert!(error.contains("--cluster-nkey"), "{error}");
        let error = trust(Some(&bob), &[&ada], "wpc").seal(&Number(7)).unwrap_err().to_string();
        assert!(error.contains(&bob.public_key()), "{error}");
    }

    #[test]
    fn what_is_signed_cannot_be_the_text_that_a_server_sends() {
        let signed = trust(None, &[], "wpc").signed::<Number>("7");
        String::from_utf8(signed).unwrap_err();
    }
}
