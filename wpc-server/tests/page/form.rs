//! Calling functions through the page.

use crate::browser::{Browser, key};
use crate::served::{Served, usual_pool};

/// Opens the page and the details of a function, with the keyboard only.
fn open(browser: &Browser, served: &Served, function: &str) {
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", function);
    browser.tab_to("the names", "node.classList.contains('name')");
    for _ in 0..20 {
        if browser.run("return document.activeElement.textContent") == function {
            break;
        }
        browser.press(key::DOWN);
    }
    browser.press(key::ENTER);
    browser
        .wait_for("the form", "return document.querySelectorAll('#call-fields .field').length > 0");
}

#[test]
fn a_function_is_called_by_keyboard_only() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    open(&browser, &served, "add");
    browser.wait_for_text("#details-signature", "add(a: i32, b: i32) -> i32");
    browser.wait_for_text("#details-documentation", "Adds two numbers.");
    browser.tab_to("the first argument", "node.labels?.[0]?.textContent.startsWith('a')");
    browser.press("40");
    browser.press(key::TAB);
    browser.press("2");
    browser.press(key::ENTER);
    browser.wait_for_text("#call-output pre", "42");
    assert_eq!(wpc.metrics().calls.succeeded, 1);
    browser.wait_for_text("#details-facts", "1 in total");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn invalid_input_is_reported_at_its_field_and_not_sent() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    open(&browser, &served, "add");
    browser.tab_to("the first argument", "node.labels?.[0]?.textContent.startsWith('a')");
    browser.press("2147483648");
    browser.press(key::ENTER);
    browser.wait_for_text("#call-error", "a: expected a number from -2147483648 to 2147483647");
    assert_eq!(browser.run("return document.activeElement.getAttribute('aria-invalid')"), "true");
    assert_eq!(wpc.metrics().calls.total(), 0);
}

#[test]
fn the_form_follows_the_types() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    open(&browser, &served, "order");
    // A list of structures with an optional field, and a map.
    browser.run("document.querySelector('[aria-label=\"Add to orders\"]').click()");
    browser.press("apple");
    browser.press(key::TAB);
    browser.press("1");
    browser.run("document.querySelector('[aria-label=\"Add to prices\"]').click()");
    browser.press("apple");
    browser.press(key::TAB);
    browser.press("18446744073709551615");
    browser.run("document.querySelector('#call-submit').click()");
    // It exceeds the numbers of JavaScript.
    browser.wait_for_text("#call-output pre", "\"total\": 18446744073709551615");
}

#[test]
fn an_error_is_shown_with_its_code_and_what_to_do() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    open(&browser, &served, "fails");
    browser.tab_to("the argument", "node.labels?.[0]?.textContent.startsWith('number')");
    browser.press("-7");
    browser.press(key::ENTER);
    browser.wait_for_text("#call-output", "-7 is too small");
    browser.wait_for_text("#call-output", "code guest_error");
    browser.wait_for_text("#call-output", "trying again does not help");
}

#[test]
fn items_of_a_stream_are_watched() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    open(&browser, &served, "numbers");
    browser.tab_to("the argument", "node.labels?.[0]?.textContent.startsWith('end')");
    browser.press("1000");
    browser.tab_to("the button", "node.id === 'call-watch'");
    browser.press(key::ENTER);
    browser.wait_for_text("#call-output", "Result");
    browser.wait_for_text("#call-output", "1,000 items");
    assert_eq!(browser.text("#call-items li:last-child"), "999");
    assert_eq!(browser.run("return document.querySelectorAll('#call-items li').length"), 500);
}
