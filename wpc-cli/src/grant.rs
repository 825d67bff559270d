//! What a module is granted on the command line.

use crate::failure::Failure;
use std::io::{Read as _, stderr, stdin};
use std::sync::{Arc, OnceLock};
use wpc_host::{Capability, Output, Wasi, WasmModule};

pub(crate) const HELP: &str = "Grants the module something; may be given several times:
clock, random, arg=TEXT, env=NAME=VALUE, stdin, output, read=FOLDER[:NAME], write=FOLDER[:NAME], wasi
(`wasi`: what standard libraries import anyway, with nothing in it)";

/// Grants everything at once: later pieces of WASI add to earlier ones.
pub(crate) fn apply(mut module: WasmModule, grants: &[String]) -> Result<WasmModule, Failure> {
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
                    Failure::usage(format!("--grant {grant}: it must be env=NAME=VALUE"))
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
            _ => return Err(Failure::usage(format!("--grant {grant}: {HELP}"))),
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
    let mut bytes = Vec::new();
    stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::machine(format!("standard input: {error}")))?;
    Ok(Arc::clone(INPUT.get_or_init(|| bytes.into())))
}

/// Standard output belongs to the answer.
fn with_output(wasi: Wasi) -> Wasi {
    wasi.stdout(Output::writer(stderr())).stderr(Output::writer(stderr()))
}
