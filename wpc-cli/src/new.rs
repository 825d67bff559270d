//! `wpc new`: creates a project that builds, with tests.

use crate::failure::Failure;
use crate::language::Language;
use crate::sdk::Sdk;
use crate::terminal;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder to create; its last part is the project's name.
    path: PathBuf,
    /// The project's language.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// The project's template; `serde` requires Rust.
    #[arg(long, value_enum, default_value_t = Template::Greeting)]
    template: Template,
    /// The Rust SDK: the path of its folder, or a published version such as `0.1`. Default: the sources that this
    /// command was built with, copied to the project's folder `vendor`.
    #[arg(long, value_name = "PATH|VERSION")]
    sdk: Option<String>,
}

/// The initial code of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Template {
    /// A function that returns a greeting for a name.
    Greeting,
    /// A function with structs as argument and result.
    Serde,
}

impl Template {
    /// The arguments of `wpc call` for its function.
    const fn call(self) -> &'static str {
        match self {
            Self::Greeting => "greet Ada",
            Self::Serde => r#"order '[{"name": "tea", "count": 2, "price": 300}]'"#,
        }
    }

    /// The line for `wpc run` that calls its function.
    const fn line(self) -> &'static str {
        match self {
            Self::Greeting => r#"{"id": 1, "function": "greet", "arguments": ["Ada"]}"#,
            Self::Serde => {
                r#"{"id": 1, "function": "order", "arguments": [[{"name": "tea", "count": 2, "price": 300}]]}"#
            }
        }
    }
}

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $path))
    };
}

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    let Arguments { path, lang, template, sdk } = arguments;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !is_project_name(name) {
        return Err(Failure::usage(format!(
            "{}: invalid project name; expected a letter, followed by letters, digits, hyphens or underscores",
            path.display()
        )));
    }
    let cannot = |path: &Path, error: &std::io::Error| {
        Failure::environment(format!("{}: {error}", path.display()))
    };
    let is_taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || path.is_file() {
        return Err(Failure::usage(format!(
            "{} already exists and is not an empty folder",
            path.display()
        )));
    }
    if *template == Template::Serde && *lang != Language::Rust {
        return Err(Failure::usage(format!(
            "template `serde` requires Rust, but the language is {}",
            lang.name()
        )));
    }
    let files = files(*lang, *template, name, sdk.as_deref())?;
    for (file, text) in &files {
        let file = path.join(file);
        let folder = file.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
        std::fs::write(&file, text).map_err(|error| cannot(&file, &error))?;
    }
    let text = if as_json {
        let names: Vec<_> = files.iter().map(|(file, _)| file).collect();
        json!({ "path": path, "language": lang.name(), "files": names }).to_string()
    } else {
        let steps = steps(*lang).join("\n  ");
        format!(
            "Created {}. Next steps:\n\n  cd {0}\n  {steps}\n  wpc test\n  wpc call {name}.wasm {}",
            path.display(),
            template.call()
        )
    };
    terminal::print(format!("{text}\n").as_bytes())
}

fn is_project_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_valid)
}

/// The commands that build the module.
fn steps(lang: Language) -> &'static [&'static str] {
    match lang {
        Language::Rust => &["cargo test", "wpc build"],
        Language::AssemblyScript => &["npm install", "wpc build"],
        Language::C | Language::Zig | Language::Wat => &["wpc build"],
    }
}

/// The paths and contents of a project's files.
fn files(
    lang: Language,
    template: Template,
    name: &str,
    sdk: Option<&str>,
) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut manifest = match template {
        Template::Greeting => template!("wpc.toml.in").to_owned(),
        Template::Serde => template!("serde/wpc.toml.in").to_owned(),
    };
    let mut ignored = format!("/{name}.wasm\n");
    let mut sdk_files = Vec::new();
    let mut files: Vec<(&str, String)> = match lang {
        Language::Rust => {
            ignored.push_str("/target\n");
            let sdk = Sdk::chosen(sdk)?;
            sdk_files = sdk.files;
            let (code, dependencies) = match template {
                Template::Greeting => (template!("rust/src/lib.rs"), ""),
                Template::Serde => (
                    template!("serde/lib.rs"),
                    "serde = { version = \"1\", features = [\"derive\"] }\n",
                ),
            };
            let cargo = template!("rust/Cargo.toml.in").replace("{{sdk}}", &sdk.dependency);
            let cargo = cargo.replace("{{dependencies}}", dependencies);
            vec![("Cargo.toml", cargo), ("src/lib.rs", code.to_owned())]
        }
        Language::C => vec![
            ("main.c", template!("c/main.c").to_owned()),
            ("wpc.h", template!("c/wpc.h").to_owned()),
        ],
        Language::Zig => vec![
            ("main.zig", template!("zig/main.zig").to_owned()),
            ("wpc.zig", template!("zig/wpc.zig").to_owned()),
        ],
        Language::AssemblyScript => {
            ignored.push_str("/node_modules\n");
            let package = template!("assemblyscript/package.json");
            let package = package.replace("wpc-example-greeter", "{{name}}");
            vec![
                ("package.json", package),
                ("assembly/index.ts", template!("assemblyscript/assembly/index.ts").to_owned()),
                ("assembly/wpc.ts", template!("assemblyscript/assembly/wpc.ts").to_owned()),
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
    let fill = |text: String| {
        text.replace("{{name}}", name)
            .replace("{{language}}", lang.name())
            .replace("{{steps}}", &steps(lang).join("\n"))
            .replace("{{call}}", template.call())
            .replace("{{line}}", template.line())
    };
    let files = files.into_iter().map(|(path, text)| (PathBuf::from(path), fill(text)));
    Ok(files.chain(sdk_files).collect())
}
