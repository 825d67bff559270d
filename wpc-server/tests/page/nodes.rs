//! What the page shows of a cluster.

use crate::browser::Browser;
use crate::clustered::{Clustered, cluster};
use crate::served::{Served, usual_pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wpc_host::NodeState;
use wpc_server::Application;

/// A server of a pool in this cluster, and the backend that reports the cluster.
fn serve() -> (Served, Clustered) {
    let backend = Clustered::new(&usual_pool(), cluster());
    let application = Application::new(Arc::new(backend.clone()));
    (Served::at(([127, 0, 0, 1], 0).into(), application), backend)
}

/// Nodes that accept calls until it is dropped: each as many in 20 ms as it has in flight.
pub(crate) struct Accepting(Arc<AtomicBool>);

impl Accepting {
    pub(crate) fn start(backend: &Clustered) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (backend, stopped) = (backend.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                backend.change(|cluster| {
                    for node in &mut cluster.nodes {
                        node.calls_accepted += node.calls_in_flight as u64;
                    }
                });
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self(stop)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The text of a row's cell in a column.
fn cell(browser: &Browser, node: &str, column: &str) -> String {
    let script = format!(
        "const row = [...document.querySelectorAll('#nodes-rows tr')].find((row) => row.querySelector('.node-name').textContent === '{node}'); \
         return row.querySelector('td[data-label=\"{column}\"]').textContent"
    );
    browser.run(&script).as_str().unwrap().to_owned()
}

#[test]
fn nodes_are_listed_with_their_state_as_text() {
    let Some(browser) = Browser::start() else { return };
    let (served, _backend) = serve();
    browser.open(&served.url());
    browser.wait_for_text("#nodes-rows", "west");
    assert_eq!(browser.text("#nodes-count"), "1 of 3 nodes ready · revision 7 is active");
    assert_eq!(browser.text("#nodes-messages"), "1 disconnect · 2 dropped messages");
    assert_eq!(browser.text("#nodes-rows tr:first-child th"), "north this server");
    let row = |node| {
        ["State", "Revision", "Calls in flight", "Heartbeat"]
            .map(|column| cell(&browser, node, column))
    };
    assert_eq!(row("north"), ["ready", "7", "64 of 64", "0.3 s ago"]);
    assert_eq!(row("south"), ["behind", "6, active 7", "5 of 64", "0.3 s ago"]);
    assert_eq!(row("west"), ["lost", "7", "0 of 64", "42 s ago"]);
    assert_eq!(cell(&browser, "south", "Problem"), "the module of \"resize\" is damaged");
    assert_eq!(cell(&browser, "south", "Refused"), "3");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_calls_of_a_node_are_a_bar_with_a_name() {
    let Some(browser) = Browser::start() else { return };
    let (served, backend) = serve();
    browser.open(&served.url());
    browser.wait_for_text("#nodes-rows", "west");
    let bar = "const bar = document.querySelectorAll('#nodes-rows meter')[1]; ";
    let found =
        browser.run(&format!("{bar} return [bar.getAttribute('aria-label'), bar.value, bar.max]"));
    assert_eq!(found, serde_json::json!(["Calls in flight of south", 5, 64]));
    backend.change(|cluster| cluster.nodes[1].calls_in_flight = 32);
    browser.wait_for("the bar follows", &format!("{bar} return bar.value === 32"));
    let _accepting = Accepting::start(&backend);
    let rate = "return parseFloat(document.querySelectorAll('#nodes-rows td[data-label=\"Accepted/s\"]')[1].textContent.replaceAll(',', '')) > 10";
    browser.wait_for("a rate", rate);
}

#[test]
fn a_server_that_cannot_reach_the_others_reports_it_and_nodes_come_and_go() {
    let Some(browser) = Browser::start() else { return };
    let (served, backend) = serve();
    browser.open(&served.url());
    browser.wait_for_text("#nodes-rows", "west");
    assert_eq!(browser.run("return document.querySelector('#nodes-note').hidden"), true);
    backend.change(|cluster| {
        cluster.is_connected = false;
        cluster.nodes.pop();
        cluster.nodes[1].state = NodeState::Draining;
    });
    browser.wait_for_text(
        "#nodes-note",
        "This server cannot reach the other nodes. It serves its own functions",
    );
    assert_eq!(browser.run("return document.querySelectorAll('#nodes-rows tr').length"), 2);
    assert_eq!(cell(&browser, "south", "State"), "draining");
}

#[test]
fn texts_of_other_nodes_are_text() {
    let Some(browser) = Browser::start() else { return };
    let (served, backend) = serve();
    let attack = "<img src=x onerror=\"document.title='attacked'\">";
    backend.change(|cluster| {
        cluster.nodes[1].problem = attack.to_owned();
        cluster.nodes[1].version = attack.to_owned();
        cluster.nodes[2].name = attack.to_owned();
    });
    browser.open(&served.url());
    browser.wait_for_text("#nodes-rows th .node-name", "north");
    browser.wait_for_text("#nodes-rows", attack);
    assert_eq!(browser.run("return document.querySelectorAll('#nodes img').length"), 0);
    assert_eq!(browser.run("return document.title"), "wpc");
}

#[test]
fn the_nodes_are_reached_by_keyboard_and_have_names() {
    let Some(browser) = Browser::start() else { return };
    let (served, _backend) = serve();
    browser.open(&served.url());
    browser.wait_for_text("#nodes-rows", "west");
    browser.tab_to("the table", "node.getAttribute('aria-labelledby') === 'nodes-title'");
    let structure = browser.run(
        "const table = document.querySelector('#nodes-table'); \
         return [table.caption !== null, table.querySelectorAll('th:not([scope])').length, \
         table.querySelectorAll('tbody th[scope=row]').length]",
    );
    assert_eq!(structure, serde_json::json!([true, 0, 3]));
}

#[test]
fn a_narrow_screen_shows_each_node_as_labelled_values() {
    let Some(browser) = Browser::with_window(500, 900) else { return };
    let (served, _backend) = serve();
    browser.open(&served.url());
    browser.wait_for_text("#nodes-rows", "west");
    assert_eq!(browser.run("return document.documentElement.scrollWidth <= innerWidth"), true);
    browser.wait_for("labels", "return getComputedStyle(document.querySelector('#nodes-rows td[data-label]'), '::before').content.includes('State')");
}

#[test]
fn a_server_that_is_alone_shows_no_nodes() {
    let Some(browser) = Browser::start() else { return };
    let served = Served::start(&usual_pool());
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", "add");
    assert_eq!(browser.run("return document.querySelector('#nodes').hidden"), true);
}
