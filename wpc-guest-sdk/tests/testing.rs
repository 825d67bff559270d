//! The test host `wpc::testing::Host`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use wpc::testing::Host;
use wpc::{GuestError, Level};

wpc::import! {
    mod shop {
        fn price(item: &str, count: u32) -> u64;
        fn list() -> Vec<String>;
        fn close();
    }
    mod host {
        fn lookup(key: &str) -> Option<String>;
    }
}

wpc::host! {
    fn lookup(key: &str) -> Option<String>;
}

#[wpc::function]
fn bill(item: &str, count: u32) -> Result<String, GuestError> {
    let currency = wpc::constant!("CURRENCY": String)?;
    wpc::debug!("{count} of {item}");
    Ok(format!("{} {currency}", shop::price(item, count)?))
}

#[test]
fn the_test_host_provides_constants_dependencies_and_host_functions() {
    let host = Host::new()
        .constant("CURRENCY", "crowns")
        .dependency("shop", "price", |(_, count): (String, u64)| Ok(count * 3))
        .host_function("lookup", |(key,): (String,)| Ok(Some(format!("the host's {key}"))))
        .dependency("host", "lookup", |(_,): (String,)| Ok(None::<String>))
        .install();
    assert_eq!(bill("tea", 2).unwrap(), "6 crowns");
    assert_eq!(host.logs(), [(Level::Debug, "2 of tea".to_owned())]);
    assert_eq!(lookup("tea").unwrap().as_deref(), Some("the host's tea"));
    assert_eq!(host::lookup("tea").unwrap(), None, "an alias may be named `host`");
}

#[test]
fn without_a_host_the_error_names_what_is_missing_and_the_test_host() {
    let error = bill("tea", 2).unwrap_err();
    assert_eq!(error.name, "OutsideSandbox");
    assert!(error.message.starts_with("constant `CURRENCY` is only available"), "{error}");
    assert!(error.message.contains("`wpc::testing::Host`"), "{error}");
    let error = shop::close().unwrap_err();
    assert!(error.message.starts_with("function `shop::close` is only available"), "{error}");
    assert!(lookup("tea").unwrap_err().message.starts_with("function `host::lookup`"));
}

#[test]
fn errors_equal_those_of_a_sandbox() {
    let _host = Host::new()
        .constant("CURRENCY", 3.5_f32)
        .dependency("shop", "list", |(): ()| Err::<(), _>(GuestError::new("Closed", "on Sundays")))
        .dependency("shop", "close", |(_,): (u8,)| Ok(()))
        .dependency("shop", "price", |(_,): (String,)| Ok(3_u64))
        .host_function("lookup", |(_,): (String,)| Ok(3_u8))
        .install();
    assert_eq!(shop::list().unwrap_err(), GuestError::new("Closed", "on Sundays"));
    for (error, name, message) in [
        (
            bill("tea", 2).unwrap_err(),
            "DecodeError",
            "failed to decode constant `CURRENCY` as `alloc::string::String`: 3 trailing bytes; the test defines it as `f32`",
        ),
        (
            wpc::constant::<u8>("OTHER").unwrap_err(),
            "ConstantNotDefined",
            "constant `OTHER` is not defined",
        ),
        (
            shop::close().unwrap_err(),
            "BadArguments",
            "function `shop::close`: the bytes end too early",
        ),
        (
            shop::price("tea", 2).unwrap_err(),
            "BadArguments",
            "function `shop::price`: 1 trailing byte after the last argument",
        ),
        (
            lookup("tea").unwrap_err(),
            "DecodeError",
            "function `host::lookup`: an option is neither 0 nor 1",
        ),
    ] {
        assert_eq!((error.name.as_str(), error.message.as_str()), (name, message));
    }
}

wpc::functions! {
    fn stock(item: &str) -> u32;
}

#[test]
fn fakes_of_called_functions_return_errors_with_their_details() {
    let error = stock("tea").unwrap_err();
    assert!(error.message.starts_with("function `stock` is only available"), "{error}");
    let _host = Host::new()
        .function("stock", |(item,): (String,)| match item.as_str() {
            "tea" => Ok(3_u32),
            _ => {
                let mut error = GuestError::new("Why", "unknown");
                error.variant = "Unknown".to_owned();
                error.payload = Some(vec![1; 600]);
                Err(error)
            }
        })
        .install();
    assert_eq!(stock("tea").unwrap(), 3);
    assert_eq!(wpc::call::<u32>("stock", &("tea",)).unwrap(), 3);
    let error = stock("ham").unwrap_err();
    assert_eq!((error.variant.as_str(), error.payload.unwrap().len()), ("Unknown", 600));
    let error = wpc::call::<u32>("stock", &(1_u8,)).unwrap_err();
    assert_eq!(error.name, "BadArguments");
    let error = wpc::call::<u32>("price", &()).unwrap_err();
    assert_eq!(
        error.message,
        "the test host has no function `price`; add `.function(\"price\", …)` to it"
    );
}

#[test]
fn a_constant_of_another_encoding_is_reported_with_both_types() {
    let _host = Host::new().constant("ITEMS", ["tea"]).install();
    let error = wpc::constant!("ITEMS": Vec<String>).unwrap_err();
    assert_eq!(
        error.message,
        "failed to decode constant `ITEMS` as `alloc::vec::Vec<alloc::string::String>`: \
         the bytes end too early; the test defines it as `[&str; 1]`"
    );
}

#[test]
fn answers_larger_than_the_first_buffer_arrive() {
    let long = "x".repeat(100_000);
    let items = vec![long.clone(); 3];
    let expected = items.clone();
    let _host = Host::new()
        .constant("LONG", &long)
        .dependency("shop", "list", move |(): ()| Ok(items.clone()))
        .install();
    assert_eq!(wpc::constant::<String>("LONG").unwrap(), long);
    assert_eq!(shop::list().unwrap(), expected);
}

#[test]
fn the_last_installed_host_serves_until_it_is_dropped() {
    let limit = || wpc::constant::<u8>("LIMIT");
    let first = Host::new().constant("LIMIT", 1_u8).constant("OTHER", 1_u8).install();
    let second = Host::new().constant("LIMIT", 2_u8).install();
    wpc::info!("two");
    assert_eq!(limit().unwrap(), 2);
    assert_eq!(wpc::constant::<u8>("OTHER").unwrap_err().name, "ConstantNotDefined");
    let third = Host::new().constant("LIMIT", 3_u8).install();
    drop(second);
    assert_eq!(limit().unwrap(), 3);
    drop(third);
    assert_eq!(limit().unwrap(), 1);
    assert_eq!(first.logs(), []);
    drop(first);
    assert_eq!(limit().unwrap_err().name, "OutsideSandbox");
}

#[test]
fn a_host_is_installed_for_one_thread() {
    let _host = Host::new().constant("LIMIT", 1_u8).install();
    std::thread::scope(|scope| {
        let elsewhere = scope.spawn(|| wpc::constant::<u8>("LIMIT").unwrap_err().name);
        assert_eq!(elsewhere.join().unwrap(), "OutsideSandbox");
    });
}

#[test]
fn a_fake_may_call_the_host_and_keep_state() {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let host = Host::new()
        .constant("CURRENCY", "crowns")
        .dependency("shop", "close", |(): ()| {
            wpc::info!("closed");
            Ok(())
        })
        .dependency("shop", "price", move |(item, count): (String, u32)| {
            counted.set(counted.get() + 1);
            if count == 0 {
                return Ok(0);
            }
            shop::close()?;
            shop::price(&item, count - 1)
        })
        .install();
    assert_eq!(bill("tea", 3).unwrap(), "0 crowns");
    assert_eq!((calls.get(), host.logs().len()), (4, 4));
}

#[test]
fn the_test_chooses_randomness_and_clocks() {
    let host = Host::new().random_seed(7).clock(Duration::from_secs(100)).install();
    let first: [u8; 32] = wpc::random();
    assert_ne!(first, wpc::random());
    {
        let _same = Host::new().random_seed(7).install();
        assert_eq!(wpc::random(), first);
    }
    host.advance_clock(Duration::from_millis(1));
    assert_eq!(wpc::wall_clock(), Duration::from_millis(100_001));
    assert_eq!(wpc::monotonic_clock(), Duration::from_millis(1));
}

fn panic_of(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(work).expect_err("the work panics");
    panic.downcast_ref::<String>().expect("the panic has a message").clone()
}

#[test]
fn a_missing_grant_panics_with_what_to_add() {
    let panicked = panic_of(|| _ = wpc::random::<4>());
    assert!(panicked.contains("`wpc::testing::Host::new().random_seed(…)`"), "{panicked}");
    let _host = Host::new().install();
    for (work, add) in [
        ((|| _ = wpc::random::<4>()) as fn(), "add `.random_seed(…)`"),
        (|| _ = wpc::wall_clock(), "add `.clock(…)`"),
        (|| drop(shop::list()), "add `.dependency(\"shop\", \"list\", …)`"),
        (|| drop(lookup("tea")), "add `.host_function(\"lookup\", …)`"),
        (|| drop(Host::new().constant("a b", 1)), "`a b` is not a valid name for a constant"),
        (
            || drop(Host::new().dependency("", "f", |(): ()| Ok(()))),
            "`` is not a valid name for a dependency",
        ),
    ] {
        let panicked = panic_of(work);
        assert!(panicked.contains(add), "{panicked}");
    }
}

#[derive(Debug, wpc::Error, wpc::Schema, serde::Serialize, serde::Deserialize)]
enum Why {
    Empty,
    TooLong { limit: u32 },
    Large(Vec<u8>),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("why")
    }
}

#[derive(Debug, wpc::Error)]
struct NotEncodable(std::num::ParseIntError);

impl std::fmt::Display for NotEncodable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a number")
    }
}

impl std::error::Error for NotEncodable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_converts_into_the_guest_error_that_a_caller_sees() {
    let too_long = GuestError::from(Why::TooLong { limit: 300 });
    assert_eq!((too_long.name.as_str(), too_long.variant.as_str()), ("Why", "TooLong"));
    assert_eq!(too_long.payload.as_deref(), Some(&[1, 0xac, 2][..]));
    assert!(too_long.stack.starts_with("in ") && too_long.stack.contains("testing.rs"));
    assert_eq!(GuestError::from(Why::Empty).to_string(), "Why::Empty: why");
    let large = GuestError::from(Why::Large(vec![0; 1 << 16]));
    assert_eq!((large.variant.as_str(), large.payload), ("Large", None));

    fn parse(text: &str) -> Result<i32, GuestError> {
        Ok(text.parse().map_err(NotEncodable)?)
    }
    let error = parse("x").unwrap_err();
    assert_eq!(
        (error.name.as_str(), error.variant.as_str(), &error.payload),
        ("NotEncodable", "", &None)
    );
    assert!(error.stack.contains("caused by: invalid digit"), "{}", error.stack);
}

#[test]
fn an_importing_guest_gets_an_error_without_its_payload() {
    let _host =
        Host::new().dependency("shop", "list", |(): ()| Err::<(), _>(Why::Empty.into())).install();
    let error = shop::list().unwrap_err();
    assert_eq!((error.name.as_str(), error.message.as_str()), ("Why", "why"));
    assert_eq!((error.variant.as_str(), error.payload), ("", None));
}
