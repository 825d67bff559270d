//! What the page shows of a running server.

use crate::browser::{Browser, key};
use crate::served::{Served, guest, usual_pool};
use wpc_host::{Changes, Options, WorkerProcedureCall};

#[test]
fn functions_and_workers_appear_without_errors_in_the_console() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#connection-text", "Live");
    browser.wait_for_text("#functions-rows", "echo_bytes");
    assert_eq!(browser.run("return document.querySelectorAll('#functions-rows tr').length"), 8);
    assert_eq!(browser.text("#functions-count"), "8 functions");
    browser.wait_for_text("#workers", "slot 1");
    assert_eq!(browser.text("#stat-workers"), "2 of 2");
    for number in 0..20 {
        wpc.call::<i32>("add", (number, 1)).unwrap();
    }
    browser.wait_for_text("#about", "20 calls");
    // A rate is shown for a second only, so the calls go on until it is seen.
    browser.wait_while(
        "a rate is shown",
        "return [...document.querySelectorAll('#functions-rows tr')][0].cells[1].textContent !== '0'",
        || assert_eq!(wpc.call::<i32>("add", (1, 1)).unwrap(), 2),
    );
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_failed_call_is_listed_with_its_error_and_breaker() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#connection-text", "Live");
    for _ in 0..20 {
        let _ = wpc.call::<()>("panics", ("a test",));
    }
    browser.wait_for_text("#calls-rows", "panics");
    browser.wait_for_text("#events", "sandbox");
    // The state of its circuit breaker is text, and has the last failure as its reason.
    browser.wait_for(
        "the reason is shown",
        "const row = [...document.querySelectorAll('#functions-rows tr')].find((row) => row.dataset.name === 'panics'); \
         return /(Open|Backing off|Half-open).* · trapped: /.test(row.cells[5].textContent)",
    );
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn names_and_documentation_of_guests_are_shown_as_text() {
    let Some(browser) = Browser::start() else { return };
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    let attack = "<img src=x onerror=\"document.title='attacked'\">";
    let right_to_left = "\u{5e9}\u{5dc}\u{5d5}\u{5dd}";
    let long = format!("<b>{}", "x".repeat(252));
    let exports = [attack, right_to_left, &long]
        .map(|name| format!(r#"(func (export "{}"))"#, name.replace('"', "\\\"")));
    let module = wat::parse_str(format!("(module {})", exports.concat())).unwrap();
    wpc.define_worker_module(module).unwrap();
    wpc.start_workers(1).unwrap();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", attack);
    browser.wait_for_text("#functions-rows", &long);
    browser.wait_for_text("#functions-rows", right_to_left);
    assert_eq!(
        browser.run(
            "return document.querySelectorAll('#functions-rows img, #functions-rows b').length"
        ),
        0
    );
    browser.run("document.querySelector('#functions-rows .name').click()");
    browser.wait_for_text("#details-title", "<");
    assert_eq!(
        browser.run("return document.querySelectorAll('#details img, #details b').length"),
        0
    );
    assert_eq!(browser.run("return document.title"), "wpc");
    assert_eq!(
        browser.run("return document.documentElement.scrollWidth <= innerWidth"),
        true,
        "a long name does not widen the page"
    );
}

#[test]
fn the_documentation_of_a_function_is_text() {
    let Some(browser) = Browser::start() else { return };
    let attack = "<img src=x onerror=\"document.title='attacked'\"><script>document.title='attacked'</script>";
    let mut module = wat::parse_str(r#"(module (func (export "documented")))"#).unwrap();
    let record = wpc_abi::documentation::function_record("documented", attack);
    module.extend(wpc_abi::documentation::custom_section(&record));
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    wpc.define_worker_function("documented", module).unwrap();
    wpc.start_workers(1).unwrap();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", "documented");
    browser.run("document.querySelector('#functions-rows .name').click()");
    browser.wait_for_text("#details-documentation", attack);
    assert_eq!(
        browser.run("return document.querySelectorAll('#details img, #details script').length"),
        0
    );
    assert_eq!(browser.run("return document.title"), "wpc");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_function_that_a_worker_runs_is_shown() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#workers", "slot 1");
    assert!(!browser.text("#workers").contains("runs"));
    let call = wpc.submit::<()>("spins", ()).unwrap();
    browser.wait_for_text("#workers", "runs spins");
    drop(call);
    browser.wait_for(
        "the call has ended",
        "return !document.querySelector('#workers').textContent.includes('runs')",
    );
}

#[test]
fn every_control_can_be_reached_by_keyboard() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", "echo_bytes");
    browser.press(key::TAB);
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.press(key::ENTER);
    browser.tab_to("the names", "node.classList.contains('name')");
    assert_eq!(browser.run("return document.activeElement.textContent"), "add");
    browser.press(key::DOWN);
    assert_eq!(browser.run("return document.activeElement.textContent"), "echo_bytes");
    browser.press(key::ENTER);
    browser.wait_for("the drawer is open", "return document.querySelector('#details').open");
    browser.press(key::ESCAPE);
    browser.wait_for("the drawer is closed", "return !document.querySelector('#details').open");
    assert_eq!(browser.run("return document.activeElement.textContent"), "echo_bytes");
}

#[test]
fn every_control_has_a_name_and_every_part_a_landmark() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", "echo_bytes");
    let nameless = browser.run(
        "return [...document.querySelectorAll('button, input, select, textarea')].filter((node) => \
         !(node.textContent.trim() || node.getAttribute('aria-label') || node.labels?.length)).map((node) => node.outerHTML)",
    );
    assert_eq!(nameless, serde_json::json!([]));
    let missing = browser.run(
        "return ['main', 'header', '[role=search]', 'nav[aria-label]', 'h1', '[role=status]', '[role=alert]'] \
         .filter((selector) => !document.querySelector(selector))",
    );
    assert_eq!(missing, serde_json::json!([]));
    let unscoped = browser.run("return document.querySelectorAll('th:not([scope])').length");
    assert_eq!(unscoped, 0);
    let sections = browser.run(
        "return [...document.querySelectorAll('section, table, dialog')].filter((node) => \
         !(node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.caption)).length",
    );
    assert_eq!(sections, 0);
    let dangling = browser.run(
        "return [...document.querySelectorAll('[aria-labelledby], [aria-describedby], label[for]')].flatMap((node) => \
         `${node.getAttribute('aria-labelledby') ?? ''} ${node.getAttribute('aria-describedby') ?? ''} ${node.getAttribute('for') ?? ''}` \
         .split(' ').filter((id) => id && !document.getElementById(id)))",
    );
    assert_eq!(dangling, serde_json::json!([]));
}

#[test]
fn a_narrow_screen_shows_all_values_without_scrolling_sideways() {
    let Some(browser) = Browser::with_window(500, 900) else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", "echo_bytes");
    assert_eq!(browser.run("return document.documentElement.scrollWidth <= innerWidth"), true);
    browser.wait_for("labels", "return getComputedStyle(document.querySelector('td[data-label]'), '::before').content.includes('Calls/s')");
}

#[test]
fn many_functions_are_shown_in_pages_and_searched_by_the_server() {
    let Some(browser) = Browser::start() else { return };
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    let changes = (0..200).fold(Changes::new(), |changes, number| {
        changes.define_function(
            format!("function{number:03}"),
            guest("size_nothing").export("nothing"),
        )
    });
    wpc.apply(changes).unwrap();
    wpc.start_workers(1).unwrap();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#page-range", "1–50 of 200");
    browser.run("document.querySelector('#next').click()");
    browser.wait_for_text("#page-range", "51–100 of 200");
    browser.run("document.querySelector('#search').focus()");
    browser.press("n19");
    browser.wait_for_text("#functions-count", "10 of 200 functions");
    assert_eq!(browser.run("return document.querySelector('#pages').hidden"), true);
    browser.press("x");
    browser.wait_for_text("#functions-empty", "No function matches the search.");
}
