//! `wpc token`: the tokens of a server.

use crate::client::{Client, ServerOptions, encode};
use crate::failure::Failure;
use crate::terminal;
use crate::text::escape;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_server::{
    Audit, AuditRecord, NewToken, Quota, Scope, Store, Timestamp, TokenError, TokenInformation,
    Tokens, add_token_to_file,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Create a token and print it. It is not shown again.
    #[command(after_help = "Examples:
  wpc token create --data /var/lib/wpc --name admin --scope admin
  wpc token create --server http://127.0.0.1:7071 --name shop --scope 'call:image_*' --expires 30d --quota calls=100/s
  wpc token create --file tokens.toml --name metrics --scope observe")]
    Create(Create),
    /// List tokens, without their secrets.
    List {
        #[command(flatten)]
        location: Location,
    },
    /// Revoke a token, from the next request on.
    Revoke {
        /// The token's id or name.
        #[arg(value_name = "TOKEN")]
        id_or_name: String,
        #[command(flatten)]
        location: Location,
    },
}

#[derive(clap::Args)]
struct Create {
    #[command(flatten)]
    location: Location,
    /// TOML file to which the token is added, for `wpc serve --tokens FILE`. A server reads it at its start and at SIGHUP.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "server"])]
    file: Option<PathBuf>,
    /// Name of the holder in logs and in the history.
    #[arg(long)]
    name: String,
    /// Scope of the token; repeatable. One of call:NAME (`*` at the end of NAME matches any
    /// suffix), call, observe, deploy, admin.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// When it expires: a duration such as `30d`, or a time such as `2027-01-31T00:00:00Z`. Default: never.
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Timestamp>,
    /// Quota of the token; repeatable. One of calls=N/UNIT, fuel=N/UNIT, milliseconds=N/UNIT (s,
    /// min, h or d), concurrency=N.
    #[arg(long = "quota", value_name = "QUOTA")]
    quotas: Vec<String>,
}

/// Where the tokens are stored.
#[derive(clap::Args)]
struct Location {
    /// Data folder of a server that is not running.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["server", "token"])]
    data: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
}

/// The opened store of tokens.
enum Opened {
    Data(Tokens, Audit),
    Server(Client),
}

fn failed(error: impl Display) -> Failure {
    Failure::environment(error.to_string())
}

/// The failure of a change of tokens. Invalid names and scopes are those of the command line.
fn refused(error: TokenError) -> Failure {
    match error {
        TokenError::Invalid(_) | TokenError::NameTaken(_) | TokenError::NotFound(_) => {
            Failure::usage(error.to_string())
        }
        error => failed(error),
    }
}

impl Location {
    fn open(&self) -> Result<Opened, Failure> {
        if let Some(data) = &self.data {
            let (tokens, audit) = open_data(data)?;
            return Ok(Opened::Data(tokens, audit));
        }
        match self.server.client_or_variable() {
            Some(client) => Ok(Opened::Server(client?)),
            None => Err(Failure::usage(
                "expected `--data FOLDER` for a server that is not running, or `--server URL` or WPC_SERVER for a running one",
            )),
        }
    }
}

fn open_data(data: &Path) -> Result<(Tokens, Audit), Failure> {
    let store = Store::open(data).map_err(|error| match error {
        wpc_server::StoreError::InUse { .. } => {
            failed(format!("{error}; to change the tokens of a running server, use `--server URL`"))
        }
        error => failed(error),
    })?;
    Ok((Tokens::of_store(store).map_err(failed)?, Audit::open(data).map_err(failed)?))
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    if let Ok(duration) = humantime::parse_duration(text) {
        if duration < Duration::from_secs(1) {
            return Err("expected at least one second".to_owned());
        }
        return Ok(Timestamp::now().after(duration));
    }
    text.parse().map_err(|_| {
        "expected a duration such as 30d, or a time such as 2027-01-31T00:00:00Z".to_owned()
    })
}

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    match &arguments.command {
        Command::Create(create) => create.run(as_json),
        Command::List { location } => {
            let tokens = match location.open()? {
                Opened::Data(tokens, _) => json!(tokens.list()),
                Opened::Server(client) => client.json("GET", "/v1/tokens", None)?["tokens"].take(),
            };
            print_list(&tokens, as_json)
        }
        Command::Revoke { id_or_name, location } => {
            let (revoked, before) = match location.open()? {
                Opened::Data(tokens, audit) => {
                    let before = json!(tokens.list());
                    let revoked = tokens.revoke(id_or_name).map_err(refused)?;
                    record(&audit, "token.revoke", &revoked)?;
                    (json!(revoked), before)
                }
                Opened::Server(client) => {
                    // Before, because the token of this command may be the revoked one.
                    let before = client.json("GET", "/v1/tokens", None)?["tokens"].take();
                    let path = format!("/v1/tokens/{}", encode(id_or_name));
                    (client.json("DELETE", &path, None)?, before)
                }
            };
            if is_last_administrator(&revoked, &before) {
                // The reader of standard error may be gone.
                let _ = writeln!(std::io::stderr(), "{NO_ADMINISTRATOR}");
            }
            let text = if as_json {
                revoked.to_string()
            } else {
                let text = |member: &str| escape(revoked[member].as_str().unwrap_or_default());
                format!("revoked {} \"{}\"", text("id"), text("name"))
            };
            terminal::print(format!("{text}\n").as_bytes())
        }
    }
}

impl Create {
    fn run(&self, as_json: bool) -> Result<(), Failure> {
        let mut quota = Quota::default();
        for text in &self.quotas {
            quota.set(text).map_err(|error| Failure::usage(error.to_string()))?;
        }
        let mut new = NewToken::default();
        new.name.clone_from(&self.name);
        new.scopes.clone_from(&self.scopes);
        (new.quota, new.expires) = (quota, self.expires);
        let mut created = if let Some(file) = &self.file {
            let (information, text) = add_token_to_file(file, new).map_err(refused)?;
            with_text(&information, text.as_str())
        } else {
            match self.location.open()? {
                Opened::Data(tokens, audit) => {
                    let (information, text) = tokens.create(new).map_err(refused)?;
                    record(&audit, "token.create", &information)?;
                    with_text(&information, text.as_str())
                }
                Opened::Server(client) => client.json("POST", "/v1/tokens", Some(&json!(new)))?,
            }
        };
        let text = if as_json {
            created.to_string()
        } else {
            // Prints only the token, so that a script can store it.
            created["token"].take().as_str().unwrap_or_default().to_owned()
        };
        terminal::print(format!("{text}\n").as_bytes())
    }
}

/// The warning after the last token with the scope `admin` was revoked.
const NO_ADMINISTRATOR: &str = "warning: this was the last valid token with the scope `admin`; to create another one, stop the server, and run `wpc token create --data FOLDER --name NAME --scope admin`";

/// Whether the revoked token has the scope `admin`, and no other one of the tokens before is valid and has it.
fn is_last_administrator(revoked: &Value, before: &Value) -> bool {
    let now = json!(Timestamp::now());
    let has_scope = |token: &Value| {
        let scopes = token["scopes"].as_array();
        scopes.is_some_and(|scopes| scopes.contains(&json!(Scope::Admin.as_str())))
    };
    let is_valid = |token: &Value| {
        let expires = token["expires"].as_str();
        let has_expired = expires.is_some_and(|expires| Some(expires) <= now.as_str());
        token["revoked"].is_null() && !has_expired
    };
    let others = before.as_array().into_iter().flatten();
    let mut others = others.filter(|token| token["id"] != revoked["id"]);
    has_scope(revoked) && !others.any(|token| has_scope(token) && is_valid(token))
}

/// Records a change that was made in the server's files, without the server.
fn record(audit: &Audit, action: &str, token: &TokenInformation) -> Result<(), Failure> {
    audit.record(&AuditRecord::new("the operator", action, &token.name)).map_err(failed)
}

fn with_text(information: &TokenInformation, text: &str) -> Value {
    let mut value = json!(information);
    value["token"] = text.into();
    value
}

fn print_list(tokens: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return terminal::print(format!("{tokens}\n").as_bytes());
    }
    let mut lines = String::new();
    for token in tokens.as_array().into_iter().flatten() {
        let text = |member: &str| token[member].as_str();
        let state = match (text("revoked"), text("expires")) {
            (Some(time), _) => format!("revoked {time}"),
            (None, Some(time)) => format!("expires {time}"),
            (None, None) => "does not expire".to_owned(),
        };
        let scopes: Vec<_> =
            token["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (id, name) = (text("id").unwrap_or_default(), text("name").unwrap_or_default());
        let line = format!("{id}  {name}  {}  {state}", scopes.join(","));
        lines.push_str(&escape(&line));
        lines.push('\n');
    }
    terminal::print(lines.as_bytes())
}
