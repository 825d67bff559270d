//! The schemas of types that need the standard library.

use super::*;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::SystemTime;

plain! {
    Path: "Path" String;
    PathBuf: "PathBuf" String;
}

like! {
    [T: Schema + ?Sized] Mutex<T>: T;
    [T: Schema + ?Sized] RwLock<T>: T;
}

sequences! {
    [S] HashSet<T, S>: "HashSet<T>";
}

structs! {
    [] SystemTime: "SystemTime" { "secs_since_epoch": u64, "nanos_since_epoch": u32 };
}

impl<K: Schema, V: Schema, S> Schema for HashMap<K, V, S> {
    const SCHEMA: &'static NamedType =
        &NamedType { name: "HashMap<K, V>", ty: &Type::Map { key: K::SCHEMA, val: V::SCHEMA } };
    comments_of!(K, V);
}
