//! `wpc constant`: the constants and secrets of a server.

use crate::client::{Client, ServerOptions, encode};
use crate::deploy::activated;
use crate::failure::Failure;
use crate::refused_deployment::without_lines;
use crate::terminal;
use crate::text::escape;
use serde_json::{Value, json};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the constants of the active revision. Of a secret only the reference is shown.
    #[command(after_help = "Example:\n  wpc constant list --server http://127.0.0.1:7071")]
    List {
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Activate a new revision in which a constant has another value. The rest of the manifest stays the same.
    #[command(after_help = SET_HELP)]
    Set(Set),
    /// Activate a new revision without a constant.
    #[command(after_help = "Example:\n  wpc constant remove RATE --server http://127.0.0.1:7071")]
    Remove {
        /// The name of the constant.
        name: String,
        #[command(flatten)]
        change: Change,
    },
}

const SET_HELP: &str = "\
Examples:
  wpc constant set RATE 0.25 --server http://127.0.0.1:7071
  wpc constant set GREETING '\"Hello\"' --note 'Say hello' --server http://127.0.0.1:7071
  wpc constant set LIMIT 3 --type u32 --server http://127.0.0.1:7071
  wpc constant set API_KEY --secret env:API_KEY --server http://127.0.0.1:7071

A secret is read by the server, which must allow that: `wpc serve --allow secret=env:API_KEY`. Setting it again reads it
again. If another client deploys at the same time, the command fails and changes nothing.";

#[derive(clap::Args)]
struct Set {
    /// The name of the constant.
    name: String,
    /// The value as JSON.
    #[arg(
        required_unless_present = "secret",
        conflicts_with = "secret",
        allow_negative_numbers = true
    )]
    value: Option<String>,
    /// The type of the value, if no module declares it.
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "secret")]
    ty: Option<String>,
    /// Where the server reads the value: `env:NAME` or `file:PATH`. The value is neither sent nor shown.
    #[arg(long, value_name = "REFERENCE")]
    secret: Option<String>,
    #[command(flatten)]
    change: Change,
}

/// Options of a change.
#[derive(clap::Args)]
struct Change {
    /// The reason for the change, for the history.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    server: ServerOptions,
}

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    match &arguments.command {
        Command::List { server } => {
            let listed = server.required()?.json("GET", PATH, None)?;
            let text = if as_json { format!("{listed}\n") } else { lines(&listed["constants"]) };
            terminal::print(text.as_bytes())
        }
        Command::Set(set) => print(&set.run()?, as_json),
        Command::Remove { name, change } => {
            let client = change.server.required()?;
            let mut path = format!("{PATH}/{}?expected={}", encode(name), active(&client)?);
            if let Some(note) = &change.note {
                path += &format!("&note={}", encode(note));
            }
            let removed = client.json("DELETE", &path, None).map_err(without_lines);
            print(&removed?, as_json)
        }
    }
}

const PATH: &str = "/v1/constants";

/// The active revision, which a change expects to be active still.
fn active(client: &Client) -> Result<Value, Failure> {
    Ok(client.json("GET", PATH, None)?["active"].take())
}

impl Set {
    fn run(&self) -> Result<Value, Failure> {
        let mut body = match (&self.secret, &self.value) {
            (Some(reference), _) => json!({ "secret": reference }),
            (None, value) => json!({ "value": parse(value.as_deref().unwrap_or_default())? }),
        };
        let client = self.change.server.required()?;
        body["expected"] = active(&client)?;
        for (name, text) in [("type", &self.ty), ("note", &self.change.note)] {
            if let Some(text) = text {
                body[name] = text.as_str().into();
            }
        }
        let set = client.json("PUT", &format!("{PATH}/{}", encode(&self.name)), Some(&body));
        set.map_err(without_lines)
    }
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!(
            "{text} is not JSON: {error}; a string needs JSON quotes: '\"text\"'"
        ))
    })
}

fn print(changed: &Value, as_json: bool) -> Result<(), Failure> {
    let text = if as_json { format!("{changed}\n") } else { activated(changed) };
    terminal::print(text.as_bytes())
}

/// The constants, one per line: as in a manifest, a name with its value or its secret.
fn lines(constants: &Value) -> String {
    let line = |constant: &Value| {
        let text = |member: &str| constant[member].as_str().unwrap_or_default();
        let name = text("name");
        let line = match (constant.get("secret"), constant.get("type")) {
            (Some(_), _) => format!("{name}  secret {}", text("secret")),
            (None, Some(_)) => format!("{name}: {}  {}", text("type"), constant["value"]),
            (None, None) => format!("{name}  {}", constant["value"]),
        };
        escape(&line) + "\n"
    };
    constants.as_array().into_iter().flatten().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_listed_with_its_type_or_the_reference_of_its_secret() {
        let constants = json!([
            { "name": "RATE", "value": 0.25 },
            { "name": "LIMIT", "type": "u32", "value": 3 },
            { "name": "KEY", "secret": "env:\u{1b}[31m" },
        ]);
        let expected = "RATE  0.25\nLIMIT: u32  3\nKEY  secret env:\\u{1b}[31m\n";
        assert_eq!(lines(&constants), expected);
    }
}
