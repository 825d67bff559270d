//! What the quickstart's functions need to know about paths.

/// The last part of a path.
#[wpc::function]
fn basename(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
