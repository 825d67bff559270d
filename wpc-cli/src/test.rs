//! `wpc test`: the tests of a manifest.

use crate::cache::Cache;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::manifest::{self, Source, Test};
use crate::terminal;
use serde_json::json;
use std::path::PathBuf;
use wpc_host::{Error, WorkerProcedureCall};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or the folder that has one.
    #[arg(default_value = crate::manifest::NAME)]
    manifest: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let source = Source::read(&arguments.manifest)?;
    let manifest = source.parse()?;
    let wpc = Deployment::open(&source, &manifest, cache)?.pool().clone();
    wpc.start_workers(1)?;
    let mut problems = Vec::new();
    for test in &manifest.tests {
        let (test, at) = (test.get_ref(), test.span().start);
        if let Err(why) = check(&wpc, test) {
            let message = format!("\"{}\" {why}", test.function);
            problems.push(source.problem(at, "test", &message));
        }
    }
    wpc.stop_workers();
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    let count = manifest.tests.len();
    let text = if as_json {
        json!({ "passed": count }).to_string()
    } else {
        format!("{count} tests passed")
    };
    terminal::print(format!("{text}\n").as_bytes())
}

/// Says what came in place of what was to come.
fn check(wpc: &WorkerProcedureCall, test: &Test) -> Result<(), String> {
    let arguments: Vec<_> = test.arguments.iter().map(manifest::json).collect();
    let answer = wpc.call_json(&test.function, &arguments);
    match (&test.error, &test.value, answer) {
        (None, None, Ok(_)) => Ok(()),
        (None, Some(wanted), Ok(found)) => {
            let wanted = manifest::json(wanted);
            if wanted == found { Ok(()) } else { Err(format!("returned {found}, not {wanted}")) }
        }
        (Some(wanted), _, Ok(found)) => Err(format!("returned {found}, and no error {wanted}")),
        (Some(wanted), _, Err(error)) if is_called(&error, wanted) => Ok(()),
        (_, _, Err(error)) => Err(format!("failed: {error}")),
    }
}

/// A guest's error goes by its own name, every other by its code.
fn is_called(error: &Error, name: &str) -> bool {
    match error {
        Error::Guest { error, .. } => error.name == name,
        error => error.code().as_str() == name,
    }
}
