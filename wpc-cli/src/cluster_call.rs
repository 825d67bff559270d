//! `wpc call --cluster`: calls a function on the nodes of a cluster.

use crate::call::line;
use crate::cluster_options::{ClusterArguments, failure};
use crate::failure::Failure;
use crate::remote_call::report;
use crate::target::Target;
use crate::{terminal, text};
use futures::StreamExt as _;
use serde_json::{Value, json};
use wpc_cluster::Client;
use wpc_host::{
    BackendReply, CallArguments, CallOptions, CallOutcome, ErrorCode, ErrorReport, ReplyFormat,
    ReplyValue, StreamOptions, StreamPart,
};

/// Calls the function, and prints its result as a local call does.
pub(crate) fn run(
    arguments: &ClusterArguments,
    target: &Target,
    is_stream: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let function = target.remote_function()?;
    let values = CallArguments::Positional(target.untyped_values()?);
    let options = target.remote_options();
    arguments.required()?.run(async |cluster| {
        let client = Client::connect(cluster).await.map_err(failure)?;
        if client.snapshot().revision.is_none() {
            return Err(nothing_active(function, &client));
        }
        if is_stream {
            return stream(&client, function, values, options, as_json).await;
        }
        let call = client.submit(function, values, ReplyFormat::Json, &options)?;
        let reply = call.await?;
        let fuel = reply.metadata.fuel_used;
        terminal::print(&line(&value(&reply), &reply.metadata, as_json))?;
        if !as_json {
            report("fuel used", fuel.map(Value::from));
        }
        Ok(())
    })?
}

/// The failure of a call to a cluster without functions.
fn nothing_active(function: &str, client: &Client) -> Failure {
    let namespace = &client.connection().options().namespace;
    let text = format!(
        "function \"{function}\" is not defined: nothing is active in the namespace \"{namespace}\"; deploy a manifest with `wpc deploy --cluster`"
    );
    let report = ErrorReport::new(ErrorCode::FunctionNotDefined, CallOutcome::NotStarted, text);
    Failure::Host(report.into())
}

/// Prints each item as soon as it arrives.
async fn stream(
    client: &Client,
    function: &str,
    values: CallArguments,
    options: CallOptions,
    as_json: bool,
) -> Result<(), Failure> {
    let options = StreamOptions::new().call(options);
    let mut parts = client.stream(function, values, &options)?;
    while let Some(part) = parts.next().await {
        match part.map_err(wpc_host::Error::from)? {
            StreamPart::Item(item) => {
                let line = if as_json {
                    json!({ "item": item }).to_string()
                } else {
                    text::escape_json(&item.to_string())
                };
                terminal::print((line + "\n").as_bytes())?;
            }
            StreamPart::Reply(reply) if as_json => {
                return terminal::print(&line(&value(&reply), &reply.metadata, as_json));
            }
            StreamPart::Reply(reply) => {
                report("result", Some(value(&reply)));
                report("fuel used", reply.metadata.fuel_used.map(Value::from));
            }
            _ => {}
        }
    }
    Ok(())
}

fn value(reply: &BackendReply) -> Value {
    match &reply.value {
        ReplyValue::Json(value) => value.clone(),
        _ => Value::Null,
    }
}
