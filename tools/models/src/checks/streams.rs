//! Checks of streams: items are delivered once and in order, and each side may leave at any moment.

use super::{Pool, in_parallel};
use crate::call::items::{Bounds, Items};
use crate::call::stream::ItemStream;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::options::{CallOptions, Options};
use crate::pool::intake;
use std::sync::Arc;
use std::time::Duration;

impl Pool {
    /// Reads the items of `yields`, of which one may wait.
    fn stream(&self) -> ItemStream<u8, ()> {
        let pool = &self.0.pool;
        let items = Arc::new(Items::new(Bounds { items: 1, bytes: 8 }));
        let function = intake::defined(pool, pool.registry.function("yields"), "yields");
        let function = function.expect("it is defined");
        let pending = intake::stream(pool, function, &(), &CallOptions::new(), &items);
        let pending = pending.expect("the call is accepted");
        ItemStream::new(pending, items, |item| Ok(item[0]))
    }

    fn with_streams() -> Self {
        let pool = Self::new(1, Options::default());
        // A function with a time slice can suspend.
        let limits = Limits::default().time_slice(Duration::from_millis(1));
        pool.define_with("yields", 1, limits);
        pool
    }
}

/// A caller receives every item once and in order, and then the result, although only one item may wait for it.
pub fn items_of_a_stream() {
    let pool = Pool::with_streams();
    let mut stream = pool.stream();
    let items: Result<Vec<_>, _> = (&mut stream).into_iter().collect();
    assert_eq!(items.expect("no item fails"), [1, 2, 3]);
    stream.finish().expect("the function returns");
    pool.stop();
}

/// A caller that drops a stream ends its function, whatever the function does then.
pub fn dropped_stream() {
    let pool = Pool::with_streams();
    let mut stream = pool.stream();
    assert_eq!(stream.next_blocking().expect("there are three").expect("it is an item"), 1);
    drop(stream);
    pool.call("good").expect("the worker is free");
    pool.stop();
}

/// A stop ends a stream after some of its items, or after its result.
pub fn stop_of_a_stream() {
    let pool = Pool::with_streams();
    let mut stream = pool.stream();
    let stops = pool.share();
    in_parallel(vec![
        Box::new(move || stops.0.stop(Duration::from_millis(2))),
        Box::new(move || {
            let mut next = 1;
            for item in &mut stream {
                match item {
                    Ok(item) => assert_eq!(item, next, "in order"),
                    Err(failed) => {
                        assert!(matches!(*failed.error, Error::Stopped { .. }));
                        assert_eq!(failed.delivered, next as u64 - 1);
                    }
                }
                next += 1;
            }
            let finished = stream.finish();
            assert!(finished.is_err() || next == 4);
        }),
    ]);
    pool.stop();
}
