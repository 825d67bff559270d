//! The languages that `wpc new` and `wpc build` support, and their detection from a project's files.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    Rust,
    C,
    Zig,
    #[value(name = "assemblyscript")]
    AssemblyScript,
    Wat,
}

impl Language {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Zig => "Zig",
            Self::AssemblyScript => "AssemblyScript",
            Self::Wat => "WebAssembly text",
        }
    }
}

/// The sources to compile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) language: Language,
    /// The folder in which the compiler runs, and to which the module is written by default.
    pub(crate) folder: PathBuf,
    /// The module's name.
    pub(crate) name: String,
    /// The compiler's input files, relative to the folder; empty if the compiler finds them itself.
    pub(crate) files: Vec<PathBuf>,
}

impl Sources {
    /// Detects the sources of a folder or a file.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        let cannot =
            |error: std::io::Error| Failure::environment(format!("{}: {error}", path.display()));
        let path = std::fs::canonicalize(path).map_err(cannot)?;
        if path.is_dir() {
            return Self::in_folder(&path).map_err(cannot)?.ok_or_else(|| {
                Failure::usage(format!(
                    "{}: found no project; expected Cargo.toml, package.json with assembly/index.ts, *.c, main.zig or a single *.zig, or main.wat or a single *.wat",
                    path.display()
                ))
            });
        }
        // A compiler would block on a pipe or read a device forever.
        if !path.is_file() {
            let message = format!("\"{}\": expected a regular file or a folder", path.display());
            return Err(Failure::environment(message));
        }
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let file = path.file_name().map(PathBuf::from).unwrap_or_default();
        let language = match path.extension().and_then(|extension| extension.to_str()) {
            Some("c") => Language::C,
            Some("zig") => Language::Zig,
            Some("ts") => Language::AssemblyScript,
            Some("wat") => Language::Wat,
            _ if file == Path::new("Cargo.toml") => return Self::at(&folder),
            _ => {
                return Err(Failure::usage(format!(
                    "{}: expected a source file (*.c, *.zig, *.ts or *.wat) or, for Rust, a folder with Cargo.toml",
                    path.display()
                )));
            }
        };
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { language, folder, name, files: vec![file] })
    }

    fn in_folder(folder: &Path) -> std::io::Result<Option<Self>> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            names.push(PathBuf::from(entry?.file_name()));
        }
        names.sort();
        let of = |extension: &str| -> Vec<PathBuf> {
            // Editors create lock files whose names begin with a dot.
            let is_meant = |name: &&PathBuf| {
                name.extension().is_some_and(|found| found == extension)
                    && !name.to_string_lossy().starts_with('.')
                    && folder.join(name).is_file()
            };
            names.iter().filter(is_meant).cloned().collect()
        };
        // The main file, or the only one apart from the helper that `wpc new` creates.
        let main = |extension: &str| {
            let files = of(extension);
            let main = PathBuf::from(format!("main.{extension}"));
            if files.contains(&main) {
                return vec![main];
            }
            let files: Vec<_> =
                files.into_iter().filter(|file| file.file_stem() != Some("wpc".as_ref())).collect();
            if files.len() == 1 { files } else { Vec::new() }
        };
        let script = Path::new("assembly/index.ts");
        let found = if names.contains(&PathBuf::from("Cargo.toml")) {
            Some((Language::Rust, Vec::new()))
        } else if names.contains(&PathBuf::from("package.json")) && folder.join(script).is_file() {
            Some((Language::AssemblyScript, vec![script.to_owned()]))
        } else {
            [(Language::C, of("c")), (Language::Zig, main("zig")), (Language::Wat, main("wat"))]
                .into_iter()
                .find(|(_, files)| !files.is_empty())
        };
        let folder = folder.to_owned();
        Ok(found.map(|(language, files)| Self { language, folder, name, files }))
    }
}
