//! The names of nodes, and the subjects, buckets and keys that they use.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use wpc_host::Sha256Hash;

/// The name of a node: 1 to 64 letters, digits, `-` and `_`. It is a part of subjects. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

/// The error of a text that cannot be the name of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid node name {0:?}: a name has 1 to 64 letters, digits, `-` and `_`")]
pub struct InvalidNodeName(pub String);

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NodeName {
    /// A name that starts with the first 50 characters of this text and ends with random digits. A character that is not allowed
    /// becomes `-`.
    #[must_use]
    pub fn with_random_suffix(start: &str) -> Self {
        let allowed = |c: char| if is_token(c.encode_utf8(&mut [0; 4])) { c } else { '-' };
        let start: String = start.chars().take(50).map(allowed).collect();
        let suffix: u32 = rand::random();
        Self(format!("{start}-{suffix:08x}").into())
    }
}

impl FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(text: &str) -> Result<Self, InvalidNodeName> {
        if is_token(text) { Ok(Self(text.into())) } else { Err(InvalidNodeName(text.to_owned())) }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the text can be one token of a subject, of a key and of the name of a bucket.
pub(crate) fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// The subjects and buckets of a cluster. Several clusters can share a NATS account if their namespaces differ.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Such as `wpc.v1`.
    prefix: Arc<str>,
    /// Such as `wpc`.
    namespace: Arc<str>,
}

/// A part of all subjects. Processes with different namespaces form separate clusters.
const VERSION: &str = "v1";

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { prefix: format!("{namespace}.{VERSION}").into(), namespace: namespace.into() }
    }

    /// Calls of a definition on a node.
    pub(crate) fn call(&self, node: &NodeName, definition: Sha256Hash) -> String {
        format!("{}.call.{node}.{definition}", self.prefix)
    }

    /// The node in the first subject of calls that a text contains.
    pub(crate) fn called_node(&self, text: &str) -> Option<NodeName> {
        let start = format!("{}.call.", self.prefix);
        let (_, rest) = text.split_once(&start)?;
        rest.split('.').next()?.parse().ok()
    }

    /// All calls on a node.
    pub(crate) fn calls(&self, node: &NodeName) -> String {
        self.calls_of(node.as_str())
    }

    /// All calls on a node; `*` stands for any.
    pub(crate) fn calls_of(&self, node: &str) -> String {
        format!("{}.call.{node}.*", self.prefix)
    }

    /// All calls.
    pub(crate) fn all_calls(&self) -> String {
        self.calls_of("*")
    }

    /// What callers send a node about their calls there: see [`Control`](crate::wire::Control).
    pub(crate) fn control(&self, node: &NodeName) -> String {
        self.control_of(node.as_str())
    }

    /// The same; `*` stands for any node.
    pub(crate) fn control_of(&self, node: &str) -> String {
        format!("{}.node.{node}", self.prefix)
    }

    /// What callers send all nodes about their calls.
    pub(crate) fn controls(&self) -> String {
        self.control_of("*")
    }

    /// The heartbeats of a node: see [`Heartbeat`](crate::wire::Heartbeat).
    pub(crate) fn heartbeat(&self, node: &NodeName) -> String {
        self.heartbeat_of(node.as_str())
    }

    /// The same; `*` stands for any node.
    pub(crate) fn heartbeat_of(&self, node: &str) -> String {
        format!("{}.beat.{node}", self.prefix)
    }

    /// The heartbeats of all nodes.
    pub(crate) fn heartbeats(&self) -> String {
        self.heartbeat_of("*")
    }

    /// Asks all nodes for a heartbeat.
    pub(crate) fn hello(&self) -> String {
        format!("{}.hello", self.prefix)
    }

    /// The key-value bucket of the registry.
    pub(crate) fn registry(&self) -> String {
        format!("{}_registry", self.namespace)
    }

    /// The key-value bucket of what nodes report about revisions that are not active yet.
    pub(crate) fn staging(&self) -> String {
        format!("{}_staging", self.namespace)
    }

    /// The object store of modules and manifests, by their SHA-256.
    pub(crate) fn objects(&self) -> String {
        format!("{}_objects", self.namespace)
    }

    /// The object store of arguments and results that are too large for a message.
    pub(crate) fn payloads(&self) -> String {
        format!("{}_payloads", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_is_one_token_of_a_subject() {
        for valid in ["n1", "north-west_2", &"x".repeat(64)] {
            assert_eq!(
                valid.parse::<NodeName>().map(|name| name.to_string()).as_deref(),
                Ok(valid)
            );
        }
        for invalid in ["", "a.b", "*", ">", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(invalid.parse::<NodeName>(), Err(InvalidNodeName(invalid.to_owned())));
        }
    }

    #[test]
    fn a_name_with_a_random_suffix_is_valid_for_any_text() {
        for (text, start) in
            [("north.example", "north-example-"), ("", "-"), (&"ä".repeat(99), "--")]
        {
            let name = NodeName::with_random_suffix(text);
            assert!(name.as_str().starts_with(start), "{name}");
            assert_eq!(name.as_str().parse::<NodeName>(), Ok(name.clone()));
        }
    }

    #[test]
    fn subjects_start_with_the_namespace_and_the_version() {
        let (names, node) = (Names::new("shop"), "n1".parse().unwrap());
        let definition = Sha256Hash::of(b"");
        assert_eq!(names.call(&node, definition), format!("shop.v1.call.n1.{definition}"));
        assert_eq!(names.calls(&node), "shop.v1.call.n1.*");
        assert_eq!(names.control(&node), "shop.v1.node.n1");
        assert_eq!(names.heartbeat(&node), "shop.v1.beat.n1");
        assert_eq!(names.registry(), "shop_registry");
        let violation =
            format!("Permissions Violation for Publish to \"{}\"", names.call(&node, definition));
        assert_eq!(names.called_node(&violation), Some(node));
        assert_eq!(names.called_node("Permissions Violation for Publish to \"other\""), None);
    }
}
