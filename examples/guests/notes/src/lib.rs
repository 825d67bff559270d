//! Notes in Markdown that live in the host's key-value store; needs the host functions `kv_get` and
//! `kv_set`, and the dependency `markdown`.
//!
//! A sandbox may be replaced at any moment, and every worker has its own. What has to last, and what
//! all of them have to see, belongs to the host.

use wpc::GuestError;

wpc::host! {
    /// What the store has under the key.
    fn kv_get(key: &str) -> Option<String>;
    /// Puts the value under the key, in the place of what was there.
    fn kv_set(key: &str, value: &str);
}

wpc::import! {
    mod markdown {
        fn markdown_to_html(text: &str) -> String;
    }
}

/// Keeps a note under its title, in the place of an older one.
#[wpc::function]
fn write_note(title: &str, text: &str) -> Result<(), GuestError> {
    kv_set(&key(title), text)?;
    wpc::info!("kept {title:?}");
    Ok(())
}

/// The note as a piece of HTML that is safe to embed.
///
/// Errors: `NoSuchNote`.
#[wpc::function]
fn show_note(title: &str) -> Result<String, GuestError> {
    let text = kv_get(&key(title))?.ok_or_else(|| {
        GuestError::new("NoSuchNote", format!("there is no note with the title {title:?}"))
    })?;
    markdown::markdown_to_html(&text)
}

/// Other plug-ins use the same store.
fn key(title: &str) -> String {
    format!("note/{title}")
}
