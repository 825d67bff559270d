//! `docs/types.md`: types that an application and its plug-ins share. The plug-ins are built as the page describes; this test is the
//! application.

#[expect(unreachable_pub, reason = "the text of a crate of its own")]
mod comments;

use crate::guides::follow;
use crate::support::root;
use comments::{Comment, CommentId, Verdict};
use std::path::Path;
use std::time::SystemTime;
use wpc_host::{Options, WasmModule, WorkerProcedureCall};

/// Defines the plug-in's functions and calls them with the shared types.
fn moderates(module: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let pool = WorkerProcedureCall::new(Options::default())?;
    pool.define_worker_module(WasmModule::new(std::fs::read(module)?))?;
    pool.start_workers(1)?;
    let moderate = pool.function::<(Comment,), Verdict>("moderate")?;
    let comment = Comment {
        id: CommentId([0; 16]),
        text: "Hello".to_owned(),
        written: SystemTime::now(),
        tags: vec![],
    };
    assert_eq!(moderate.call((comment,))?, Verdict::Accepted);
    let empty = Comment {
        id: CommentId([1; 16]),
        text: String::new(),
        written: SystemTime::UNIX_EPOCH,
        tags: vec!["new".to_owned()],
    };
    let reason = "the comment is empty".to_owned();
    assert_eq!(moderate.call((empty,))?, Verdict::Rejected { reason });
    Ok(())
}

/// The page's code blocks in Rust: the types, the plug-in, the application.
fn blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("```rust,ignore\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

fn without_indentation(text: &str) -> String {
    text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
}

#[test]
fn plug_ins_and_an_application_share_types_as_documented() {
    let page = std::fs::read_to_string(root("docs/types.md")).unwrap();
    let [types, _, application] = blocks(&page)[..] else { panic!("three blocks in Rust") };
    assert_eq!(types, include_str!("shared_types/comments.rs"));
    let own = without_indentation(include_str!("shared_types.rs"));
    assert!(own.contains(&without_indentation(application)), "{application}");
    let folder = follow("types").join("types");
    for plug_in in ["moderation", "audit"] {
        moderates(&folder.join(plug_in).join(format!("{plug_in}.wasm"))).unwrap();
    }
}
