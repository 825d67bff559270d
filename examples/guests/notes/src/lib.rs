//! Notes in Markdown, stored in the host's key-value store. Needs the host functions `kv_get` and `kv_set`, and the
//! dependency `markdown`.
//!
//! A sandbox may be replaced at any time, and every worker has its own. Persistent and shared state belongs to the host.

use wpc::GuestError;

wpc::host! {
    /// The value of the key in the store.
    fn kv_get(key: &str) -> Option<String>;
    /// Sets the value of the key, replacing an earlier one.
    fn kv_set(key: &str, value: &str);
}

wpc::import! {
    mod markdown {
        fn markdown_to_html(text: &str) -> String;
    }
}

/// Stores a note by its title, replacing an earlier one.
#[wpc::function]
fn write_note(title: &str, text: &str) -> Result<(), GuestError> {
    kv_set(&key(title), text)?;
    wpc::info!("stored {title:?}");
    Ok(())
}

/// Returns the note as HTML that is safe to embed.
///
/// Errors: `NoSuchNote`.
#[wpc::function]
fn show_note(title: &str) -> Result<String, GuestError> {
    let text = kv_get(&key(title))?
        .ok_or_else(|| GuestError::new("NoSuchNote", format!("no note has the title {title:?}")))?;
    markdown::markdown_to_html(&text)
}

/// The prefix separates notes from the keys of other plug-ins.
fn key(title: &str) -> String {
    format!("note/{title}")
}
