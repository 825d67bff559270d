//! Paths, for the functions of the quickstart.

/// The last part of a path.
#[wpc::function]
fn basename(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
