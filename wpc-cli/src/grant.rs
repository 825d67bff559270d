//! What a module is granted on the command line.

use crate::failure::Failure;
use crate::file;
use std::io::{stderr, stdout};
use std::sync::{Arc, OnceLock};
use wpc_host::{Capability, Output, Wasi, WasmModule};

pub(crate) const HELP: &str = "Grants the module something; may be given several times:
clock, random, arg=TEXT, env=NAME=VALUE, stdin, output, read=FOLDER[:NAME], write=FOLDER[:NAME], wasi
(`wasi`: what standard libraries import anyway, with nothing in it). What `_start` prints goes to standard\noutput and standard error as it is; what other functions print is shown as log lines";

/// What there is, for who asks for something else.
const KNOWN: &str = "clock, random, wasi, stdin, output, arg=TEXT, env=NAME=VALUE, read=FOLDER[:NAME], write=FOLDER[:NAME]";

/// The most bytes of standard input that are given to guests, which get it as a whole.
const MAX_INPUT: usize = 1 << 30;

/// Grants everything at once: later pieces of WASI add to earlier ones. What a whole program prints is what
/// was called for, and is passed on as it is; what a function prints beside its result is shown as log lines, so
/// that none of it looks like a line of this command.
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
    // What has nothing in it comes first, whatever was typed first.
    if grants.iter().any(|grant| grant == "wasi") {
        wasi = Some(with_output(Wasi::minimal()));
    }
    for grant in grants {
        let (kind, value) = match grant.split_once('=') {
            Some((kind, value)) => (kind, Some(value)),
            None => (grant.as_str(), None),
        };
        let pieces = wasi.clone().unwrap_or_default();
        match (kind, value) {
            ("clock", None) => module = module.grant(Capability::Clock),
            ("random", None) => module = module.grant(Capability::Random),
            ("wasi", None) => {}
            ("output", None) => wasi = Some(with_output(pieces)),
            ("stdin", None) => {
                wasi = Some(pieces.stdin(input()?));
            }
            ("arg", Some(text)) => arguments.push(text.to_owned()),
            ("env", Some(variable)) => {
                let variable = variable.split_once('=').ok_or_else(|| {
                    Failure::usage(format!("grant `{grant}` must be env=NAME=VALUE"))
                })?;
                environment.push(variable);
            }
            ("read" | "write", Some(folder)) => {
                let (host, guest) = folder.rsplit_once(':').unwrap_or((folder, folder));
                wasi = Some(if kind == "read" {
                    pieces.read_directory(host, guest)
                } else {
                    pieces.write_directory(host, guest)
                });
            }
            _ => return Err(Failure::usage(format!("unknown grant `{grant}`; there are {KNOWN}"))),
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

/// Standard input, which can be read once and may be granted to several modules.
fn input() -> Result<Arc<[u8]>, Failure> {
    static INPUT: OnceLock<Arc<[u8]>> = OnceLock::new();
    if let Some(bytes) = INPUT.get() {
        return Ok(Arc::clone(bytes));
    }
    let bytes = file::read_standard_input(MAX_INPUT)?;
    Ok(Arc::clone(INPUT.get_or_init(|| bytes.into())))
}
