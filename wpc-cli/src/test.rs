//! `wpc test`: the tests of a manifest.

use crate::cache::Cache;
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::manifest::{self, Source, Test};
use crate::problem::TEST;
use crate::remedy::{Interface, full_text};
use crate::{build, terminal};
use serde_json::{Value, json};
use std::path::PathBuf;
use wpc_host::{Error, WorkerProcedureCall};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or the folder that has one.
    #[arg(default_value = crate::manifest::NAME)]
    manifest: PathBuf,
    /// Tests what was built before. Usually the project in the manifest's folder is built first.
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let source = Source::read(&arguments.manifest)?;
    let manifest = source.parse()?;
    if !arguments.no_build {
        build::build_folder(source.folder(), cache)?;
    }
    let lines = || terminal::lines(as_json);
    let mut common = None;
    if manifest.tests.is_empty() || manifest.tests.iter().any(|test| !test.get_ref().has_fakes()) {
        let mut without_faked = source.parse()?;
        without_faked.drop_faked();
        let wpc = Deployment::open(&source, &without_faked, cache, lines())?.pool().clone();
        wpc.start_workers(1)?;
        common = Some(wpc);
    }
    let mut problems = Vec::new();
    for test in &manifest.tests {
        let (test, at) = (test.get_ref(), test.span().start);
        let own = || -> Result<_, Failure> {
            let mut manifest = source.parse()?;
            manifest.keep_function(&test.function);
            manifest.fake_constants(test);
            let fakes = &test.host_functions;
            let deployment = Deployment::open_with(&source, &manifest, cache, lines(), fakes)?;
            deployment.pool().start_workers(1)?;
            Ok(deployment.pool().clone())
        };
        let result = match &common {
            Some(wpc) if !test.has_fakes() => check(wpc, test),
            _ => match own() {
                Ok(wpc) => {
                    let result = check(&wpc, test);
                    wpc.stop_workers();
                    result
                }
                Err(failure) => Err(format!("failed: {}", failure.message(Interface::Manifest))),
            },
        };
        if let Err(why) = result {
            let message = format!("\"{}\" {why}", test.function);
            problems.push(source.problem(at, TEST, &message));
        }
    }
    if let Some(wpc) = common {
        wpc.stop_workers();
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    let count = manifest.tests.len();
    let text = if as_json {
        json!({ "passed": count }).to_string()
    } else {
        match count {
            0 => format!("{} has no tests", source.path.display()),
            1 => "1 test passed".to_owned(),
            count => format!("{count} tests passed"),
        }
    };
    terminal::print(format!("{text}\n").as_bytes())
}

/// Says what came in place of what was to come.
fn check(wpc: &WorkerProcedureCall, test: &Test) -> Result<(), String> {
    let arguments: Vec<_> = test.arguments.iter().map(manifest::json).collect();
    let answer = wpc.call_json(&test.function, &arguments);
    match (&test.error, &test.value, answer) {
        (None, None, Ok(_)) => Ok(()),
        (Some(_), Some(_), _) => {
            Err("has a `value` and an `error`; one of them can come".to_owned())
        }
        (None, Some(wanted), Ok(found)) => {
            let wanted = manifest::json(wanted);
            if is_same(&wanted, &found) {
                Ok(())
            } else {
                Err(format!("returned {found}, not {wanted}"))
            }
        }
        (Some(wanted), None, Ok(found)) => Err(format!("returned {found}, and no error {wanted}")),
        (Some(wanted), None, Err(error)) if is_called(&error, wanted) => Ok(()),
        (_, _, Err(error)) => Err(format!("failed: {}", full_text(&error, Interface::Manifest))),
    }
}

/// Whether they are the same, where a number may be written as another kind of number is: 1 for 1.0, and
/// 0.1 for what is nearest to it in 32 bits.
fn is_same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Number(wanted), Value::Number(found)) if wanted.is_f64() || found.is_f64() => {
            #[expect(clippy::cast_possible_truncation, reason = "the nearest is meant")]
            let narrow = |number: f64| number as f32;
            match (wanted.as_f64(), found.as_f64()) {
                (Some(wanted), Some(found)) => {
                    wanted == found || f64::from(narrow(wanted)) == found
                }
                _ => false,
            }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len()
                && wanted.iter().zip(found).all(|(wanted, found)| is_same(wanted, found))
        }
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.len() == found.len()
                && wanted.iter().all(|(name, wanted)| {
                    found.get(name).is_some_and(|found| is_same(wanted, found))
                })
        }
        _ => wanted == found,
    }
}

/// A guest's error goes by its own name, every other by its code.
fn is_called(error: &Error, name: &str) -> bool {
    match error {
        Error::Guest { error, .. } => error.is_called(name),
        error => error.code().as_str() == name,
    }
}
