//! Types shared by hosts and guests, and what happens if both have different versions of one. The tables of
//! `docs/types.md` list these tests.

use crate::support::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_types::{Everything, Other, newer, older};
use std::collections::BTreeMap;
use wpc_host::{Error, Schema, WorkerProcedureCall};

fn types(workers: usize) -> WorkerProcedureCall {
    let wpc = pool(workers);
    wpc.define_worker_module(guest("types")).unwrap();
    wpc
}

/// A value as serde serializes it to JSON.
fn json_of(value: &impl Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

#[test]
fn every_type_round_trips_as_postcard_and_as_json() {
    let wpc = types(1);
    let every = Everything::example();
    let typed = wpc.function::<(Everything,), Everything>("everything").unwrap();
    assert_eq!(typed.call((&every,)).unwrap(), every);
    let json = json_of(&every);
    assert_eq!(wpc.call_json("everything", std::slice::from_ref(&json)).unwrap(), json);
    assert_eq!(
        json["written"],
        json!({ "secs_since_epoch": 1_700_000_000, "nanos_since_epoch": 3 })
    );
    assert_eq!(json["elapsed"], json!({ "secs": 1, "nanos": 2 }));
    assert_eq!(json["results"], json!([{ "Ok": 1 }, { "Ok": null }, { "Err": "ä text" }]));
}

#[test]
fn values_that_json_represents_differently_round_trip() {
    let wpc = types(1);
    let other = Other::example();
    let typed = wpc.function::<(Other,), Other>("other").unwrap();
    assert_eq!(typed.call((&other,)).unwrap(), other);
    let localhost = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let json = json!({
        "addresses": [
            { "V4": [127, 0, 0, 1] },
            { "V6": localhost },
            { "V4": [[127, 0, 0, 1], 80] },
            { "V6": [localhost, 443] },
        ],
        "numbers": [[1, "one"]],
        "nested": [{ "Some": null }, { "Some": null }],
        "huge": [i128::MIN.to_string(), u128::MAX.to_string()],
        "color": "ff8000",
    });
    assert_eq!(wpc.call_json("other", std::slice::from_ref(&json)).unwrap(), json);
}

#[test]
fn shared_pointers_are_encoded_as_their_content() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
    struct Raw {
        r#fn: u8,
    }
    let wpc = types(1);
    assert_eq!(
        signature(&wpc, "shared"),
        "(text: String, bytes: Vec<u8>, boxed: Option<Raw>) -> (String, Vec<u8>, Option<Raw>)"
    );
    let answer = wpc.call_json("shared", &[json!("a"), json!([1]), json!({ "fn": 2 })]).unwrap();
    assert_eq!(answer, json!(["a", [1], { "fn": 2 }]));
    type Result = (String, Vec<u8>, Option<Raw>);
    let typed = wpc.function::<(String, Vec<u8>, Option<Raw>), Result>("shared").unwrap();
    let answer = typed.call(("a", vec![1], None)).unwrap();
    assert_eq!(answer, ("a".to_owned(), vec![1], None));
}

/// The first mismatch between the types of a handle and those of the module.
fn difference<T: Schema + for<'de> Deserialize<'de> + 'static>(
    wpc: &WorkerProcedureCall,
    name: &str,
) -> String {
    match wpc.function::<(T,), T>(name) {
        Err(Error::SignatureMismatch { part, expected, found, .. }) => {
            format!("{part}: expected {expected}, found {found}")
        }
        other => panic!("the types should not match: {other:?}"),
    }
}

#[derive(Serialize, Deserialize, Schema)]
enum Swapped {
    Accepted,
    Open,
}

#[test]
fn a_typed_handle_names_the_first_mismatch() {
    /// A version of the comment with one difference from the old one.
    macro_rules! versions {
        ($($name:ident { $($field:ident: $of:ty),* })*) => {
            $(
                mod $name {
                    use super::*;
                    #[derive(Serialize, Deserialize, Schema)]
                    pub(super) struct Comment { $($field: $of),* }
                }
            )*
        };
    }
    versions! {
        removed { text: String }
        renamed { body: String, verdict: older::Verdict }
        moved { verdict: older::Verdict, text: String }
        grown { text: String, verdict: newer::Verdict }
        swapped { text: String, verdict: Swapped }
        widened { text: Vec<u16>, verdict: older::Verdict }
    }
    let wpc = types(1);
    let old = "old_comment";
    for (found, expected) in [
        (
            difference::<newer::Comment>(&wpc, old),
            "parameter 1, field `verdict` of `Comment`, variant `Rejected` of `Verdict`: expected no such variant, found a variant",
        ),
        (
            difference::<older::Comment>(&wpc, "new_comment"),
            "parameter 1, field `verdict` of `Comment`, variant `Rejected` of `Verdict`: expected a variant, found no such variant",
        ),
        (
            difference::<removed::Comment>(&wpc, old),
            "parameter 1, field `verdict` of `Comment`: expected `Verdict`, found no such field",
        ),
        (
            difference::<renamed::Comment>(&wpc, old),
            "parameter 1, field 1 of `Comment`: expected `text`, found `body`",
        ),
        (
            difference::<moved::Comment>(&wpc, old),
            "parameter 1, field 1 of `Comment`: expected `text`, found `verdict`",
        ),
        (
            difference::<swapped::Comment>(&wpc, old),
            "parameter 1, field `verdict` of `Comment`, variant 1 of `Verdict`: expected `Open`, found `Accepted`",
        ),
        (
            difference::<widened::Comment>(&wpc, old),
            "parameter 1, field `text` of `Comment`: expected `String`, found `Vec<u16>`",
        ),
        (
            difference::<grown::Comment>(&wpc, old),
            "parameter 1, field `verdict` of `Comment`, variant `Rejected` of `Verdict`: expected no such variant, found a variant",
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn names_of_types_and_newtypes_do_not_matter_to_a_typed_handle() {
    #[derive(Serialize, Deserialize, Schema)]
    struct Text(String);
    #[derive(Serialize, Deserialize, Schema)]
    struct Remark {
        text: Text,
        verdict: older::Verdict,
    }
    let wpc = types(1);
    let typed = wpc.function::<(Remark,), older::Comment>("old_comment").unwrap();
    let remark = Remark { text: Text("a".to_owned()), verdict: older::Verdict::Open };
    assert_eq!(typed.call((remark,)).unwrap().text, "a");
}

#[test]
fn a_handle_rejects_calls_after_its_function_was_defined_with_other_types() {
    let module = |ty: &str| {
        let body = format!(
            "(func (export \"twice\") (param {ty}) (result {ty}) ({ty}.mul (local.get 0) ({ty}.const 2)))"
        );
        wat(&format!("(module {body})"))
    };
    let wpc = pool(1);
    wpc.define_worker_function("twice", module("i32")).unwrap();
    let typed = wpc.function::<(i32,), i32>("twice").unwrap();
    let mut here = wpc.local_worker();
    assert_eq!((typed.call((4,)).unwrap(), here.call_function(&typed, (4,)).unwrap()), (8, 8));

    // postcard would decode the number as the other type as long as it fits.
    wpc.define_worker_function("twice", module("i64")).unwrap();
    let differs = |error: Error| {
        let Error::SignatureMismatch { part, expected, found, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(
            (part.as_str(), expected.as_str(), found.as_str()),
            ("parameter 1", "`i64`", "`i32`")
        );
    };
    differs(typed.call((4,)).unwrap_err());
    differs(typed.clone().submit((4,)).map(drop).unwrap_err());
    differs(here.call_function(&typed, (4,)).unwrap_err());

    wpc.define_worker_function("twice", module("i32")).unwrap();
    assert_eq!((typed.call((4,)).unwrap(), here.call_function(&typed, (4,)).unwrap()), (8, 8));
    // The same after the function was undefined and defined again.
    wpc.undefine_worker_function("twice");
    wpc.define_worker_function("twice", module("i64")).unwrap();
    differs(typed.call((4,)).unwrap_err());
    differs(here.call_function(&typed, (4,)).unwrap_err());
}

fn reason(wpc: &WorkerProcedureCall, name: &str, comment: Value) -> String {
    match wpc.call_json(name, &[comment]).unwrap_err() {
        Error::BadArguments { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn json_of_a_newer_host_is_accepted_where_nothing_is_lost() {
    let wpc = types(1);
    let comment = |more: Value| {
        let mut comment = json!({ "text": "a", "verdict": "Open" });
        let more = more.as_object().unwrap().clone();
        comment.as_object_mut().unwrap().extend(more);
        comment
    };
    let old = comment(json!({}));
    for accepted in [json!({}), json!({ "author": null }), json!({ "verdict": "Open" })] {
        assert_eq!(wpc.call_json("old_comment", &[comment(accepted)]).unwrap(), old);
    }
    for (more, expected) in [
        (
            json!({ "author": "b" }),
            "unknown field `author` in `comment`: `Comment` has `text` and `verdict`",
        ),
        (
            json!({ "likes": 0 }),
            "unknown field `likes` in `comment`: `Comment` has `text` and `verdict`",
        ),
        (
            json!({ "verdict": { "Rejected": { "reason": "b" } } }),
            "unknown variant `Rejected` in `comment.verdict`: `Verdict` has `Open` and `Accepted`",
        ),
        (
            json!({ "verdict": "Rejected" }),
            "unknown variant `Rejected` in `comment.verdict`: `Verdict` has `Open` and `Accepted`",
        ),
        (json!({ "text": 1 }), "`comment.text`: expected String, found 1"),
    ] {
        assert_eq!(reason(&wpc, "old_comment", comment(more)), expected);
    }
}

#[test]
fn json_of_an_older_host_is_filled_with_what_may_be_missing() {
    let wpc = types(1);
    assert_eq!(signature(&wpc, "new_comment"), "(comment: Comment) -> Comment");
    let answer = wpc.call_json("new_comment", &[json!({ "text": "a", "verdict": "Open" })]);
    assert_eq!(
        answer.unwrap(),
        json!({
            "text": "a", "verdict": "Open",
            "author": null, "likes": 0, "score": 0.0, "tags": [], "grade": "\0",
        })
    );
    // Fields are found by name, in any order.
    let moved = json!({ "likes": 3, "verdict": "Accepted", "text": "a" });
    assert_eq!(wpc.call_json("new_comment", &[moved]).unwrap()["likes"], 3);
    let rejected = json!({ "text": "a", "verdict": { "Rejected": { "reason": "b" } } });
    let answer = wpc.call_json("new_comment", std::slice::from_ref(&rejected)).unwrap();
    assert_eq!(answer["verdict"], rejected["verdict"]);

    assert_eq!(
        reason(&wpc, "new_comment", json!({ "verdict": "Open" })),
        "missing field `text` in `comment`"
    );
    assert_eq!(
        reason(&wpc, "new_comment", json!({ "body": "a", "verdict": "Open" })),
        "unknown field `body` in `comment`: `Comment` has `text`, `verdict`, `author`, `likes`, `score`, `tags` and `grade`"
    );
    // `null` is a value, and not a missing field.
    let null = json!({ "text": "a", "verdict": "Open", "likes": null });
    assert_eq!(reason(&wpc, "new_comment", null), "`comment.likes`: expected u32, found null");
}

#[test]
fn a_number_of_another_width_is_checked_by_its_value_in_json() {
    let wpc = types(1);
    let json = json!({ "text": "a", "verdict": "Open", "likes": u32::MAX });
    assert_eq!(wpc.call_json("new_comment", &[json]).unwrap()["likes"], u32::MAX);
    let json = json!({ "text": "a", "verdict": "Open", "likes": u64::MAX });
    assert_eq!(
        reason(&wpc, "new_comment", json),
        "`comment.likes`: expected u32, found 18446744073709551615"
    );
}

#[test]
fn arguments_without_types_are_counted_in_singular_and_plural() {
    let wpc = types(1);
    let old = || older::Comment { text: "a".to_owned(), verdict: older::Verdict::Open };
    for (error, expected) in [
        (
            call_encoded(&wpc, "old_comment", &(old(), None::<u8>)).unwrap_err(),
            "1 trailing byte after",
        ),
        (
            call_encoded(&wpc, "old_comment", &(old(), 1_u8, 2_u8)).unwrap_err(),
            "2 trailing bytes after",
        ),
    ] {
        let Error::BadArguments { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains(expected), "{reason}");
    }
    let map: BTreeMap<&str, u8> = BTreeMap::new();
    let error = call_encoded(&wpc, "old_comment", &(map,)).unwrap_err();
    assert_eq!(error.code().as_str(), "bad_arguments");
}
