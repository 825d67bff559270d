//! The file of a manifest, with positions in its text.

use super::{MANIFEST_NAME, Manifest};
use crate::file;
use crate::problem::{MANIFEST, Problem};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text of a manifest with its path.
#[derive(Debug)]
pub struct Source {
    /// The path of the file.
    pub path: PathBuf,
    /// Whether the text is in the file, so that problems name it.
    is_in_file: bool,
    text: String,
    /// The byte offset of each line's end.
    line_ends: Vec<usize>,
}

/// The maximum size of a manifest in bytes: enough for several hundred thousand entries.
const MAX_MANIFEST: usize = 64 << 20;

impl Source {
    /// Reads a manifest; `path` is its file or its folder.
    ///
    /// # Errors
    ///
    /// A problem with the code [`ENVIRONMENT`](crate::ENVIRONMENT) if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let path = Self::path(path);
        let bytes = file::read(&path, MAX_MANIFEST)
            .map_err(|error| Problem::environment(error.to_string()))?;
        let bytes = file::without_byte_order_mark(&bytes).to_vec();
        let text = String::from_utf8(bytes).map_err(|error| {
            Problem::environment(format!(
                "failed to read \"{}\": expected UTF-8: {error}",
                path.display()
            ))
        })?;
        Ok(Self::new(path, text))
    }

    /// Whether a path names a manifest instead of a module: a folder or a `.toml` file.
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        path.is_dir() || path.extension().is_some_and(|found| found == "toml")
    }

    /// The manifest's file; `path` is the file or its folder.
    #[must_use]
    pub fn path(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(MANIFEST_NAME) } else { path.to_owned() }
    }

    /// A manifest with this text. Its paths are relative to the folder of `path`.
    #[must_use]
    pub fn new(path: PathBuf, text: String) -> Self {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { path, is_in_file: true, text, line_ends }
    }

    /// A manifest that is not in a file, so that its problems name none. Its paths are relative to `folder`.
    #[must_use]
    pub fn without_file(folder: &Path, text: String) -> Self {
        Self { is_in_file: false, ..Self::new(folder.join(MANIFEST_NAME), text) }
    }

    /// The text of the manifest.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The `file` of each entry with the byte range of its value, in the order of the text. Empty if the text is not TOML.
    pub(crate) fn files(&self) -> Vec<(Range<usize>, String)> {
        let Ok(table) = DeTable::parse(&self.text) else { return Vec::new() };
        let mut files = Vec::new();
        for (key, entries) in table.get_ref() {
            let is_listed =
                matches!(key.get_ref().as_ref(), "dependencies" | "functions" | "modules");
            let DeValue::Table(entries) = entries.get_ref() else { continue };
            for entry in entries.values().filter(|_| is_listed) {
                let DeValue::Table(entry) = entry.get_ref() else { continue };
                let file = entry.get("file");
                if let Some((span, DeValue::String(file))) =
                    file.map(|file| (file.span(), file.get_ref()))
                {
                    files.push((span, file.clone().into_owned()));
                }
            }
        }
        files.sort_by_key(|(span, _)| span.start);
        files
    }

    /// Reads the manifest from its text.
    ///
    /// # Errors
    ///
    /// The first problem, with its line and the code [`MANIFEST`].
    pub fn parse(&self) -> Result<Manifest, Problem> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let message = match self.key_of_value(at) {
                Some(key) => format!("`{key}`: {}", error.message()),
                None => error.message().to_owned(),
            };
            self.problem(at, MANIFEST, &message)
        })
    }

    /// The dotted key of the value at a byte offset, if there is one and the text is valid TOML.
    fn key_of_value(&self, at: usize) -> Option<String> {
        let table = DeTable::parse(&self.text).ok()?;
        keys_in(table.get_ref(), at).map(|keys| keys.join("."))
    }

    /// The folder that the manifest's paths are relative to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// A problem at a byte offset of the text.
    #[must_use]
    pub fn problem(&self, at: usize, code: &'static str, message: &str) -> Problem {
        let line = self.line_ends.partition_point(|end| *end < at) + 1;
        Problem {
            file: self.is_in_file.then(|| self.path.clone()),
            line: Some(line),
            code,
            message: message.to_owned(),
        }
    }
}

/// The keys below `value` that lead to the innermost value that starts at a byte offset. Items of arrays have no key.
fn keys_to<'a>(value: &'a Spanned<DeValue<'_>>, at: usize) -> Option<Vec<&'a str>> {
    let below = match value.get_ref() {
        DeValue::Table(table) => keys_in(table, at),
        DeValue::Array(items) => items.iter().find_map(|item| keys_to(item, at)),
        _ => None,
    };
    below.or_else(|| (value.span().start == at).then(Vec::new))
}

fn keys_in<'a>(table: &'a DeTable<'_>, at: usize) -> Option<Vec<&'a str>> {
    table.iter().find_map(|(key, value)| {
        let mut keys = keys_to(value, at)?;
        keys.insert(0, key.get_ref());
        Some(keys)
    })
}
