//! Grants as they are written, applied to a module.

use wpc_host::{Capability, Input, Output, Wasi, WasmModule};

/// The grants, for the error about an unknown one.
const KNOWN: &str = "clock, random, wasi, stdin, output, function=NAME, arg=TEXT, env=NAME=VALUE, read=FOLDER[:NAME], write=FOLDER[:NAME]";

/// The streams to which the grants `output` and `stdin` connect a module.
#[derive(Debug)]
#[non_exhaustive]
pub enum Streams {
    /// Output becomes events of the pool, and input is not available.
    Events,
    /// Output is written to these, and input is read from this stream.
    #[non_exhaustive]
    Process {
        /// Where standard output goes.
        stdout: Output,
        /// Where standard error goes.
        stderr: Output,
        /// Where standard input comes from. All modules to which it is granted share it.
        stdin: Input,
    },
}

impl Streams {
    /// Streams of a process.
    pub fn process(stdout: Output, stderr: Output, stdin: Input) -> Self {
        Self::Process { stdout, stderr, stdin }
    }

    fn output(&self, wasi: Wasi) -> Wasi {
        match self {
            Self::Events => wasi.stdout(Output::events()).stderr(Output::events()),
            Self::Process { stdout, stderr, .. } => {
                wasi.stdout(stdout.clone()).stderr(stderr.clone())
            }
        }
    }
}

/// Why grants cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The grant is not known.
    #[error("unknown grant `{0}`; expected one of {KNOWN}")]
    Unknown(String),
    /// The grant of an environment variable has no value.
    #[error("invalid grant `{0}`: expected env=NAME=VALUE")]
    Variable(String),
    /// Standard input is not available.
    #[error("`stdin` cannot be granted in a manifest; pass the input as an argument of the call")]
    NoInput,
}

/// Applies grants to a module: `clock`, `random`, `wasi`, `stdin`, `output`, `function=NAME`,
/// `arg=TEXT`, `env=NAME=VALUE`, `read=FOLDER[:NAME]` and `write=FOLDER[:NAME]`. All grants of a
/// module are applied together, because those of WASI extend one another.
///
/// # Errors
///
/// The first grant that is unknown, incomplete or cannot be given.
pub fn grant(
    mut module: WasmModule,
    grants: &[String],
    streams: &Streams,
) -> Result<WasmModule, GrantError> {
    let mut wasi: Option<Wasi> = None;
    let (mut arguments, mut environment) = (Vec::new(), Vec::new());
    // First, independent of the order in which they are written, because `minimal` starts from an empty WASI.
    if grants.iter().any(|grant| grant == "wasi") {
        wasi = Some(streams.output(Wasi::minimal()));
    }
    for grant in grants {
        let (kind, value) = match grant.split_once('=') {
            Some((kind, value)) => (kind, Some(value)),
            None => (grant.as_str(), None),
        };
        let base = wasi.clone().unwrap_or_default();
        match (kind, value) {
            ("clock", None) => module = module.grant(Capability::Clock),
            ("random", None) => module = module.grant(Capability::Random),
            ("wasi", None) => {}
            ("output", None) => wasi = Some(streams.output(base)),
            ("stdin", None) => {
                let Streams::Process { stdin, .. } = streams else {
                    return Err(GrantError::NoInput);
                };
                wasi = Some(base.stdin_stream(stdin.clone()));
            }
            ("function", Some(name)) => module = module.grant_function(name),
            ("arg", Some(text)) => arguments.push(text.to_owned()),
            ("env", Some(variable)) => {
                let variable = variable.split_once('=');
                environment.push(variable.ok_or_else(|| GrantError::Variable(grant.clone()))?);
            }
            ("read" | "write", Some(folder)) => {
                let (host, guest) = folder.rsplit_once(':').unwrap_or((folder, folder));
                wasi = Some(if kind == "read" {
                    base.read_directory(host, guest)
                } else {
                    base.write_directory(host, guest)
                });
            }
            _ => return Err(GrantError::Unknown(grant.clone())),
        }
    }
    if !arguments.is_empty() {
        wasi = Some(wasi.unwrap_or_default().arguments(arguments));
    }
    if !environment.is_empty() {
        wasi = Some(wasi.unwrap_or_default().environment(environment));
    }
    Ok(match wasi {
        Some(wasi) => module.grant_wasi(wasi),
        None => module,
    })
}
