//! `wpc new`: a project that builds, with a test.

use crate::failure::Failure;
use crate::language::Language;
use crate::terminal;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The project's folder, whose last part is its name.
    path: PathBuf,
    /// The language that its function is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Where the SDK for Rust lies.
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $path))
    };
}

/// What the example guests have too: one text for both.
macro_rules! example {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/languages/", $path))
    };
}

/// The SDK that this command was built beside.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wpc-guest-sdk");

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    let Arguments { path, lang, sdk } = arguments;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !is_project_name(name) {
        return Err(Failure::usage(format!(
            "{}: a project's name is a letter, then letters, digits, hyphens or underscores",
            path.display()
        )));
    }
    let cannot = |path: &Path, error: &std::io::Error| {
        Failure::machine(format!("{}: {error}", path.display()))
    };
    let is_taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || path.is_file() {
        return Err(Failure::usage(format!("{} is there already, and not empty", path.display())));
    }
    let files = files(*lang, name, sdk.as_deref())?;
    for (file, text) in &files {
        let file = path.join(file);
        let folder = file.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
        std::fs::write(&file, text).map_err(|error| cannot(&file, &error))?;
    }
    let said = if as_json {
        let names: Vec<_> = files.iter().map(|(file, _)| file).collect();
        json!({ "path": path, "language": lang.name(), "files": names }).to_string()
    } else {
        let steps = steps(*lang).join("\n  ");
        format!(
            "{} is made. Now:\n\n  cd {0}\n  {steps}\n  wpc test\n  wpc call {name}.wasm greet Ada",
            path.display()
        )
    };
    terminal::print(format!("{said}\n").as_bytes())
}

fn is_project_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_fine)
}

/// What is typed before the module is there.
fn steps(lang: Language) -> &'static [&'static str] {
    match lang {
        Language::Rust => &["cargo test", "wpc build"],
        Language::AssemblyScript => &["npm install", "wpc build"],
        Language::C | Language::Zig | Language::Wat => &["wpc build"],
    }
}

/// A project's files: where each lies, and its text.
fn files(
    lang: Language,
    name: &str,
    sdk: Option<&Path>,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut manifest = template!("wpc.toml.in").to_owned();
    let mut ignored = format!("/{name}.wasm\n");
    let mut files: Vec<(&'static str, String)> = match lang {
        Language::Rust => {
            ignored.push_str("/target\n");
            let cargo = template!("rust/Cargo.toml.in").replace("{{sdk}}", &sdk_dependency(sdk)?);
            vec![("Cargo.toml", cargo), ("src/lib.rs", template!("rust/src/lib.rs").to_owned())]
        }
        Language::C => vec![
            ("main.c", template!("c/main.c").to_owned()),
            ("wpc.h", example!("c/wpc.h").to_owned()),
        ],
        Language::Zig => vec![
            ("main.zig", template!("zig/main.zig").to_owned()),
            ("wpc.zig", example!("zig/wpc.zig").to_owned()),
        ],
        Language::AssemblyScript => {
            ignored.push_str("/node_modules\n");
            let package = example!("assemblyscript/package.json");
            let package = package.replace("wpc-example-greeter", "{{name}}");
            vec![
                ("package.json", package),
                ("assembly/index.ts", template!("assemblyscript/assembly/index.ts").to_owned()),
                ("assembly/wpc.ts", example!("assemblyscript/assembly/wpc.ts").to_owned()),
            ]
        }
        Language::Wat => vec![("main.wat", template!("wat/main.wat").to_owned())],
    };
    if matches!(lang, Language::C | Language::Zig | Language::AssemblyScript) {
        manifest.push_str(template!("signatures.toml.in"));
    }
    files.push(("wpc.toml", manifest));
    files.push((".gitignore", ignored));
    files.push(("README.md", template!("README.md.in").to_owned()));
    for (_, text) in &mut files {
        *text = text
            .replace("{{name}}", name)
            .replace("{{language}}", lang.name())
            .replace("{{steps}}", &steps(lang).join("\n"));
    }
    Ok(files)
}

fn sdk_dependency(sdk: Option<&Path>) -> Result<String, Failure> {
    let folder = sdk.unwrap_or(Path::new(SDK));
    let folder =
        std::fs::canonicalize(folder).ok().filter(|folder| folder.join("Cargo.toml").is_file());
    let folder = folder.ok_or_else(|| {
        let place = sdk.unwrap_or(Path::new(SDK)).display();
        Failure::usage(format!(
            "the SDK for Rust does not lie in {place}; say where its folder `wpc-guest-sdk` is, with --sdk"
        ))
    })?;
    // A literal of TOML, whatever the path has in it.
    Ok(format!("{{ path = {} }}", toml::Value::from(folder.to_string_lossy().into_owned())))
}
