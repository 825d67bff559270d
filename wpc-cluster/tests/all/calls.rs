//! Calls between real nodes over a real NATS server, including while something fails.

use crate::support::{FaultProxy, NatsCluster, NatsServer, TIME_LIMIT, eventually, join, within};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use wpc_cluster::{Client, ClusterOptions, Connection, Node, Quorum, Registry};
use wpc_deploy::Source;
use wpc_deploy::document::Packed;
use wpc_host::{
    Backend as _, CallArguments, CallOptions, CallOutcome, Error, ErrorCode, FuelMeter,
    FunctionHash, ReplyFormat, ReplyValue, StreamOptions, StreamPart,
};

const STREAMS: &[u8] = include_bytes!("../../../fixtures/wasm/streams.wasm");
const ECHO: &[u8] = include_bytes!("../../../fixtures/wasm/size_echo.wasm");

const MANIFEST: &str = "
[functions]
add = { file = \"m.wasm\", pure = true }
once = { file = \"m.wasm\", export = \"add\" }
spin = { file = \"m.wasm\" }
burns = { file = \"m.wasm\", export = \"spin\", limits = { fuel = 100000 } }
endless = { file = \"streams.wasm\", export = \"numbers\", limits = { fuel = 1000000000000 } }
[modules]
streams = { file = \"streams.wasm\" }
echo = { file = \"echo.wasm\" }
";

fn source(folder: &Path) -> Source {
    let module = "(module (func (export \"add\") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export \"spin\") (loop br 0)))";
    std::fs::write(folder.join("m.wasm"), wat::parse_str(module).unwrap()).unwrap();
    std::fs::write(folder.join("streams.wasm"), STREAMS).unwrap();
    std::fs::write(folder.join("echo.wasm"), ECHO).unwrap();
    Source::new(folder.join("wpc.toml"), MANIFEST.to_owned())
}

/// Deploys the manifest to this many nodes.
async fn deploy(options: ClusterOptions, nodes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(Connection::open(options, "deployer").await.unwrap());
    // New servers elect leaders first, which takes a while on a busy machine.
    eventually("the buckets are created", async || registry.create().await.ok()).await;
    let source = source(folder.path());
    let packed = Packed::read(&source, &source.parse().unwrap()).unwrap();
    let revision = registry.stage(&packed, "ada", None).await.unwrap();
    let ready =
        registry.wait_ready(revision.number, Quorum::Nodes(nodes), TIME_LIMIT).await.unwrap();
    registry.activate(&ready, None, "ada").await.unwrap();
}

/// A client that knows the functions and this many nodes that run them.
async fn client(options: ClusterOptions, nodes: usize) -> Client {
    let client = Client::connect(options).await.unwrap();
    eventually("the nodes are ready", async || {
        let cluster = client.information();
        let is_ready = |node: &&wpc_host::NodeInformation| node.state == wpc_host::NodeState::Ready;
        let ready = cluster.nodes.iter().filter(is_ready).count();
        (cluster.active_revision.is_some() && ready >= nodes).then_some(())
    })
    .await;
    client
}

async fn call(client: &Client, function: &str, arguments: Value) -> Result<Value, Error> {
    call_with(client, function, arguments, &CallOptions::new()).await
}

async fn call_with(
    client: &Client,
    function: &str,
    arguments: Value,
    options: &CallOptions,
) -> Result<Value, Error> {
    let arguments = match arguments {
        Value::Array(values) => CallArguments::Positional(values),
        Value::Object(values) => CallArguments::Named(values),
        other => panic!("neither an array nor an object: {other}"),
    };
    let reply = client.submit(function, arguments, ReplyFormat::Json, options)?.await?;
    let ReplyValue::Json(value) = reply.value else { panic!("another form") };
    Ok(value)
}

/// A call that goes on until the task is aborted.
fn spin(client: &Client) -> JoinHandle<Result<Value, Error>> {
    let client = client.clone();
    tokio::spawn(async move {
        let endless = CallOptions::new().timeout(Duration::from_secs(3600));
        call_with(&client, "spin", json!([]), &endless).await
    })
}

/// Two nodes that run the manifest, and a client.
async fn two_nodes(options: &ClusterOptions) -> (Node, Node, Client) {
    let (a, b) = tokio::join!(join("a", options.clone()), join("b", options.clone()));
    deploy(options.clone(), 2).await;
    let client = client(options.clone(), 2).await;
    (a, b, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_the_same_forms_and_errors_as_in_a_pool() {
    let Some(server) = NatsServer::start() else { return };
    let (a, b, client) = two_nodes(&server.options()).await;
    assert_eq!(call(&client, "add", json!([1, 2])).await.unwrap(), 3);
    for (function, arguments, code, outcome) in [
        ("missing", json!([]), ErrorCode::FunctionNotDefined, CallOutcome::NotStarted),
        ("add", json!(["x", 2]), ErrorCode::BadArguments, CallOutcome::NotStarted),
        ("add", json!([1]), ErrorCode::BadArguments, CallOutcome::NotStarted),
    ] {
        let error = call(&client, function, arguments).await.unwrap_err();
        assert_eq!((error.code(), error.outcome()), (code, outcome), "{error}");
    }
    let module = client.snapshot().functions["add"].information.function_hash_sha1;
    let pinned = CallOptions::new().pin(module);
    assert_eq!(call_with(&client, "add", json!([1, 2]), &pinned).await.unwrap(), 3);
    let pinned = CallOptions::new().pin(FunctionHash::of(b"another module"));
    let error = call_with(&client, "add", json!([1, 2]), &pinned).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PinMismatch);

    // Postcard: zigzag and variable length.
    let encoded = CallArguments::Encoded(vec![2, 4]);
    let options = CallOptions::new();
    let reply = client.submit("add", encoded, ReplyFormat::Encoded, &options).unwrap();
    assert_eq!(reply.await.unwrap().value, ReplyValue::Encoded(vec![6]));
    assert!(a.calls_accepted() + b.calls_accepted() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_and_a_dropped_call_stop_the_guest_on_its_node() {
    let Some(server) = NatsServer::start() else { return };
    let (a, b, client) = two_nodes(&server.options()).await;
    let in_flight = || a.calls_in_flight() + b.calls_in_flight();
    // On a busy machine, a short limit is over before the guest starts.
    let mut limit = Duration::from_millis(100);
    let outcome = loop {
        let short = CallOptions::new().timeout(limit);
        let error = call_with(&client, "spin", json!([]), &short).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Timeout);
        match error.outcome() {
            CallOutcome::NotStarted => limit *= 4,
            outcome => break outcome,
        }
    };
    assert_eq!(outcome, CallOutcome::Unknown);
    eventually("the guest ends", async || (in_flight() == 0).then_some(())).await;

    let submitted = client.submit(
        "spin",
        CallArguments::Positional(Vec::new()),
        ReplyFormat::Json,
        &CallOptions::new(),
    );
    eventually("the guest runs", async || (in_flight() == 1).then_some(())).await;
    drop(submitted);
    eventually("the guest is stopped", async || (in_flight() == 0).then_some(())).await;
    assert_eq!(client.pending_calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fuel_of_a_call_that_fails_or_is_cancelled_on_another_node_is_reported() {
    let Some(server) = NatsServer::start() else { return };
    let (a, _b, client) = two_nodes(&server.options()).await;
    let submit = |function: &str, options: &CallOptions| {
        let arguments = CallArguments::Positional(Vec::new());
        client.submit(function, arguments, ReplyFormat::Json, options).unwrap()
    };
    let known =
        async |meter: FuelMeter| eventually("the fuel is known", async || meter.fuel_used()).await;
    let all = CallOptions::new();
    let call = submit("burns", &all);
    let meter = call.fuel_meter();
    assert_eq!(call.await.unwrap_err().code(), ErrorCode::OutOfFuel);
    assert!((1..=100_000).contains(&known(meter).await));

    let start = |options: CallOptions| {
        let arguments = CallArguments::Positional(vec![u64::MAX.into()]);
        client.stream("endless", arguments, &StreamOptions::new().call(options)).unwrap()
    };
    // The first item shows that the guest runs. On a busy machine, a short limit is over before that.
    let mut limit = Duration::from_millis(100);
    let (mut stream, meter) = loop {
        let mut stream = start(CallOptions::new().timeout(limit));
        let meter = stream.fuel_meter();
        if let Some(Ok(StreamPart::Item(_))) = stream.next().await {
            break (stream, meter);
        }
        limit *= 4;
    };
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(part) => assert!(matches!(part, StreamPart::Item(_)), "{part:?}"),
            Err(error) => break error.error,
        }
    };
    assert_eq!(error.code(), ErrorCode::Timeout);
    assert!(known(meter).await > 0);

    let mut stream = start(all.clone());
    let meter = stream.fuel_meter();
    within("an item", stream.next()).await.unwrap().unwrap();
    assert_eq!(meter.fuel_used(), None, "it has not ended");
    drop(stream);
    assert!(known(meter).await > 0);

    let call = submit("spin", &all);
    assert!(call.fuel_meter().is_unknown(), "it is not metered");
    drop(call);
    let arguments = CallArguments::Positional(Vec::new());
    let call = a.submit("burns", arguments, ReplyFormat::Json, &all).unwrap();
    let meter = call.fuel_meter();
    call.await.unwrap_err();
    assert!(known(meter).await > 0, "a node reads the fuel of its own calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_a_message_is_stored() {
    let Some(server) = NatsServer::start() else { return };
    let (_a, _b, client) = two_nodes(&server.options()).await;
    let text = "x".repeat(3 << 20);
    assert_eq!(call(&client, "echo", json!([text])).await.unwrap(), text);

    let mut options = server.options();
    options.max_payload = 1 << 20;
    let client = self::client(options, 2).await;
    let error = call(&client, "echo", json!([text])).await.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::ArgumentsTooLarge, CallOutcome::NotStarted),
        "{error}"
    );
}

/// The names of the arguments and results that are stored.
async fn stored(server: &NatsServer) -> Vec<String> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let store = async_nats::jetstream::new(client).get_object_store("wpc_payloads").await.unwrap();
    let objects = store.list().await.unwrap();
    objects.map(|object| object.unwrap().name).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_arguments_are_deleted_whatever_the_call_ends_with() {
    let Some(server) = NatsServer::start() else { return };
    let (a, b, client) = two_nodes(&server.options()).await;
    let text = || json!(["x".repeat(2 << 20)]);
    call(&client, "echo", text()).await.unwrap();
    let error = call(&client, "spin", text()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::BadArguments);
    // The nodes refuse calls while they have as many as they accept.
    let mut spinning = Vec::new();
    while a.calls_in_flight() + b.calls_in_flight() < 12 {
        spinning.push(spin(&client));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        let error = call(&client, "echo", text()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Saturated);
    }
    let waits = CallOptions::new().wait_for_capacity().timeout(Duration::from_millis(300));
    let error = call_with(&client, "echo", text(), &waits).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    spinning.iter().for_each(|task| task.abort());
    // A caller that stops waiting when its arguments are stored.
    let waits = CallOptions::new().wait_for_capacity();
    let dropped = tokio::spawn({
        let client = client.clone();
        async move { call_with(&client, "spin", text(), &waits).await }
    });
    dropped.abort();
    eventually("nothing is stored", async || stored(&server).await.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_its_caller_does_not_read_is_deleted() {
    let Some(server) = NatsServer::start() else { return };
    let (_a, _b, client) = two_nodes(&server.options()).await;
    // The caller stops waiting when the result is stored.
    let calling = tokio::spawn({
        let client = client.clone();
        let text = json!(["x".repeat(3 << 20)]);
        async move { call(&client, "echo", text).await }
    });
    let is_result = |name: &String| name.ends_with(".result");
    eventually("the result is stored", async || {
        (calling.is_finished() || stored(&server).await.iter().any(is_result)).then_some(())
    })
    .await;
    calling.abort();
    eventually("nothing is stored", async || stored(&server).await.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_arguments_and_results_are_stored_again_after_the_server_has_restarted() {
    let Some(mut server) = NatsServer::start() else { return };
    let (_a, _b, client) = two_nodes(&server.options()).await;
    let text = "x".repeat(2 << 20);
    assert_eq!(call(&client, "echo", json!([text])).await.unwrap(), text);
    server.kill();
    server.restart();
    eventually("the call works again", async || {
        call(&client, "echo", json!([text])).await.ok().filter(|answer| *answer == text)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_arrive_in_order_as_fast_as_they_are_read() {
    let Some(server) = NatsServer::start() else { return };
    let (a, b, client) = two_nodes(&server.options()).await;
    let mut options = StreamOptions::new();
    options.max_waiting_items = 4;
    let arguments = || CallArguments::Positional(vec![300.into()]);
    let mut parts = client.stream("numbers", arguments(), &options).unwrap();
    let mut items = 0;
    loop {
        match within("a part", parts.next()).await.unwrap().unwrap() {
            StreamPart::Item(item) => {
                assert_eq!(item, items);
                items += 1;
            }
            StreamPart::Reply(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(items, 300);
    assert!(parts.next().await.is_none());

    // A reader that stops in the middle stops the guest.
    let mut parts = client.stream("numbers", arguments(), &options).unwrap();
    within("an item", parts.next()).await.unwrap().unwrap();
    drop(parts);
    let in_flight = || a.calls_in_flight() + b.calls_in_flight();
    eventually("the guest is stopped", async || (in_flight() == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_caller_is_gone_ends_at_its_time_limit() {
    let Some(server) = NatsServer::start() else { return };
    let (a, b, _client) = two_nodes(&server.options()).await;
    let proxy = FaultProxy::start(server.address()).await;
    let mut behind = server.options();
    behind.servers = vec![proxy.url()];
    let gone = self::client(behind, 2).await;
    // On a busy machine, a short limit is over before the first item.
    let mut limit = Duration::from_secs(1);
    let parts = loop {
        let call = CallOptions::new().timeout(limit);
        let options = StreamOptions::new().call(call).max_waiting_items(4);
        let arguments = CallArguments::Positional(vec![100_000.into()]);
        let mut parts = gone.stream("numbers", arguments, &options).unwrap();
        if let Some(Ok(StreamPart::Item(_))) = within("an item", parts.next()).await {
            break parts;
        }
        limit *= 4;
    };
    // The node hears nothing more from this caller.
    proxy.hold();
    drop((parts, gone));
    let in_flight = || a.calls_in_flight() + b.calls_in_flight();
    eventually("the guest is stopped", async || (in_flight() == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_its_own_calls_without_nats() {
    let Some(server) = NatsServer::start() else { return };
    let (a, b, _client) = two_nodes(&server.options()).await;
    let backend = a.backend();
    let add = || CallArguments::Positional(vec![1.into(), 2.into()]);
    for _ in 0..20 {
        let call = backend.submit("add", add(), ReplyFormat::Json, &CallOptions::new()).unwrap();
        assert_eq!(call.await.unwrap().value, ReplyValue::Json(3.into()));
    }
    assert_eq!(a.calls_accepted() + b.calls_accepted(), 0, "none crossed the network");
    eventually("the client of the node has the functions too", async || {
        (backend.functions().len() == a.client().snapshot().functions.len()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_loses_no_call() {
    let Some(server) = NatsServer::start() else { return };
    let (a, b, client) = two_nodes(&server.options()).await;
    let calls = tokio::spawn({
        let client = client.clone();
        async move {
            let waits = CallOptions::new().wait_for_capacity();
            for _ in 0..2000 {
                call_with(&client, "once", json!([1, 2]), &waits).await.unwrap();
            }
        }
    });
    eventually("calls run", async || (a.calls_accepted() > 20).then_some(())).await;
    assert!(a.drain(TIME_LIMIT).await);
    within("all calls are answered", calls).await.unwrap();
    assert!(b.calls_accepted() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_a_node_that_falls_silent_end_soon_and_pure_ones_run_elsewhere() {
    let Some(server) = NatsServer::start() else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let mut behind = server.options();
    behind.servers = vec![proxy.url()];
    let (a, b) = tokio::join!(join("a", behind), join("b", server.options()));
    deploy(server.options(), 2).await;
    let client = client(server.options(), 2).await;
    // Starts calls that never return, until one of them runs on the node that will become unreachable. Each one runs before the next
    // one starts, so that none is refused.
    let mut spinning = Vec::new();
    while a.calls_in_flight() == 0 {
        spinning.push(spin(&client));
        eventually("the guest runs", async || {
            (a.calls_in_flight() + b.calls_in_flight() == spinning.len()).then_some(())
        })
        .await;
    }
    proxy.hold();
    let start = Instant::now();
    let lost = within("an error", async {
        loop {
            let ended = spinning.iter_mut().find(|task| task.is_finished());
            match ended {
                Some(task) => break task.await.unwrap().unwrap_err(),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    println!("an error after {:?}", start.elapsed());
    assert_eq!((lost.code(), lost.outcome()), (ErrorCode::ConnectionLost, CallOutcome::Unknown));
    // Those of the other node would keep its workers busy.
    spinning.iter().for_each(|task| task.abort());
    for number in 0..50 {
        assert_eq!(call(&client, "add", json!([number, 1])).await.unwrap(), number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_after_the_server_has_restarted() {
    let Some(mut server) = NatsServer::start() else { return };
    let (a, _b, client) = two_nodes(&server.options()).await;
    server.kill();
    eventually("the client notices it", async || (!client.connection().is_up()).then_some(()))
        .await;
    let error = call(&client, "once", json!([1, 2])).await.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::Unreachable, CallOutcome::NotStarted),
        "{error}"
    );
    let add = CallArguments::Positional(vec![1.into(), 2.into()]);
    let own = a.backend().submit("add", add, ReplyFormat::Json, &CallOptions::new()).unwrap();
    assert_eq!(own.await.unwrap().value, ReplyValue::Json(3.into()), "nodes serve their own");
    server.restart();
    eventually("calls work again", async || call(&client, "once", json!([1, 2])).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lost_its_connection_leaves_without_waiting_for_it() {
    let Some(mut server) = NatsServer::start() else { return };
    let node = join("a", server.options()).await;
    server.kill();
    let connection = node.client().connection();
    eventually("the node notices it", async || (!connection.is_up()).then_some(())).await;
    assert!(node.drain(TIME_LIMIT).await, "it waited for its connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn pure_calls_do_not_notice_that_one_of_three_servers_fails() {
    let Some(mut servers) = NatsCluster::start() else { return };
    let options = servers.options();
    let (a, b, client) = two_nodes(&options).await;
    let calls = tokio::spawn({
        let client = client.clone();
        async move {
            let mut failed = Vec::new();
            for number in 0..3000 {
                let waits = CallOptions::new().wait_for_capacity();
                let call = call_with(&client, "add", json!([number, 1]), &waits).await;
                failed.extend(call.err());
            }
            failed
        }
    });
    let accepted = || a.calls_accepted() + b.calls_accepted();
    eventually("calls run", async || (accepted() > 50).then_some(())).await;
    servers.servers[2].kill();
    let failed = within("all calls are answered", calls).await.unwrap();
    // A call that is made while its own caller has no connection is refused: it has not started.
    let started = failed.iter().filter(|error| error.outcome() != CallOutcome::NotStarted);
    assert_eq!(started.count(), 0, "{failed:?}");
}
