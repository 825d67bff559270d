//! What a server reports of the cluster that its backend is a part of.

use crate::clustered::{Clustered, cluster};
use crate::harness::{Answer, Running};
use crate::tokens::Guarded;
use serde_json::{Value, json};
use std::sync::Arc;
use wpc_host::{ClusterInformation, NodeInformation, NodeState};
use wpc_server::Application;

/// A server whose backend reports this cluster, and the backend.
fn serve(cluster: ClusterInformation) -> (Running, Clustered) {
    let mut backend = None;
    let server = Running::of(|wpc| {
        let clustered = Clustered::new(&wpc, cluster);
        backend = Some(clustered.clone());
        Application::new(Arc::new(clustered))
    });
    (server, backend.unwrap())
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

/// The status of `/readyz`, and its line about the cluster.
fn readiness(server: &Running) -> (u16, String) {
    let answer = server.get("/readyz", &[]);
    let text = text(&answer);
    let line = text.lines().find(|line| line.contains(" cluster: "));
    (answer.status, line.unwrap_or_else(|| panic!("{text}")).to_owned())
}

#[test]
fn a_node_that_runs_the_active_revision_is_ready_whatever_others_do() {
    let (server, _) = serve(cluster());
    assert_eq!(readiness(&server), (200, "[+] cluster: 1 of 3 nodes are ready".to_owned()));
}

#[test]
fn a_node_that_cannot_reach_the_others_serves_its_callers_and_reports_it() {
    let (server, backend) = serve(cluster());
    backend.change(|cluster| cluster.is_connected = false);
    let (status, line) = readiness(&server);
    assert_eq!(status, 200);
    assert!(line.starts_with("[!] cluster: the other nodes cannot be reached"), "{line}");
    assert_eq!(server.call("add", &json!([40, 2])).json(), 42);
    let report = server.get("/readyz", &[("accept", "application/json")]).json();
    let check =
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "cluster");
    assert_eq!((&check.unwrap()["ok"], &check.unwrap()["degraded"]), (&json!(true), &json!(true)));
}

#[test]
fn a_node_that_drains_is_not_ready() {
    let (server, backend) = serve(cluster());
    backend.change(|cluster| cluster.nodes[0].state = NodeState::Draining);
    let (status, line) = readiness(&server);
    assert_eq!(status, 503);
    assert!(line.starts_with("[-] cluster: this node is draining"), "{line}");
}

#[test]
fn drift_is_reported_and_the_verbose_answer_has_its_reason() {
    let (server, backend) = serve(cluster());
    backend.change(|cluster| {
        let own = &mut cluster.nodes[0];
        (own.state, own.revision) = (NodeState::Behind, Some(6));
        own.problem = "the module of \"resize\"\nis damaged".to_owned();
    });
    let (status, line) = readiness(&server);
    assert_eq!(status, 200);
    let expected = "[!] cluster: this node runs revision 6, and revision 7 is active; `/readyz?verbose` shows the reason";
    assert_eq!(line, expected);
    let verbose = text(&server.get("/readyz?verbose", &[]));
    let own = r#"[!] node "north": behind, revision 6, 64 of 64 calls: the module of "resize"\nis damaged"#;
    assert!(verbose.contains(own), "{verbose}");
    assert!(
        verbose.contains("[-] node \"west\": lost, revision 7, last heartbeat 42 s ago\n"),
        "{verbose}"
    );
    let report = server.get("/readyz?verbose", &[("accept", "application/json")]).json();
    assert_eq!(report["cluster"]["nodes"][1]["name"], "south");
}

#[test]
fn the_cluster_is_described_as_json() {
    let (server, _) = serve(cluster());
    let answer = server.get("/v1/cluster", &[]);
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let found = answer.json();
    assert_eq!((&found["node"], &found["active_revision"]), (&json!("north"), &json!(7)));
    assert_eq!((&found["disconnects"], &found["node_count"]), (&json!(1), &json!(3)));
    assert_eq!(
        found["nodes"][1],
        json!({
            "name": "south", "state": "behind", "version": "0.1.0", "revision": 6, "workers": 2,
            "call_limit": 64, "calls_in_flight": 5, "calls_accepted": 1005, "calls_refused": 3,
            "last_heartbeat_seconds": 0.3, "problem": "the module of \"resize\" is damaged",
        })
    );
}

#[test]
fn a_server_that_is_alone_has_no_cluster() {
    let server = Running::start();
    let answer = server.get("/v1/cluster", &[]);
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("no_cluster")));
    assert!(!text(&server.get("/readyz?verbose", &[])).contains("cluster"));
    let metrics = text(&server.get("/metrics", &[]));
    assert!(!metrics.contains("wpc_cluster") && !metrics.contains("wpc_node"), "{metrics}");
    assert_eq!(server.get("/v1/snapshot", &[]).json()["cluster"], Value::Null);
}

#[test]
fn the_cluster_is_shown_to_clients_that_may_observe() {
    let guarded = Guarded::start();
    let (caller, observer) =
        (guarded.token("caller", &["call"]), guarded.token("observer", &["observe"]));
    let status = |token: &str| {
        let authorization = format!("Bearer {token}");
        guarded.server.get("/v1/cluster", &[("authorization", &authorization)]).status
    };
    assert_eq!((status(&caller), status(&observer)), (403, 404));
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[test]
fn metrics_have_each_node_and_how_far_it_is_behind() {
    let (server, backend) = serve(cluster());
    let metrics = text(&server.get("/metrics", &[]));
    let of =
        |series: &str| value(&metrics, series).unwrap_or_else(|| panic!("{series}\n{metrics}"));
    assert_eq!(of("wpc_cluster_connected"), 1.0);
    assert_eq!(of("wpc_cluster_disconnects_total"), 1.0);
    assert_eq!(of("wpc_cluster_dropped_messages_total"), 2.0);
    assert_eq!(of("wpc_cluster_active_revision"), 7.0);
    assert_eq!(of(r#"wpc_cluster_nodes{state="lost"}"#), 1.0);
    assert_eq!(of(r#"wpc_cluster_nodes{state="draining"}"#), 0.0);
    assert_eq!(of(r#"wpc_node_up{node="west"}"#), 0.0);
    assert_eq!(of(r#"wpc_node_up{node="south"}"#), 1.0);
    assert_eq!(of(r#"wpc_node_state{node="south",state="behind"}"#), 1.0);
    assert_eq!(of(r#"wpc_node_state{node="south",state="ready"}"#), 0.0);
    assert_eq!(of(r#"wpc_node_revision{node="south"}"#), 6.0);
    assert_eq!(of(r#"wpc_node_info{node="south",version="0.1.0"}"#), 1.0);
    assert_eq!(of(r#"wpc_node_last_heartbeat_age_seconds{node="west"}"#), 42.0);
    assert_eq!(of(r#"wpc_node_workers{node="north"}"#), 2.0);
    assert_eq!(of(r#"wpc_node_calls_in_flight{node="north"}"#), 64.0);
    assert_eq!(of(r#"wpc_node_calls_limit{node="north"}"#), 64.0);
    assert_eq!(of(r#"wpc_node_calls_accepted_total{node="south"}"#), 1005.0);
    assert_eq!(of(r#"wpc_node_calls_refused_total{node="south"}"#), 3.0);
    crate::metrics::lint(&metrics);
    backend.change(|cluster| cluster.active_revision = None);
    let metrics = text(&server.get("/metrics", &[]));
    assert_eq!(value(&metrics, "wpc_cluster_active_revision"), None, "it is not known");
}

#[test]
fn a_snapshot_has_the_cluster_and_its_nodes_within_its_size() {
    let (server, backend) = serve(cluster());
    let snapshot = server.get("/v1/snapshot", &[]).json();
    assert_eq!(
        (&snapshot["cluster"]["node"], &snapshot["cluster"]["nodes"]),
        (&json!("north"), &Value::Null)
    );
    let south = &snapshot["nodes"][1];
    assert_eq!((&south["name"], &south["accept_rate"]), (&json!("south"), &Value::Null));
    backend.change(|cluster| {
        cluster.nodes.extend(
            (0..500)
                .map(|number| NodeInformation::new(format!("node{number:03}"), NodeState::Ready)),
        );
    });
    // A sample is up to a second old.
    let mut answer = server.get("/v1/snapshot", &[]);
    crate::harness::eventually("a newer sample", || {
        answer = server.get("/v1/snapshot", &[]);
        answer.json()["cluster"]["node_count"] == 503
    });
    assert!(answer.body.len() <= 60 << 10, "{}", answer.body.len());
    let shown = answer.json()["nodes"].as_array().unwrap().len();
    assert!((20..503).contains(&shown), "{shown}");
}

#[test]
fn the_openapi_document_describes_the_cluster() {
    let (server, _) = serve(cluster());
    let document = server.get("/openapi.json", &[]).json();
    let operation = &document["paths"]["/v1/cluster"]["get"];
    assert_eq!(operation["operationId"], "get_cluster");
    let schema = |name: &str| document["components"]["schemas"][name]["required"].clone();
    let names = |object: &Value| {
        let mut names: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
        names.sort();
        json!(names)
    };
    let sorted = |required: Value| {
        let mut names: Vec<String> = serde_json::from_value(required).unwrap();
        names.sort();
        json!(names)
    };
    let found = server.get("/v1/cluster", &[]).json();
    assert_eq!(sorted(schema("Cluster")), names(&found));
    assert_eq!(sorted(schema("ClusterNode")), names(&found["nodes"][0]));
}
