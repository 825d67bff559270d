//! Manifests whose modules are named by their content: `file = "<SHA-256>.wasm"`. The meaning of
//! such a text does not depend on other files, so it can be sent to a server, stored and compared.

use crate::item::{Item, Kind};
use crate::manifest::{Entry, Manifest, Source, json};
use crate::module_file;
use crate::problem::{MANIFEST, Problem};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use wpc_host::Sha256Hash;

/// A manifest whose modules are named by their content, with the modules.
#[derive(Debug)]
#[non_exhaustive]
pub struct Packed {
    /// The text of the manifest. Only the names of modules differ from the source.
    pub text: String,
    /// The modules that it names, in binary form.
    pub modules: BTreeMap<String, Arc<[u8]>>,
    /// The entries with modules, in the order of definition.
    pub entries: Vec<PackedEntry>,
}

/// An entry of a packed manifest.
#[derive(Debug)]
#[non_exhaustive]
pub struct PackedEntry {
    /// The item that the entry defines.
    pub item: Item,
    /// The byte offset of the entry in the source.
    pub at: usize,
    /// The module's file as the source names it.
    pub file: PathBuf,
    /// The name of the module by its content.
    pub module: String,
}

impl Packed {
    /// Reads the modules of a manifest.
    ///
    /// # Errors
    ///
    /// All entries whose modules cannot be read.
    pub fn read(source: &Source, manifest: &Manifest) -> Result<Self, Vec<Problem>> {
        let (mut problems, mut modules) = (Vec::new(), BTreeMap::new());
        let (mut names, mut entries) = (HashMap::new(), Vec::new());
        for (item, entry) in module_entries(manifest) {
            let (at, entry) = (entry.span().start, entry.get_ref());
            let (file, limit) = (&entry.file, entry.limits.chosen().module_size);
            let read = || module_file::bytes(&source.folder().join(file), limit);
            let name = match names.get(&(file, limit)) {
                Some(name) => String::clone(name),
                None => match read() {
                    Ok(bytes) => {
                        let name = module_name(Sha256Hash::of(&bytes));
                        modules.insert(name.clone(), bytes.into());
                        names.insert((file, limit), name.clone());
                        name
                    }
                    Err(error) => {
                        let message = format!("{item}: {}", error.full_text());
                        problems.push(source.problem(at, error.code(), &message));
                        continue;
                    }
                },
            };
            entries.push(PackedEntry { item, at, file: file.clone(), module: name });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut text = source.text().to_owned();
        // From the end, because a replacement moves the text after it.
        for (span, file) in source.files().into_iter().rev() {
            if let Some(entry) = entries.iter().find(|entry| entry.file == Path::new(&file)) {
                text.replace_range(span, &format!("\"{}\"", entry.module));
            }
        }
        Ok(Self { text, modules, entries })
    }
}

/// The entries with modules, in the order of definition.
fn module_entries(manifest: &Manifest) -> impl Iterator<Item = (Item, &Spanned<Entry>)> {
    let tables = [
        (Kind::Dependency, &manifest.dependencies),
        (Kind::Module, &manifest.modules),
        (Kind::Function, &manifest.functions),
    ];
    tables.into_iter().flat_map(|(kind, entries)| {
        entries.iter().map(move |(name, entry)| (Item::new(kind, name), entry))
    })
}

/// The name of a module's file by its content.
#[must_use]
pub fn module_name(hash: Sha256Hash) -> String {
    format!("{hash}.wasm")
}

/// The hash of the content that the name of a module's file contains, if it contains one.
#[must_use]
pub fn named_content(file: &Path) -> Option<Sha256Hash> {
    let hash = file.to_str()?.strip_suffix(".wasm")?;
    // Only one spelling, so that two different names always refer to different contents.
    let is_exact = hash.len() == 64 && hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    hash.parse().ok().filter(|_| is_exact)
}

/// The hashes of the modules of a manifest, each once.
///
/// # Errors
///
/// The entries whose modules are not named by their content.
pub fn named_modules(
    source: &Source,
    manifest: &Manifest,
) -> Result<Vec<Sha256Hash>, Vec<Problem>> {
    let (mut hashes, mut problems) = (Vec::new(), Vec::new());
    for file in manifest.files() {
        match named_content(&file) {
            Some(hash) => hashes.push(hash),
            None => {
                let message = format!(
                    "the module \"{}\" is not named by its content: expected the SHA-256 in hexadecimal digits and `.wasm`",
                    file.display()
                );
                problems.push(source.problem(0, MANIFEST, &message));
            }
        }
    }
    if problems.is_empty() { Ok(hashes) } else { Err(problems) }
}

/// The difference of an item between two manifests, as their texts state it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The item.
    pub item: Item,
    /// Its table or value before; `None` if it was added. It contains the reference to a secret,
    /// not the secret.
    pub before: Option<Value>,
    /// Its table or value after; `None` if it was removed.
    pub after: Option<Value>,
}

/// The items that differ between two manifests, in the order of definition.
#[must_use]
pub fn differences(before: &Source, after: &Source) -> Vec<Difference> {
    let (before, after) = (items(before), items(after));
    let mut all: BTreeMap<&Item, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
    for (item, value) in &before {
        all.entry(item).or_default().0 = Some(value);
    }
    for (item, value) in &after {
        all.entry(item).or_default().1 = Some(value);
    }
    let differ = all.into_iter().filter(|(_, (before, after))| before != after);
    let difference = |(item, (before, after)): (&Item, (Option<&Value>, Option<&Value>))| {
        Difference { item: item.clone(), before: before.cloned(), after: after.cloned() }
    };
    differ.map(difference).collect()
}

/// The items of a text that was parsed as a manifest.
pub(crate) fn items(source: &Source) -> BTreeMap<Item, Value> {
    let mut items = BTreeMap::new();
    let Ok(table) = source.text().parse::<toml::Table>() else { return items };
    for (kind, key) in KEYS {
        for (name, value) in table.get(key).and_then(toml::Value::as_table).into_iter().flatten() {
            items.insert(Item { kind, name: name.clone() }, json(value));
        }
    }
    items
}

const KEYS: [(Kind, &str); 4] = [
    (Kind::Constant, "constants"),
    (Kind::Dependency, "dependencies"),
    (Kind::Module, "modules"),
    (Kind::Function, "functions"),
];

/// The text of `current` with one item replaced by that of `earlier`, or removed if `earlier` does
/// not have it. Comments are lost.
///
/// # Errors
///
/// A problem of `current` if neither manifest has the item.
pub fn with_earlier(current: &Source, earlier: &Source, item: &Item) -> Result<String, Problem> {
    let parse = |source: &Source| {
        let table = source.text().parse::<toml::Table>();
        table.map_err(|error| source.problem(0, MANIFEST, error.message()))
    };
    let (mut table, then) = (parse(current)?, parse(earlier)?);
    let key = KEYS.iter().find(|(kind, _)| *kind == item.kind).map_or("functions", |(_, key)| key);
    let value = then.get(key).and_then(|items| items.get(&item.name)).cloned();
    let items = table.entry(key).or_insert_with(|| toml::Table::new().into());
    let items = items.as_table_mut();
    let before = match (items, value) {
        (Some(items), Some(value)) => {
            items.insert(item.name.clone(), value.clone()).or(Some(value))
        }
        (Some(items), None) => items.remove(&item.name),
        (None, _) => None,
    };
    if before.is_none() {
        let message = format!("neither revision has {item}");
        return Err(current.problem(0, MANIFEST, &message));
    }
    Ok(table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("wpc.toml".into(), text.to_owned())
    }

    #[test]
    fn a_packed_manifest_names_modules_by_their_content_and_keeps_its_comments() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f.wat"), "(module (func (export \"f\")))").unwrap();
        let text = "# One.\n[functions]\nf = { grants = [], file = 'f.wat' } # Two.\n[functions.g]\nfile=\"\"\"f.wat\"\"\"\nexport = \"f\"\n[dependencies.file]\nfile = \"./f.wat\"\n";
        let source = Source::new(folder.path().join("wpc.toml"), text.to_owned());
        let packed = Packed::read(&source, &source.parse().unwrap()).unwrap();
        assert_eq!(packed.modules.len(), 1);
        let (name, bytes) = packed.modules.first_key_value().unwrap();
        assert_eq!(named_content(Path::new(name)), Some(Sha256Hash::of(bytes)));
        let expected = text.replace("'f.wat'", &format!("\"{name}\""));
        let expected = expected.replace("\"\"\"f.wat\"\"\"", &format!("\"{name}\""));
        assert_eq!(packed.text, expected.replace("\"./f.wat\"", &format!("\"{name}\"")));
        let again = Source::new("x.toml".into(), packed.text);
        assert_eq!(named_modules(&again, &again.parse().unwrap()).unwrap().len(), 1);
    }

    #[test]
    fn each_entry_whose_module_cannot_be_read_is_reported_at_its_line() {
        let source = Source::new(
            "none/wpc.toml".into(),
            "[constants]\nA = \"a\"\n[functions.f]\nfile = \"f.wasm\"\n[functions.g]\nfile = \"f.wasm\"\n".to_owned(),
        );
        let problems = Packed::read(&source, &source.parse().unwrap()).unwrap_err();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(shown[0].starts_with("none/wpc.toml:3: function \"f\": failed to"), "{shown:?}");
        assert!(shown[1].starts_with("none/wpc.toml:5: function \"g\": failed to"), "{shown:?}");
    }

    #[test]
    fn a_module_that_is_not_named_by_its_content_is_refused() {
        let hash = "a".repeat(64);
        for file in [
            "f.wasm",
            "../x.wasm",
            &format!("../{hash}.wasm"),
            &format!("{}.wasm", hash.to_uppercase()),
            &hash,
        ] {
            let source = source(&format!("[functions.f]\nfile = \"{file}\"\n"));
            let problems = named_modules(&source, &source.parse().unwrap()).unwrap_err();
            assert!(problems[0].message.contains(file), "{problems:?}");
        }
    }

    #[test]
    fn differences_list_what_was_added_changed_and_removed() {
        let before =
            source("[constants]\nA = 1\nB = { secret = \"env:B\" }\n[functions.f]\nfile = \"1\"\n");
        let after = source(
            "[constants]\nB = { secret = \"env:B\" }\n[functions]\nf.file = \"2\"\ng.file = \"1\"\n",
        );
        let found = differences(&before, &after);
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.item.to_string(), found.before.is_some(), found.after.is_some()))
            .collect();
        let expected = [
            ("constant \"A\"", true, false),
            ("function \"f\"", true, true),
            ("function \"g\"", false, true),
        ];
        assert_eq!(found, expected.map(|(item, before, after)| (item.to_owned(), before, after)));
    }

    #[test]
    fn one_item_is_taken_from_an_earlier_manifest() {
        let current = source("[functions]\nf.file = \"2\"\ng.file = \"2\"\n");
        let earlier = source("[functions]\nf.file = \"1\"\nh.file = \"1\"\n");
        let item = |name: &str| Item { kind: Kind::Function, name: name.to_owned() };
        let changed = |name: &str| {
            let text = with_earlier(&current, &earlier, &item(name)).unwrap();
            let found: Vec<_> = items(&source(&text))
                .into_iter()
                .map(|(item, value)| format!("{}{}", item.name, value["file"].as_str().unwrap()))
                .collect();
            found.join(" ")
        };
        assert_eq!(changed("f"), "f1 g2");
        assert_eq!(changed("g"), "f2");
        assert_eq!(changed("h"), "f2 g2 h1");
        let refused = with_earlier(&current, &earlier, &item("x")).unwrap_err();
        assert!(refused.message.contains("neither revision has function \"x\""), "{refused}");
    }
}
