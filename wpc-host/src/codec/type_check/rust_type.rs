//! Uses the name of a Rust type: to show it, and to decide whether all its values have the same shape.
//!
//! The compiler does not guarantee names. If a name is unknown here, values of the type are checked in every call; nothing
//! else depends on it.

/// Types whose values have no parts.
const PRIMITIVES: [&str; 18] = [
    "()", "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "isize", "str", "u128",
    "u16", "u32", "u64", "u8", "usize",
];

/// Prefixes of the names of types whose shape depends only on the types of their parts.
const CONTAINERS: [&str; 9] = [
    "(",
    "[",
    "alloc::collections::",
    "alloc::string::String",
    "alloc::vec::Vec<",
    "core::num::nonzero::NonZero<",
    "core::option::Option<",
    "core::result::Result<",
    "std::collections::",
];

/// Prefixes of the names of types that serialize as the value to which they point.
const POINTERS: [&str; 6] = [
    "&",
    "mut ",
    "alloc::borrow::Cow<",
    "alloc::boxed::Box<",
    "alloc::rc::Rc<",
    "alloc::sync::Arc<",
];

/// Whether all values of the Rust type have the same shape. `name` is the name that its `Serialize` passes. The values of
/// an untagged enum or of JSON, for example, have different shapes.
pub(super) fn has_one_shape(mut rust: &str, name: Option<&str>) -> bool {
    while let Some(inner) = POINTERS.iter().find_map(|pointer| rust.strip_prefix(pointer)) {
        rust = inner;
    }
    PRIMITIVES.contains(&rust.trim_end_matches('>'))
        || CONTAINERS.iter().any(|container| rust.starts_with(container))
        || name.is_some_and(|name| {
            let path = rust.split(['<', '>']).next().unwrap_or(rust);
            path.rsplit("::").next() == Some(name)
        })
}

/// The innermost name, such as `u64` of `Option<u64>`.
pub(super) fn leaf(rust: &str) -> &str {
    let rust = rust.trim_end_matches(['>', ',', ')', ']']);
    rust.rsplit(['<', '(', '[', '&', ' ', ':']).next().unwrap_or(rust)
}

/// The name without paths, such as `Vec<u8>` of `alloc::vec::Vec<u8>`.
pub(super) fn short(rust: &str) -> String {
    let mut short = String::with_capacity(rust.len());
    // The start of the current path.
    let mut begin = 0;
    for char in rust.chars() {
        short.push(char);
        if !(char.is_alphanumeric() || char == '_' || char == ':') {
            begin = short.len();
        } else if short[begin..].ends_with("::") {
            short.truncate(begin);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::any::type_name;

    #[test]
    fn names_lose_their_paths() {
        assert_eq!(
            short(type_name::<(Vec<String>, &[u8], Option<std::time::Duration>)>()),
            "(Vec<String>, &[u8], Option<Duration>)"
        );
        assert_eq!(short(type_name::<[u8; 3]>()), "[u8; 3]");
    }

    #[test]
    fn the_leaf_is_the_innermost_type() {
        assert_eq!(leaf(type_name::<usize>()), "usize");
        assert_eq!(leaf(type_name::<&usize>()), "usize");
        assert_eq!(leaf(type_name::<Option<std::num::NonZero<u64>>>()), "u64");
        assert_eq!(leaf(type_name::<String>()), "String");
    }

    #[test]
    fn only_types_whose_values_look_alike_have_one_shape() {
        for (rust, name) in [
            (type_name::<&u32>(), None),
            (type_name::<(u8, String)>(), None),
            (type_name::<Box<str>>(), None),
            (type_name::<Vec<serde_json::Value>>(), None),
            (type_name::<std::collections::HashMap<u8, u8>>(), None),
            (type_name::<&crate::GuestError>(), Some("GuestError")),
            (type_name::<std::sync::Arc<crate::GuestError>>(), Some("GuestError")),
        ] {
            assert!(has_one_shape(rust, name), "{rust}");
        }
        for (rust, name) in [
            (type_name::<serde_json::Value>(), None),
            (type_name::<&Box<serde_json::Value>>(), None),
            (type_name::<crate::GuestError>(), Some("Other")),
            (type_name::<Box<dyn std::fmt::Debug>>(), None),
        ] {
            assert!(!has_one_shape(rust, name), "{rust}");
        }
    }
}
