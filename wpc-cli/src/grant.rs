//! The grants of a command line or a manifest, applied to a module.

use crate::failure::Failure;
use crate::file;
use std::io::{stderr, stdout};
use std::sync::{Arc, OnceLock};
use wpc_host::{Capability, Output, Wasi, WasmModule};

pub(crate) const HELP: &str = "Grant a capability to the module; may be given several times:
clock, random, arg=TEXT, env=NAME=VALUE, stdin, output, read=FOLDER[:NAME], write=FOLDER[:NAME], wasi
(`wasi`: the WASI imports of standard libraries, without arguments, environment or input). Output of `_start` is\nwritten unchanged to standard output and standard error; output of other functions is shown as log lines";

/// The grants, for the error message about an unknown one.
const KNOWN: &str = "clock, random, wasi, stdin, output, arg=TEXT, env=NAME=VALUE, read=FOLDER[:NAME], write=FOLDER[:NAME]";

/// The maximum number of bytes of standard input for guests, because it is read into memory first.
const MAX_INPUT: usize = 1 << 30;

/// Applies all grants together, because WASI grants extend one another. A program's output is its result, and is
/// written unchanged. A function's output is shown as log lines, so that it cannot be mistaken for a line of this
/// command.
pub(crate) fn apply(
    mut module: WasmModule,
    grants: &[String],
    is_program: bool,
) -> Result<WasmModule, Failure> {
    let with_output = |wasi: Wasi| {
        if is_program {
            wasi.stdout(Output::writer(stdout())).stderr(Output::writer(stderr()))
        } else {
            wasi.stdout(Output::events()).stderr(Output::events())
        }
    };
    let mut wasi: Option<Wasi> = None;
    let (mut arguments, mut environment) = (Vec::new(), Vec::new());
    // First, independent of the order on the command line, because `minimal` starts from an empty WASI.
    if grants.iter().any(|grant| grant == "wasi") {
        wasi = Some(with_output(Wasi::minimal()));
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
            ("output", None) => wasi = Some(with_output(base)),
            ("stdin", None) => {
                wasi = Some(base.stdin(input()?));
            }
            ("arg", Some(text)) => arguments.push(text.to_owned()),
            ("env", Some(variable)) => {
                let variable = variable.split_once('=').ok_or_else(|| {
                    Failure::usage(format!("invalid grant `{grant}`: expected env=NAME=VALUE"))
                })?;
                environment.push(variable);
            }
            ("read" | "write", Some(folder)) => {
                let (host, guest) = folder.rsplit_once(':').unwrap_or((folder, folder));
                wasi = Some(if kind == "read" {
                    base.read_directory(host, guest)
                } else {
                    base.write_directory(host, guest)
                });
            }
            _ => {
                return Err(Failure::usage(format!(
                    "unknown grant `{grant}`; expected one of {KNOWN}"
                )));
            }
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

/// Standard input, kept in memory: it can be read only once, but granted to several modules.
fn input() -> Result<Arc<[u8]>, Failure> {
    static INPUT: OnceLock<Arc<[u8]>> = OnceLock::new();
    if let Some(bytes) = INPUT.get() {
        return Ok(Arc::clone(bytes));
    }
    let bytes = file::read_standard_input(MAX_INPUT)?;
    Ok(Arc::clone(INPUT.get_or_init(|| bytes.into())))
}
