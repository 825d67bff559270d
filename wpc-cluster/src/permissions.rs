//! The subjects that each role publishes and subscribes to, and whether a user of a NATS server has these permissions.
//! `docs/deploy/nats.conf` has the same lists.

use crate::names::Names;
use std::fmt;

/// The role of a process in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// It calls functions, with arguments and results that fit into a message.
    Client,
    /// It calls functions, including with larger arguments and results. It can make the server publish what it chooses to any subject of
    /// the account, because it reads a stream to which it writes.
    TrustedClient,
    /// It runs functions for others, under this name; `*` stands for any.
    Node(String),
    /// It deploys and activates revisions.
    Deployer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::TrustedClient => "trusted client",
            Self::Node(_) => "node",
            Self::Deployer => "deployer",
        })
    }
}

/// Subjects that a role publishes and subscribes to, with wildcards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subjects {
    pub(crate) publish: Vec<String>,
    pub(crate) subscribe: Vec<String>,
}

impl Role {
    /// The subjects that the role needs, with this prefix of its inboxes.
    pub(crate) fn subjects(&self, names: &Names, inbox: &str) -> Subjects {
        let mut publish =
            vec![format!("{inbox}.>"), "$SYS.REQ.USER.INFO".to_owned(), names.hello()];
        let mut subscribe = vec![format!("{inbox}.>"), names.heartbeats()];
        let (registry, staging) = (stream("KV", &names.registry()), stream("KV", &names.staging()));
        let objects = stream("OBJ", &names.objects());
        let payloads = stream("OBJ", &names.payloads());
        let calls = |publish: &mut Vec<String>| {
            publish.extend([names.all_calls(), names.controls()]);
        };
        let stores = |publish: &mut Vec<String>| {
            publish.push(format!("$O.{}.>", names.payloads()));
            publish.push(format!("$JS.API.STREAM.PURGE.{payloads}"));
            publish.extend(reading(&payloads));
        };
        match self {
            Self::Client | Self::TrustedClient => {
                calls(&mut publish);
                if *self == Self::TrustedClient {
                    stores(&mut publish);
                }
                publish
                    .extend([&registry, &objects].into_iter().flat_map(|stream| reading(stream)));
            }
            Self::Node(node) => {
                // Answers go to the inboxes of all users.
                publish[0] = "_INBOX.>".to_owned();
                calls(&mut publish);
                stores(&mut publish);
                publish.push(names.heartbeat_of(node));
                publish.push(format!("$KV.{}.report.*.*.{node}", names.staging()));
                publish.push(format!("$O.{}.>", names.objects()));
                publish.push(format!("$JS.API.STREAM.PURGE.{objects}"));
                let read = [&registry, &staging, &objects];
                publish.extend(read.into_iter().flat_map(|stream| reading(stream)));
                subscribe.extend([names.calls_of(node), names.control_of(node), names.hello()]);
            }
            Self::Deployer => {
                publish.push(format!("$KV.{}.>", names.registry()));
                publish.push(format!("$KV.{}.prepare.>", names.staging()));
                publish.push(format!("$O.{}.>", names.objects()));
                publish.push(format!("$JS.API.STREAM.PURGE.{objects}"));
                publish.push("$JS.API.INFO".to_owned());
                for stream in [&registry, &staging, &objects, &payloads] {
                    publish.push(format!("$JS.API.STREAM.CREATE.{stream}"));
                }
                publish.extend(
                    [&registry, &staging, &objects].into_iter().flat_map(|stream| reading(stream)),
                );
                publish.push(format!("$JS.API.STREAM.INFO.{payloads}"));
            }
        }
        Subjects { publish, subscribe }
    }
}

/// Whether a server reports by this text that it does not permit one of these subjects.
pub(crate) fn is_refused(needed: &Subjects, violation: &str) -> bool {
    let Some((operation, rest)) = violation.split_once('"') else { return false };
    let subject = rest.split('"').next().unwrap_or_default();
    let is_subscription = operation.to_ascii_lowercase().contains("subscription");
    let needed = if is_subscription { &needed.subscribe } else { &needed.publish };
    needed.iter().any(|pattern| covers(pattern, subject))
}

/// The stream of a bucket.
pub(crate) fn stream(kind: &str, bucket: &str) -> String {
    format!("{kind}_{bucket}")
}

/// The subjects to which a reader of a stream publishes.
fn reading(stream: &str) -> [String; 8] {
    [
        format!("$JS.API.STREAM.INFO.{stream}"),
        format!("$JS.API.STREAM.MSG.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}.>"),
        format!("$JS.API.CONSUMER.CREATE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.>"),
        format!("$JS.FC.{stream}.>"),
    ]
}

/// The subjects among `needed` that a user with these permissions may not use. An empty list of allowed subjects allows
/// every subject.
pub(crate) fn missing<'a>(
    needed: &'a [String],
    allowed: Option<&[String]>,
    denied: &[String],
) -> Vec<&'a str> {
    let may = |subject: &&String| {
        let is_allowed =
            allowed.is_none_or(|allowed| allowed.iter().any(|pattern| covers(pattern, subject)));
        is_allowed && !denied.iter().any(|pattern| overlaps(pattern, subject))
    };
    needed.iter().filter(|subject| !may(subject)).map(String::as_str).collect()
}

/// Whether each subject that `needed` matches is matched by `pattern` too.
fn covers(pattern: &str, needed: &str) -> bool {
    // What follows a space is the queue group of a subscription.
    let (mut pattern, mut needed) = (tokens(pattern), needed.split('.'));
    loop {
        match (pattern.next(), needed.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(own), Some(token)) if own == token => {}
            _ => return false,
        }
    }
}

/// Whether a subject exists that both patterns match.
fn overlaps(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (tokens(a), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

fn tokens(pattern: &str) -> std::str::Split<'_, char> {
    pattern.split(' ').next().unwrap_or_default().split('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_pattern_covers_what_it_matches_in_any_case() {
        for (pattern, needed, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a.>", true),
            (">", "a.>", true),
            ("a.b group", "a.b", true),
            ("a.b", "a.*", false),
            ("a.*", "a.>", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a", false),
            ("a", "a.b", false),
            ("a.b", "a.c", false),
        ] {
            assert_eq!(covers(pattern, needed), expected, "{pattern} {needed}");
        }
    }

    #[test]
    fn what_is_not_allowed_or_denied_is_missing() {
        let needed = ["a.b".to_owned(), "c.>".to_owned()];
        let list = |text: &str| vec![text.to_owned()];
        assert!(missing(&needed, None, &[]).is_empty());
        assert_eq!(missing(&needed, Some(&list("a.>")), &[]), ["c.>"]);
        assert_eq!(missing(&needed, None, &list("c.d")), ["c.>"]);
        assert_eq!(missing(&needed, Some(&list(">")), &list("*.b")), ["a.b", "c.>"]);
        assert_eq!(missing(&needed, Some(&[]), &[]), ["a.b", "c.>"]);
    }

    #[test]
    fn only_what_a_role_needs_is_refused_to_it() {
        let needed = Role::Node("n1".to_owned()).subjects(&Names::new("wpc"), "_INBOX.n1");
        for (violation, expected) in [
            ("Permissions Violation for Publish to \"wpc.v1.beat.n1\"", true),
            ("Permissions Violation for Publish to \"wpc.v1.beat.n2\"", false),
            (
                "Permissions Violation for Publish to \"$JS.API.STREAM.CREATE.KV_wpc_registry\"",
                false,
            ),
            (
                "Permissions Violation for Subscription to \"wpc.v1.call.n1.*\" using queue \"node\"",
                true,
            ),
            ("Permissions Violation for Subscription to \"_INBOX.n1.abc.*\"", true),
            ("Permissions Violation for Subscription to \"_INBOX.n2.abc.*\"", false),
            ("Permissions Violation", false),
        ] {
            assert_eq!(is_refused(&needed, violation), expected, "{violation}");
        }
    }

    /// The subjects in quotation marks between two words.
    fn quoted(text: &str, from: &str, to: &str) -> BTreeSet<String> {
        let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("{from} is missing"));
        let (list, _) = rest.split_once(to).unwrap();
        list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_documented_configuration_permits_exactly_what_each_role_needs() {
        let text = include_str!("../../docs/deploy/nats.conf");
        let names = Names::new("wpc");
        for (role, inbox) in [
            (Role::Client, "_INBOX.client"),
            (Role::TrustedClient, "_INBOX.trusted"),
            (Role::Node("n1".to_owned()), "_INBOX.n1"),
            (Role::Deployer, "_INBOX.deployer"),
        ] {
            let needed = role.subjects(&names, inbox);
            let (_, section) = text.split_once(&format!("# The {role}")).unwrap();
            for (word, list) in [("publish: [", needed.publish), ("subscribe: [", needed.subscribe)]
            {
                let list: BTreeSet<String> = list.into_iter().collect();
                assert_eq!(quoted(section, word, "]"), list, "{role}, {word}");
            }
        }
    }
}
