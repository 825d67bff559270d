//! Warnings of a build: types that cannot be passed as JSON, and output that is discarded. The module does not contain
//! the names of its Rust types, so the sources are searched for them.

use crate::language::{Language, Sources};
use std::path::{Path, PathBuf};
use wpc_deploy::file;
use wpc_host::ModuleInformation;

/// The maximum size of a searched source file in bytes.
const MAX_SOURCE: usize = 16 << 20;

/// Rust's macros that print, with their replacements.
const PRINTS: [(&str, &str); 5] = [
    ("println!", "wpc::info!"),
    ("print!", "wpc::info!"),
    ("eprintln!", "wpc::error!"),
    ("eprint!", "wpc::error!"),
    ("dbg!", "wpc::debug!"),
];

/// The warnings about a module that was built from these sources.
pub(crate) fn warnings(
    sources: &Sources,
    module: &ModuleInformation,
    is_wasi: bool,
) -> Vec<String> {
    let code =
        if sources.language == Language::Rust { read_all(&sources.folder) } else { Vec::new() };
    let mut warnings = untyped(sources.language, module, &code);
    if !is_wasi {
        warnings.extend(code.iter().flat_map(|(file, text)| printing(file, text)));
    }
    warnings
}

fn untyped(
    language: Language,
    module: &ModuleInformation,
    code: &[(PathBuf, String)],
) -> Vec<String> {
    let mut warnings = Vec::new();
    for function in &module.functions {
        let name = &function.name;
        let Some(signature) = &function.signature else {
            warnings.push(format!(
                "function \"{name}\" does not declare its types and cannot be called with JSON; declare them under [build.signatures] of wpc.toml"
            ));
            continue;
        };
        if language != Language::Rust {
            continue;
        }
        let written = code.iter().find_map(|(file, text)| {
            let written = Written::find(text, name)?;
            Some((file, written))
        });
        let position = written
            .as_ref()
            .map(|(file, written)| format!("{}:{}: ", file.display(), written.line));
        let position = position.unwrap_or_default();
        let remedy = "so it cannot be passed as JSON and is not type-checked; add `#[derive(wpc::Schema)]` to the type and to the types of its fields";
        for (at, parameter) in signature.parameters.iter().enumerate() {
            if parameter.ty.is_none() {
                let argument = &parameter.name;
                let written = written.as_ref().and_then(|(_, written)| written.arguments.get(at));
                let ty = written.map(|ty| format!(": {ty}")).unwrap_or_default();
                warnings.push(format!(
                    "{position}function \"{name}\": argument `{argument}{ty}` does not have a schema, {remedy}"
                ));
            }
        }
        if signature.result.is_none() {
            let written = written.as_ref().and_then(|(_, written)| written.result.as_ref());
            let ty = written.map(|ty| format!(" `{ty}`")).unwrap_or_default();
            warnings.push(format!(
                "{position}function \"{name}\": result{ty} does not have a schema, {remedy}"
            ));
        }
    }
    warnings
}

/// A function's declaration in the source.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    /// Starts at 1.
    line: usize,
    /// The arguments' types.
    arguments: Vec<String>,
    result: Option<String>,
}

impl Written {
    /// Finds the function by its name.
    fn find(text: &str, name: &str) -> Option<Self> {
        let start = format!("fn {name}");
        let (at, _) = text.match_indices(&start).find(|(at, _)| {
            let rest = text[at + start.len()..].trim_start();
            rest.starts_with(['(', '<'])
        })?;
        let line = text[..at].matches('\n').count() + 1;
        let open = at + text[at..].find('(')?;
        let end = open + closing(&text[open..])?;
        let arguments = split(&text[open + 1..end]);
        let arguments =
            arguments.filter_map(|argument| Some(one_line(argument.split_once(':')?.1)));
        let body = end + text[end..].find('{')?;
        let result = text[end + 1..body].trim().strip_prefix("->").map(one_line);
        Some(Self { line, arguments: arguments.collect(), result })
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The position of the bracket that closes the text's first one.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The parts between commas that are not within brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |character| {
        match character {
            '(' | '[' | '<' => depth += 1,
            ')' | ']' | '>' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
}

/// The warnings about lines that print, up to the file's tests.
fn printing(file: &Path, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let lines = lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    let mut warnings = Vec::new();
    for (at, line) in lines {
        let code = line.split("//").next().unwrap_or_default();
        let used = PRINTS.iter().find(|(print, _)| {
            code.match_indices(print).any(|(at, _)| {
                !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            })
        });
        if let Some((print, instead)) = used {
            warnings.push(format!(
                "{}:{}: `{print}` has no effect on this target; use `{instead}`, or build for wasm32-wasip1 and grant `output`",
                file.display(),
                at + 1
            ));
        }
    }
    warnings
}

/// The package's Rust sources, by path relative to its folder.
fn read_all(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("src")];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(folder.join(&next)) else { continue };
        for entry in entries.flatten() {
            let path = next.join(entry.file_name());
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            match entry.file_type() {
                Ok(ty) if ty.is_dir() => open.push(path),
                Ok(ty) if ty.is_file() && is_rust => {
                    let text = file::read(&folder.join(&path), MAX_SOURCE).ok();
                    if let Some(text) = text.and_then(|text| String::from_utf8(text).ok()) {
                        found.push((path, text));
                    }
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_a_function_are_found_in_its_source() {
        let text = "// fn f is below\nfn f_other() {}\nfn f(\n    a: Vec<(u8, Point)>,\n    b: &str,\n) -> Result<Point, E> {\n}";
        let written = Written::find(text, "f").unwrap();
        assert_eq!(written.line, 3);
        assert_eq!(written.arguments, ["Vec<(u8, Point)>", "&str"]);
        assert_eq!(written.result.as_deref(), Some("Result<Point, E>"));
        assert_eq!(Written::find("fn g() {}", "g").unwrap().arguments, Vec::<String>::new());
        assert_eq!(Written::find(text, "none"), None);
    }

    #[test]
    fn printing_macros_are_found_except_in_comments_and_tests() {
        let text = "fn f() {\n    // println!(1)\n    my_println!(2);\n    eprintln!(3);\n}\n#[cfg(test)]\nmod tests { println!(4) }";
        let found = printing(Path::new("src/lib.rs"), text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("src/lib.rs:4: `eprintln!`"), "{found:?}");
    }
}
