//! Options of a service from three places. The command line takes precedence over the environment,
//! and the environment over the table `[server]` of the manifest.
//!
//! An option such as `--max-body` has the variable `WPC_MAX_BODY` and the key `max_body`. Options
//! are not listed here: they are added where the arguments of the subcommand are declared.

use crate::failure::Failure;
use crate::nearest::nearest;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;
use std::ffi::OsString;
use toml::{Spanned, Value};
use wpc_deploy::{MANIFEST, Source};

/// The table of the manifest.
type Table = BTreeMap<String, Spanned<Value>>;

/// Adds the environment variable of each option to the subcommand.
pub(crate) fn with_environment(subcommand: Command) -> Command {
    subcommand.mut_args(|arg| match variable(&arg) {
        Some(variable) if arg.get_env().is_none() => arg.env(variable),
        _ => arg,
    })
}

/// The key of an option in the table.
fn key(arg: &Arg) -> Option<String> {
    arg.get_long().map(|long| long.replace('-', "_"))
}

/// The environment variable of an option.
pub(crate) fn variable(arg: &Arg) -> Option<String> {
    key(arg).map(|key| format!("WPC_{}", key.to_uppercase()))
}

/// States that the value which an error is about is that of an environment variable, if it is.
pub(crate) fn note(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let long = argument.strip_prefix("--")?.split(' ').next()?;
    let option = format!("--{long}");
    let is_of_command_line = std::env::args().any(|word| {
        word.strip_prefix(&option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let variable = variable(&Arg::new("").long(long.to_owned()))?;
    let is_set = std::env::var_os(&variable).is_some();
    let note = || format!("the value is that of the environment variable {variable}");
    (is_set && !is_of_command_line).then(note)
}

/// Reads the command line again, with the values of the table for the options of the subcommand that neither it nor the
/// environment sets. `command` is the whole command, which accepted the command line before.
pub(crate) fn matches(
    command: Command,
    subcommand: &str,
    table: &Table,
    source: &Source,
    words: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, Failure> {
    let known = command.find_subcommand(subcommand).cloned().unwrap_or_default();
    let mut problems = Vec::new();
    let mut defaults = Vec::new();
    for (name, value) in table {
        match values(&known, name, value.get_ref()) {
            Ok(None) => {}
            Ok(Some(found)) => defaults.push(found),
            Err(reason) => {
                let message = format!("`server.{name}`: {reason}");
                problems.push(source.problem(value.span().start, MANIFEST, &message));
            }
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    let command = command.mut_subcommand(subcommand, |subcommand| {
        defaults.into_iter().fold(subcommand, |subcommand, (id, values)| {
            subcommand.mut_arg(id, |arg| arg.default_values(values))
        })
    });
    let matches = command.try_get_matches_from(words).map_err(|error| usage(&error))?;
    let found = matches.subcommand_matches(subcommand).cloned();
    found.ok_or_else(|| Failure::usage(format!("expected the subcommand `{subcommand}`")))
}

/// An error of the command line or the environment.
pub(crate) fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let note = note(error).map(|note| format!("\n{note}")).unwrap_or_default();
    Failure::usage(format!("{}{note}", text.trim_end()))
}

/// The option of a key with its values in the form of the command line; `None` for a flag that is
/// `false`.
fn values(
    known: &Command,
    name: &str,
    value: &Value,
) -> Result<Option<(clap::Id, Vec<String>)>, String> {
    let keys: Vec<_> = known.get_arguments().filter_map(key).collect();
    let find = |arg: &&Arg| key(arg).as_deref() == Some(name);
    let Some(arg) = known.get_arguments().find(find) else {
        let nearest = nearest(name, keys.iter().map(String::as_str));
        let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?"));
        return Err(format!("this option does not exist{}", hint.unwrap_or_default()));
    };
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let long = arg.get_long().unwrap_or_default();
    let values: Vec<String> = match value {
        Value::Boolean(is_set) if is_flag => {
            return Ok(is_set.then(|| (arg.get_id().clone(), vec!["true".to_owned()])));
        }
        _ if is_flag => return Err("expected `true` or `false`".to_owned()),
        Value::Array(_) if !matches!(arg.get_action(), ArgAction::Append) => {
            return Err("expected one value, found an array".to_owned());
        }
        Value::Array(items) => items.iter().map(text).collect::<Result<_, _>>()?,
        value => vec![text(value)?],
    };
    // The same check as on the command line, with this option alone.
    let words = values.iter().map(|value| format!("--{long}={value}"));
    let words = std::iter::once("wpc".to_owned()).chain(words);
    let alone = known.clone().mut_args(|other| other.required(false));
    if let Err(error) = alone.try_get_matches_from(words)
        && !matches!(error.kind(), clap::error::ErrorKind::MissingRequiredArgument)
    {
        let text = error.render().to_string();
        let text = text.lines().next().unwrap_or_default();
        return Err(text.strip_prefix("error: ").unwrap_or(text).to_owned());
    }
    Ok(Some((arg.get_id().clone(), values)))
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(value) => Ok(value.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => Err(format!(
            "expected a string or a number, found a value of the type {}",
            value.type_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_every_option() {
        let command = crate::command();
        let serve = command.find_subcommand("serve").unwrap();
        let rows = serve.get_arguments().filter_map(|arg| {
            let (long, key, variable) = (arg.get_long()?, key(arg)?, variable(arg)?);
            let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy());
            let defaults: Vec<_> = defaults.map(|value| format!("`{value}`")).collect();
            let default = defaults.join(", ");
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some(format!("| `--{long}` | `{variable}` | `{key}` | {default} | {help} |\n"))
        });
        let manual = include_str!("../../docs/server.md");
        let missing: String = rows.filter(|row| !manual.contains(row)).collect();
        assert!(missing.is_empty(), "the options in docs/server.md need these rows:\n{missing}");
    }

    fn command() -> Command {
        let service = Command::new("serve")
            .arg(Arg::new("listen").long("listen").default_value("here"))
            .arg(Arg::new("max_body").long("max-body").value_parser(clap::value_parser!(u32)))
            .arg(Arg::new("host").long("host").action(ArgAction::Append))
            .arg(Arg::new("watch").long("watch").action(ArgAction::SetTrue));
        Command::new("wpc").subcommand(with_environment(service))
    }

    fn parse(text: &str, words: &[&str]) -> Result<ArgMatches, Failure> {
        let source = Source::new("wpc.toml".into(), text.to_owned());
        let manifest = source.parse().unwrap();
        let words = ["wpc", "serve"].iter().chain(words).map(OsString::from);
        matches(command(), "serve", &manifest.server, &source, words)
    }

    fn problem(text: &str) -> String {
        match parse(text, &[]) {
            Err(Failure::Problems(problems)) => problems[0].to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_overrides_the_table_and_the_table_overrides_the_defaults() {
        let text =
            "[server]\nlisten = \"there\"\nmax_body = 5\nhost = [\"a\", \"b\"]\nwatch = true";
        let found = parse(text, &[]).unwrap();
        assert_eq!(found.get_one::<String>("listen").unwrap(), "there");
        assert_eq!(found.get_one::<u32>("max_body"), Some(&5));
        assert_eq!(found.get_many::<String>("host").unwrap().collect::<Vec<_>>(), ["a", "b"]);
        assert!(found.get_flag("watch"));
        let found = parse(text, &["--listen", "elsewhere", "--host=c"]).unwrap();
        assert_eq!(found.get_one::<String>("listen").unwrap(), "elsewhere");
        assert_eq!(found.get_many::<String>("host").unwrap().collect::<Vec<_>>(), ["c"]);
        assert_eq!(parse("", &[]).unwrap().get_one::<String>("listen").unwrap(), "here");
    }

    #[test]
    fn problems_of_the_table_have_their_line_and_key() {
        for (text, expected) in [
            (
                "[server]\nlisten = \"a\"\nmax_bod = 5",
                "wpc.toml:3: `server.max_bod`: this option does not exist; did you mean `max_body`? (manifest)",
            ),
            (
                "[server]\nmax_body = \"x\"",
                "wpc.toml:2: `server.max_body`: invalid value 'x' for '--max-body <max_body>': invalid digit found in string (manifest)",
            ),
            (
                "[server]\nwatch = 1",
                "wpc.toml:2: `server.watch`: expected `true` or `false` (manifest)",
            ),
            (
                "[server]\nlisten = [\"a\"]",
                "wpc.toml:2: `server.listen`: expected one value, found an array (manifest)",
            ),
        ] {
            assert_eq!(problem(text), expected);
        }
    }
}
