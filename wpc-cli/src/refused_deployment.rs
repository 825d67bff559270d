//! Deployments that a server refused, as problems of the manifest that was deployed. The server does not know the names of its
//! files: it receives a manifest that names modules by their content.

use crate::client::RemoteProblem;
use crate::failure::Failure;
use serde_json::Value;
use wpc_deploy::document::{Packed, PackedEntry};
use wpc_deploy::{ENVIRONMENT, MANIFEST, NOT_ALLOWED, Problem, Source};
use wpc_host::ErrorCode;

/// The server's code of a refused manifest, and the code of a problem that this command does not know.
const DEPLOYMENT_REFUSED: &str = "deployment_refused";

/// The server's code of a module that cannot be used.
const MODULE_REFUSED: &str = "module_refused";

/// The problems of a refused manifest, without a file. `None` if the failure is another one.
fn problems(failure: &Failure) -> Option<Vec<Problem>> {
    let Failure::Remote(refused) = failure else { return None };
    if refused.code() != DEPLOYMENT_REFUSED {
        return None;
    }
    let problems = refused.member("problems")?.as_array()?;
    Some(problems.iter().filter_map(problem).collect())
}

fn problem(found: &Value) -> Option<Problem> {
    Some(Problem {
        file: None,
        line: found["line"].as_u64().and_then(|line| usize::try_from(line).ok()),
        code: code(found["code"].as_str()?),
        message: found["message"].as_str()?.to_owned(),
    })
}

fn code(text: &str) -> &'static str {
    let known = [MANIFEST, ENVIRONMENT, NOT_ALLOWED].into_iter().find(|known| *known == text);
    let of_host = || text.parse::<ErrorCode>().ok().map(|code| code.as_str());
    known.or_else(of_host).unwrap_or(DEPLOYMENT_REFUSED)
}

/// The failure with the file of the manifest, and with the modules' files instead of the names by their content. The lines are those
/// of the file.
pub(crate) fn manifest(failure: Failure, source: &Source, packed: &Packed) -> Failure {
    let Some(problems) = problems(&failure) else { return failure };
    let of_file = |mut problem: Problem| {
        let line = problem.line;
        problem.file = Some(source.path.clone());
        // Files may have the same content: the entry of the problem names its own.
        let (own, others): (Vec<_>, Vec<_>) =
            packed.entries.iter().partition(|entry| line_of(source, entry) == line);
        for entry in own.into_iter().chain(others) {
            problem.message = with_file(&problem.message, entry);
        }
        problem
    };
    Failure::Problems(problems.into_iter().map(of_file).collect())
}

/// The failure of a change that is not made in the text of a manifest: without the lines of the manifest that the server has.
pub(crate) fn without_lines(failure: Failure) -> Failure {
    let Some(problems) = problems(&failure) else { return failure };
    let without_line = |problem| Problem { line: None, ..problem };
    Failure::Problems(problems.into_iter().map(without_line).collect())
}

/// The failure of a module's upload, as a problem of each entry that names the module. Other failures, such as that of a full disk,
/// are returned as they are.
pub(crate) fn module(failure: Failure, name: &str, source: &Source, packed: &Packed) -> Failure {
    let Failure::Remote(refused) = &failure else { return failure };
    let Some(code) = module_code(refused) else { return failure };
    let entries = packed.entries.iter().filter(|entry| entry.module == name);
    let problem = |entry: &PackedEntry| {
        let message = with_file(&refused.message(), entry);
        source.problem(entry.at, code, &format!("{}: {message}", entry.item))
    };
    Failure::Problems(entries.map(problem).collect())
}

/// The code of a refusal whose reason is the module.
fn module_code(refused: &RemoteProblem) -> Option<&'static str> {
    let of_module =
        [MODULE_REFUSED, ErrorCode::NotWasm.as_str(), ErrorCode::ModuleTooLarge.as_str()];
    of_module.into_iter().find(|code| *code == refused.code())
}

fn line_of(source: &Source, entry: &PackedEntry) -> Option<usize> {
    source.problem(entry.at, MANIFEST, "").line
}

/// A message with the entry's file instead of the name of its module by its content.
fn with_file(message: &str, entry: &PackedEntry) -> String {
    message.replace(&entry.module, &entry.file.display().to_string())
}
