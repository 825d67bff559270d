//! `wpc test`: runs the tests of a manifest.

use crate::cache::Cache;
use crate::failure::{Failure, TEST};
use crate::remedy::{Interface, full_text};
use crate::text::count;
use crate::{build, terminal};
use serde_json::{Value, json};
use std::path::PathBuf;
use wpc_deploy::{Deployment, Source, Test};
use wpc_host::{Error, StreamOptions, WorkerProcedureCall};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or its folder.
    #[arg(default_value = wpc_deploy::MANIFEST_NAME)]
    manifest: PathBuf,
    /// Do not build the project in the manifest's folder first.
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
        let wpc = Deployment::open(&source, &without_faked, cache.setup()?.on_event(lines()))?;
        let wpc = wpc.pool().clone();
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
            let setup = cache.setup()?.on_event(lines()).host_functions(&test.host_functions);
            let deployment = Deployment::open(&source, &manifest, setup)?;
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
                Err(failure) => Err(format!("failed: {}", failure.message(Interface::MANIFEST))),
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
    let passed = manifest.tests.len();
    let text = if as_json {
        json!({ "passed": passed }).to_string()
    } else {
        match passed {
            0 => format!("{} does not contain tests", source.path.display()),
            passed => format!("{} passed", count(passed as u64, "test")),
        }
    };
    terminal::print(format!("{text}\n").as_bytes())
}

/// Makes the test's call, and describes the outcome if it is not the expected one.
fn check(wpc: &WorkerProcedureCall, test: &Test) -> Result<(), String> {
    let arguments: Vec<_> = test.arguments.iter().map(wpc_deploy::json).collect();
    let answer = match &test.items {
        None => wpc.call_json(&test.function, &arguments),
        Some(expected) => {
            let expected: Vec<_> = expected.iter().map(wpc_deploy::json).collect();
            call_with_items(wpc, &test.function, &arguments, &expected)?
        }
    };
    match (&test.error, &test.value, answer) {
        (None, None, Ok(_)) => Ok(()),
        (Some(_), Some(_), _) => {
            Err("expects both a `value` and an `error`; remove one of them".to_owned())
        }
        (None, Some(expected), Ok(found)) => {
            let expected = wpc_deploy::json(expected);
            if is_same(&expected, &found) {
                Ok(())
            } else {
                Err(format!("returned {found}, expected {expected}"))
            }
        }
        (Some(expected), None, Ok(found)) => {
            Err(format!("returned {found}, expected error {expected}"))
        }
        (Some(expected), None, Err(error)) if has_name(&error, expected) => Ok(()),
        (_, _, Err(error)) => Err(format!("failed: {}", full_text(&error, Interface::MANIFEST))),
    }
}

/// Makes a call whose items are compared, and describes the first difference.
fn call_with_items(
    wpc: &WorkerProcedureCall,
    function: &str,
    arguments: &[Value],
    items: &[Value],
) -> Result<Result<Value, Error>, String> {
    let mut stream = match wpc.stream_json(function, arguments, &StreamOptions::new()) {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(error)),
    };
    for (at, expected) in items.iter().enumerate() {
        let number = at + 1;
        match stream.next_blocking() {
            Some(Ok(found)) if is_same(expected, &found) => {}
            Some(Ok(found)) => {
                return Err(format!("yielded {found} as item {number}, expected {expected}"));
            }
            Some(Err(failed)) => return Ok(Err(failed.into())),
            None => {
                let found = count(at as u64, "item");
                return Err(format!("yielded {found}, expected {}", items.len()));
            }
        }
    }
    match stream.next_blocking() {
        Some(Ok(found)) => {
            Err(format!("yielded {found} after {}", count(items.len() as u64, "item")))
        }
        _ => Ok(stream.finish().map_err(Error::from)),
    }
}

/// Whether both values are equal, allowing for the types of numbers: 1 equals 1.0, and 0.1 equals the nearest 32-bit
/// float.
fn is_same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(expected), Value::Number(found)) if expected.is_f64() || found.is_f64() => {
            #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest float")]
            let narrow = |number: f64| number as f32;
            match (expected.as_f64(), found.as_f64()) {
                (Some(expected), Some(found)) => {
                    expected == found || f64::from(narrow(expected)) == found
                }
                _ => false,
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| is_same(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|(name, expected)| {
                    found.get(name).is_some_and(|found| is_same(expected, found))
                })
        }
        _ => expected == found,
    }
}

/// Whether the error has this name: that of a guest error, or the code of any other error.
fn has_name(error: &Error, name: &str) -> bool {
    match error {
        Error::Guest { error, .. } => error.is_called(name),
        error => error.code().as_str() == name,
    }
}
