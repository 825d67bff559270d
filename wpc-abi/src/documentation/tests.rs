use super::*;
use crate::Schema;
use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use proptest::prelude::*;

/// A line of an order.
#[derive(Schema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Item {
    /// How many.
    ///
    /// At least one.
    count: u32,
    price: u64,
}

/// Why an order is rejected.
#[derive(Schema)]
#[expect(dead_code, reason = "only its schema is used")]
enum Why {
    /// There are no items.
    Empty,
    Unknown {
        /// The first unknown item.
        item: Item,
    },
}

fn read(bytes: &[u8]) -> Documentation {
    let mut documentation = Documentation::default();
    documentation.read(bytes);
    documentation
}

fn is_empty(documentation: &Documentation) -> bool {
    documentation.functions.is_empty() && documentation.types.is_empty()
}

#[test]
fn comments_encoded_in_constants_read_back() {
    const COMMENTS: FunctionComments<'static> = FunctionComments {
        function: "order",
        lines: &[" Orders some items.", "", "   Indented.", ""],
        types: &[<Vec<Item>>::COMMENTS, <Result<BTreeSet<u8>, Why>>::COMMENTS],
    };
    const BYTES: [u8; COMMENTS.encoded_len()] = COMMENTS.encode();

    let documentation = read(&BYTES);
    assert_eq!(documentation.functions["order"], "Orders some items.\n\n  Indented.");
    assert_eq!(documentation.types.keys().collect::<Vec<_>>(), ["Item", "Why"]);
    let item = &documentation.types["Item"];
    assert_eq!(item.text.as_deref(), Some("A line of an order."));
    assert_eq!(
        item.items.iter().collect::<Vec<_>>(),
        [(&"count".to_owned(), &"How many.\n\nAt least one.".to_owned())]
    );
    let why = &documentation.types["Why"];
    assert_eq!(why.text.as_deref(), Some("Why an order is rejected."));
    assert_eq!(why.items["Empty"], "There are no items.");
    assert_eq!(why.items["Unknown.item"], "The first unknown item.");
}

#[test]
fn a_function_without_comments_takes_no_bytes() {
    let comments =
        FunctionComments { function: "f", lines: &[""], types: &[<(u8, [u16; 2])>::COMMENTS] };
    assert_eq!(comments.encoded_len(), 0);
}

#[test]
fn both_encoders_write_the_same_bytes() {
    const COMMENTS: FunctionComments<'static> =
        FunctionComments { function: "f", lines: &[" Text."], types: &[Why::COMMENTS] };
    const BYTES: [u8; COMMENTS.encoded_len()] = COMMENTS.encode();
    let records = [
        function_record("f", "Text."),
        type_record("Why", "", "Why an order is rejected."),
        type_record("Why", "Empty", "There are no items."),
        type_record("Why", "Unknown.item", "The first unknown item."),
        type_record("Item", "", "A line of an order."),
        type_record("Item", "count", "How many.\n\nAt least one."),
    ];
    assert_eq!(BYTES[..], records.concat());
}

#[test]
fn lines_beyond_the_maximum_of_a_text_are_left_out() {
    let half = "ä".repeat(MAX_TEXT / 4);
    let lines = ["First.", &half, &half, "Last."];
    let comments = FunctionComments { function: "f", lines: &lines, types: &[] };
    // Kind, length of the body, name, length of the text, text.
    assert_eq!(comments.encoded_len(), 1 + 2 + 2 + 2 + "First.\n".len() + half.len());
    let long = "x".repeat(MAX_TEXT + 1);
    let comments = FunctionComments { function: "f", lines: &[&long], types: &[] };
    assert_eq!(comments.encoded_len(), 0);
}

#[test]
fn the_first_text_of_an_item_counts() {
    let texts = ["One.", "Two."];
    let functions = texts.map(|text| function_record("f", text));
    let types = texts.map(|text| type_record("T", "", text));
    let fields = texts.map(|text| type_record("T", "x", text));
    let documentation = read(&[functions, types, fields].concat().concat());
    assert_eq!(documentation.functions["f"], "One.");
    assert_eq!(documentation.types["T"].text.as_deref(), Some("One."));
    assert_eq!(documentation.types["T"].items["x"], "One.");
}

#[test]
fn unknown_kinds_and_additional_bytes_of_a_record_are_skipped() {
    let mut bytes = Vec::from(*b"\x63\x02\xff\xff");
    bytes.extend(b"\x01\x08\x01f\x04Text\xff");
    assert_eq!(read(&bytes).functions["f"], "Text");
}

#[test]
fn a_malformed_section_is_ignored_as_a_whole_with_all_others() {
    let valid = function_record("f", "Text.");
    for end in 1..valid.len() {
        let mut documentation = read(&valid);
        documentation.read(&valid[..end]);
        assert!(is_empty(&documentation), "cut at {end}");
        documentation.read(&valid);
        assert!(is_empty(&documentation), "cut at {end}");
    }
    assert!(is_empty(&read(b"\x01\x05\x01f\x02\xff\xfe")), "not UTF-8");
}

#[test]
fn a_section_beyond_a_limit_is_ignored() {
    let text = |len| "x".repeat(len);
    assert!(!is_empty(&read(&function_record("f", &text(MAX_TEXT)))));
    assert!(is_empty(&read(&function_record("f", &text(MAX_TEXT + 1)))));

    let items = |count| {
        let records = (0..count).map(|at| type_record("T", &format!("field{at}"), "x"));
        records.collect::<Vec<_>>().concat()
    };
    assert!(!is_empty(&read(&items(MAX_ITEMS))));
    assert!(is_empty(&read(&items(MAX_ITEMS + 1))));
    let (mut twice, more) = (read(&items(MAX_ITEMS)), function_record("f", "x"));
    twice.read(&items(MAX_ITEMS));
    assert!(!is_empty(&twice), "no new items");
    twice.read(&more);
    assert!(is_empty(&twice));

    let same = function_record("f", &text(MAX_TEXT)).repeat(MAX_SECTION / MAX_TEXT - 1);
    let mut documentation = read(&same);
    assert!(!is_empty(&documentation));
    documentation.read(&same);
    assert!(is_empty(&documentation), "both sections together are too large");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = read(&bytes);
    }
}
