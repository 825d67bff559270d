//! Checks of definitions that race with calls and with each other.

use super::{Pool, in_parallel};
use crate::call::pending::PendingCall;
use crate::definition::limits::Limits;
use crate::id::FunctionHash;
use crate::options::Options;
use crate::registry::Change;
use crate::system::background::{Background, Dropped};
use shuttle::thread;

/// A call that is accepted after a redefinition uses the new definition. An earlier call uses the old one or the new one.
pub fn redefinition() {
    let pool = Pool::new(2, Options::default());
    let old = pool.define("good", 1);
    let (writer, reader) = (pool.share(), pool.share());
    in_parallel(vec![
        Box::new(move || {
            let new = writer.define("good", 2);
            let call = writer.submit::<()>("good").expect("the call is accepted");
            let answer = call.wait_answer().expect("`good` succeeds");
            assert_eq!(answer.metadata.function_hash_sha1, new);
        }),
        Box::new(move || {
            let mut seen = old;
            for _ in 0..3 {
                let call = reader.submit::<()>("good").expect("the function stays defined");
                let found =
                    call.wait_answer().expect("`good` succeeds").metadata.function_hash_sha1;
                assert!(
                    seen == old || seen == found,
                    "no call uses the old definition after the new one"
                );
                seen = found;
            }
        }),
    ]);
    pool.stop();
}

/// A definition that its caller dropped never replaces one that was started after that.
pub fn withdrawn_definition() {
    let pool = Pool::new(1, Options::default());
    let background = Background::new("wpc-model", 1);
    let definer = pool.share();
    let withdrawn = background.run(Dropped::IsWithdrawn, move |interest| {
        let source = Pool::module("good", 7, Limits::default());
        let change = Change::Function { name: "good".to_owned(), source };
        definer.0.pool.registry.apply_one(change, interest).map(drop)
    });
    thread::yield_now();
    drop(withdrawn.expect("the task is started"));
    let new = pool.define("good", 2);
    // The only thread runs this task after the withdrawn one.
    let last = background.run(Dropped::Continues, |_| Ok(())).expect("the task is started");
    shuttle::future::block_on(last).expect("the task succeeds");
    let function = pool.0.pool.registry.function("good").expect("the definition is valid");
    assert_eq!(function.module.hash, new);
    pool.stop();
}

/// A call accepted after a constant was defined sees its value.
pub fn constants() {
    let pool = Pool::new(2, Options::default());
    pool.define("reads", 1);
    pool.define_constant("word", 1);
    let (writer, reader) = (pool.share(), pool.share());
    let read = |pool: &Pool| pool.submit::<u8>("reads").and_then(PendingCall::wait).expect("reads");
    in_parallel(vec![
        Box::new(move || {
            writer.define_constant("word", 2);
            assert_eq!(read(&writer), 2);
        }),
        Box::new(move || {
            let first = read(&reader);
            assert!(read(&reader) >= first);
        }),
    ]);
    pool.stop();
}

/// Concurrent definitions do not overwrite each other.
pub fn writers() {
    let pool = Pool::new(1, Options::default());
    let writer = |name: &'static str| -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            pool.define_constant(name, 1);
            pool.define(name, 1);
        })
    };
    in_parallel(vec![writer("one"), writer("two")]);
    let registry = &pool.0.pool.registry;
    let bindings = registry.bindings();
    assert!(["one", "two"].iter().all(|name| bindings.constants.contains_key(*name)));
    assert!(registry.function("one").is_some() && registry.function("two").is_some());
    pool.stop();
}

/// A thread that has seen one of several changes sees all of them: neither an old function nor an old constant beside a new
/// function.
pub fn together() {
    let pool = Pool::new(2, Options::default());
    let first = pool.define_together(1);
    let (writer, reader) = (pool.share(), pool.share());
    let versions = std::sync::Arc::new(std::sync::Mutex::new(vec![first]));
    let published = std::sync::Arc::clone(&versions);
    in_parallel(vec![
        Box::new(move || {
            for version in [2, 3] {
                let module = Pool::module("good", version.into(), Limits::default());
                published.lock().unwrap().push(FunctionHash::of(&module.bytes));
                writer.define_together(version);
            }
        }),
        Box::new(move || {
            let mut last = 0;
            for _ in 0..3 {
                let good = reader.submit::<()>("good").expect("the function stays defined");
                let hash = good.wait_answer().expect("succeeds").metadata.function_hash_sha1;
                let word = reader.submit::<u8>("reads").and_then(PendingCall::wait).expect("reads");
                let versions = versions.lock().unwrap();
                let good = versions.iter().position(|version| *version == hash).unwrap() + 1;
                assert!(last <= good && good <= usize::from(word), "{last} {good} {word}");
                last = usize::from(word);
            }
        }),
    ]);
    pool.stop();
}
