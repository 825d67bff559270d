//! What must hold in whichever order threads take their steps. Each check is run many times, each time
//! with another order; a thread that waits for what never comes is a deadlock, which fails it too.

use crate::call::pending::PendingCall;
use crate::call::{Call, Interrupt};
use crate::definition::WasmModule;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::id::{CallId, FunctionHash, Generation};
use crate::options::{CallOptions, Options};
use crate::pool::intake;
use crate::pool::lifecycle::Lifecycle;
use crate::sandbox::{LIVE, RELEASED};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::time;
use crate::system::background::{Background, Dropped, Interest};
use crate::system::buffers::LARGE;
use crate::system::epoch_ticker::EpochTicker;
use crate::worker::job::Job;
use crate::worker::queue::{Queue, Taken};
use serde::de::DeserializeOwned;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// A pool whose workers are up.
struct Pool(Arc<Lifecycle>);

impl Pool {
    fn new(workers: usize, options: Options) -> Self {
        LIVE.set(0);
        RELEASED.set(false);
        let options = Options {
            max_live_instances: 8,
            call_timeout: Duration::from_secs(3600),
            restart_jitter_seed: Some(1),
            restart_base_delay: Duration::from_nanos(1),
            restart_max_delay: Duration::from_nanos(1),
            restart_jitter: Duration::ZERO,
            ..options
        };
        let lifecycle = Lifecycle::new(options).unwrap();
        let pool = Self(Arc::new(lifecycle));
        pool.define("good", 1);
        pool.0.start(workers).expect("it starts");
        pool
    }

    fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Defines the function of this name by a module that is another with each `version`.
    fn define(&self, name: &str, version: u32) -> FunctionHash {
        self.define_with(name, version, Limits::default())
    }

    /// Like [`define`](Self::define), with a time limit of one millisecond.
    fn define_hasty(&self, name: &str) {
        let time = Some(Duration::from_millis(1));
        self.define_with(name, 1, Limits { time, ..Limits::default() });
    }

    fn define_with(&self, name: &str, version: u32, limits: Limits) -> FunctionHash {
        let text = format!(
            r#"(module (func (export "{name}")) (func (export "version") (result i32) i32.const {version}))"#
        );
        let bytes = wat::parse_str(text).expect("it is a module");
        let function = self.0.pool.registry.define_function(
            name,
            &WasmModule::new(bytes).limits(limits),
            &Interest::default(),
        );
        self.0.pool.nudge_workers();
        function.expect("it is defined").module.hash
    }

    fn submit<R: DeserializeOwned>(&self, name: &str) -> Result<PendingCall<R>, Error> {
        self.submit_with(name, &CallOptions::new())
    }

    fn submit_with<R: DeserializeOwned>(
        &self,
        name: &str,
        options: &CallOptions,
    ) -> Result<PendingCall<R>, Error> {
        let pool = &self.0.pool;
        intake::submit(pool, pool.registry.function(name), name, &(), options)
    }

    fn call(&self, name: &str) -> Result<(), Error> {
        self.submit::<()>(name)?.wait()
    }

    /// Stops, and sees that nothing is left.
    fn stop(self) {
        self.0.stop(Duration::from_millis(5));
        let pool = &self.0.pool;
        assert_eq!(pool.workers.load().len(), 0);
        assert!(matches!(self.call("good"), Err(Error::NotRunning)));
        assert_eq!(LIVE.get(), 0, "every sandbox is gone");
    }
}

fn in_parallel(tasks: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = tasks.into_iter().map(thread::spawn).collect();
    for thread in threads {
        thread.join().expect("it did not panic");
    }
}

/// Whatever is pushed is taken once, or comes back; and the worker always wakes up for it.
pub fn queue() {
    let queue = Arc::new(Queue::new());
    let came_back = Arc::new(AtomicUsize::new(0));
    let worker = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || {
            let mut taken = 0;
            loop {
                match queue.take(|| {}, || {}) {
                    Taken::Item(()) => taken += 1,
                    Taken::Nudge => {}
                    Taken::Closed => return taken,
                }
            }
        })
    };
    let pusher = || -> Box<dyn FnOnce() + Send> {
        let (queue, came_back) = (Arc::clone(&queue), Arc::clone(&came_back));
        Box::new(move || {
            for _ in 0..2 {
                if queue.push(()).is_err() {
                    came_back.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    };
    let (nudged, closed) = (Arc::clone(&queue), Arc::clone(&queue));
    in_parallel(vec![
        pusher(),
        pusher(),
        Box::new(move || nudged.nudge()),
        Box::new(move || closed.close()),
    ]);
    let taken: usize = worker.join().expect("it did not panic");
    assert_eq!(taken + came_back.load(Ordering::SeqCst), 4);
}

/// A worker that is given up loses nothing: what it did not take can be taken by whoever closed.
pub fn queue_of_a_worker_given_up() {
    let queue = Arc::new(Queue::new());
    let worker = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || usize::from(matches!(queue.take(|| {}, || {}), Taken::Item(()))))
    };
    let pusher = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || (0..3).filter(|_| queue.push(()).is_err()).count())
    };
    queue.close();
    let came_back = pusher.join().expect("it did not panic");
    let rest = std::iter::from_fn(|| queue.pop()).count();
    assert_eq!(worker.join().expect("it did not panic") + came_back + rest, 3);
}

/// However many want to answer a call, one does, and who waits for it learns of it.
pub fn call() {
    let call = Arc::new(Call::new(
        CallId(1),
        "f".into(),
        Generation(1),
        time::now(),
        Duration::from_secs(60),
    ));
    let answers = Arc::new(AtomicUsize::new(0));
    let count = |answers: &AtomicUsize| {
        answers.fetch_add(1, Ordering::SeqCst);
    };
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for racer in 0..4 {
        let (call, answers) = (Arc::clone(&call), Arc::clone(&answers));
        tasks.push(Box::new(move || match racer {
            0 => {
                if call.begin() {
                    call.answer_with(|ran| {
                        count(&answers);
                        Err(call.error_of(Interrupt::Deadline, ran))
                    });
                }
            }
            1 => call.answer_with(|ran| {
                count(&answers);
                Err(call.error_of(Interrupt::Stopped, ran))
            }),
            2 => call.cancel(),
            _ => {
                let first = call.wait().as_ref().expect_err("nobody gives a value").code();
                assert_eq!(call.wait().as_ref().expect_err("nobody does").code(), first);
            }
        }));
    }
    in_parallel(tasks);
    assert!(call.is_answered());
    let is_cancelled = matches!(call.outcome(), Some(Err(Error::Cancelled { .. })));
    assert_eq!(answers.load(Ordering::SeqCst) + usize::from(is_cancelled), 1);
}

/// Calls from several threads all end well, and stopping waits for them.
pub fn pool() {
    let pool = Pool::new(2, Options::default());
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            for _ in 0..2 {
                pool.call("good").expect("it is good");
            }
        })
    };
    in_parallel(vec![caller(), caller(), caller()]);
    pool.stop();
}

/// A call that races the stop ends: with its value, or refused, or stopped.
pub fn pool_that_stops() {
    let pool = Pool::new(2, Options::default());
    let stopped = pool.share();
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || match pool.call("good") {
            Ok(()) | Err(Error::NotRunning | Error::Stopped { ran: false, .. }) => {}
            Err(other) => panic!("{other}"),
        })
    };
    let also_stopped = pool.share();
    in_parallel(vec![
        caller(),
        caller(),
        Box::new(move || stopped.0.stop(Duration::from_secs(60))),
        Box::new(move || also_stopped.0.stop(Duration::from_secs(60))),
    ]);
    pool.stop();
}

/// Stopping interrupts what does not end by itself.
pub fn pool_that_stops_while_a_guest_loops() {
    let pool = Pool::new(1, Options::default());
    pool.define("loops", 1);
    let loops = pool.submit::<()>("loops").expect("it is accepted");
    let behind = pool.submit::<()>("good").expect("it is accepted");
    pool.0.stop(Duration::from_millis(2));
    assert!(matches!(loops.wait(), Err(Error::Stopped { .. })));
    assert!(matches!(behind.wait(), Ok(()) | Err(Error::Stopped { ran: false, .. })));
    pool.stop();
}

/// A stop sees a call on its caller's own thread, or that call sees the stop.
pub fn local_worker_and_a_stop() {
    let pool = Pool::new(1, Options::default());
    pool.define("loops", 1);
    let (caller, stopper) = (pool.share(), pool.share());
    in_parallel(vec![
        Box::new(move || {
            let pool = &caller.0.pool;
            let function = pool.registry.function("loops").expect("it is defined");
            let generation = function.definition.as_ref().expect("it is whole").generation;
            let (name, limit) = (Arc::clone(&function.name), Duration::from_secs(3600));
            let call = Arc::new(Call::unhurried(CallId(1), name, generation, limit));
            let mut job = Job::new(call, function, Vec::new());
            job.is_disowned = true;
            let (mut local, mut value) = (pool.local(), None);
            let ran = local.run(&mut job, [], &pool.is_open, &mut value, |_| (), |()| None);
            let error = ran.expect("nothing failed before").expect_err("it has no end of its own");
            assert!(matches!(*error, Error::NotRunning | Error::Stopped { .. }), "{error}");
            pool.forget_local(local.worker());
        }),
        Box::new(move || stopper.0.stop(Duration::from_millis(2))),
    ]);
    pool.stop();
}

/// A cancel ends its call whether it waits, runs or is over, and no other.
pub fn cancel() {
    let pool = Pool::new(1, Options::default());
    pool.define("loops", 1);
    let loops = pool.submit::<()>("loops").expect("it is accepted");
    let waits = pool.submit::<()>("good").expect("it is accepted");
    let (first, second) = (loops.cancel_handle(), waits.cancel_handle());
    in_parallel(vec![Box::new(move || first.cancel()), Box::new(move || second.cancel())]);
    assert!(matches!(loops.wait(), Err(Error::Cancelled { .. })));
    assert!(matches!(waits.wait(), Ok(()) | Err(Error::Cancelled { ran: false, .. })));
    pool.call("good").expect("the worker serves on");
    pool.stop();
}

/// A call accepted after a definition was made is answered by it; one before, by it or the one before.
pub fn redefinition() {
    let pool = Pool::new(2, Options::default());
    let old = pool.define("good", 1);
    let (writer, reader) = (pool.share(), pool.share());
    in_parallel(vec![
        Box::new(move || {
            let new = writer.define("good", 2);
            let call = writer.submit::<()>("good").expect("it is accepted");
            let answer = call.wait_answer().expect("it is good");
            assert_eq!(answer.metadata.function_hash_sha1, new);
        }),
        Box::new(move || {
            let mut seen = old;
            for _ in 0..3 {
                let call = reader.submit::<()>("good").expect("it is defined all the time");
                let found = call.wait_answer().expect("it is good").metadata.function_hash_sha1;
                assert!(seen == old || seen == found, "nothing goes back to the old one");
                seen = found;
            }
        }),
    ]);
    pool.stop();
}

/// Every task that is run in the background ends at its caller, with fewer threads than tasks; a dropped one may be
/// withdrawn, and takes no other one with it.
pub fn background() {
    let background = Background::new("wpc-model", 2);
    let run = |value: u32| -> Box<dyn FnOnce() + Send> {
        let background = background.clone();
        Box::new(move || {
            let outcome = background.run(Dropped::GoesOn, move |_| Ok(value)).expect("it is run");
            assert_eq!(shuttle::future::block_on(outcome).expect("it is well"), value);
        })
    };
    let withdrawing = background.clone();
    in_parallel(vec![
        run(1),
        run(2),
        run(3),
        Box::new(move || drop(withdrawing.run(Dropped::IsWithdrawn, |_| Ok(())))),
    ]);
}

/// A definition whose caller dropped it never replaces one that is begun after that.
pub fn withdrawn_definition() {
    let pool = Pool::new(1, Options::default());
    let background = Background::new("wpc-model", 1);
    let definer = pool.share();
    let withdrawn = background.run(Dropped::IsWithdrawn, move |interest| {
        let text = r#"(module (func (export "good") (result i32) i32.const 7))"#;
        let module = WasmModule::new(wat::parse_str(text).expect("it is a module"));
        definer.0.pool.registry.define_function("good", &module, interest).map(drop)
    });
    thread::yield_now();
    drop(withdrawn.expect("it is run"));
    let new = pool.define("good", 2);
    // The only thread comes to this one afterwards.
    let last = background.run(Dropped::GoesOn, |_| Ok(())).expect("it is run");
    shuttle::future::block_on(last).expect("it is well");
    let function = pool.0.pool.registry.function("good").expect("it is defined");
    assert_eq!(function.module.hash, new);
    pool.stop();
}

/// A call accepted after a constant was defined sees its value.
pub fn constants() {
    let pool = Pool::new(2, Options::default());
    pool.define("reads", 1);
    pool.0.pool.registry.define_constant("word", untyped(), vec![1]).expect("it is defined");
    let (writer, reader) = (pool.share(), pool.share());
    let read = |pool: &Pool| pool.submit::<u8>("reads").and_then(PendingCall::wait).expect("reads");
    in_parallel(vec![
        Box::new(move || {
            writer
                .0
                .pool
                .registry
                .define_constant("word", untyped(), vec![2])
                .expect("it is defined");
            assert_eq!(read(&writer), 2);
        }),
        Box::new(move || {
            let first = read(&reader);
            assert!(read(&reader) >= first);
        }),
    ]);
    pool.stop();
}

/// Writers take turns: what one defines is not lost to another.
pub fn writers() {
    let pool = Pool::new(1, Options::default());
    let writer = |name: &'static str| -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            pool.0.pool.registry.define_constant(name, untyped(), vec![1]).expect("it is defined");
            pool.define(name, 1);
        })
    };
    in_parallel(vec![writer("one"), writer("two")]);
    let registry = &pool.0.pool.registry;
    let constants = registry.constants().load();
    assert!(["one", "two"].iter().all(|name| constants.contains_key(*name)));
    assert!(registry.function("one").is_some() && registry.function("two").is_some());
    pool.stop();
}

/// A function that fails and fails is tried again, then held; its neighbour never notices.
pub fn failures() {
    let options = Options { max_restarts_per_worker: 1, ..Options::default() };
    let pool = Pool::new(2, options);
    pool.define("fails", 1);
    let (fails, good) = (pool.share(), pool.share());
    in_parallel(vec![
        Box::new(move || {
            for _ in 0..5 {
                match fails.call("fails") {
                    Err(Error::Trap { .. } | Error::Held { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }),
        Box::new(move || {
            for _ in 0..3 {
                good.call("good").expect("it is good");
            }
        }),
    ]);
    pool.stop();
}

/// Calls that find no room wait for it and get it, whoever makes it.
pub fn waiting_for_room() {
    let options = Options { max_pending_calls_per_worker: 1, ..Options::default() };
    let pool = Pool::new(1, options);
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            let options = CallOptions::new().wait_for_room();
            pool.submit_with::<()>("good", &options).expect("it waits").wait().expect("it is good");
        })
    };
    in_parallel(vec![caller(), caller(), caller()]);
    pool.stop();
}

/// Who rings after there is work is heard, also at the moment of falling asleep.
pub fn ticker() {
    let ticker = Arc::new(EpochTicker::new());
    let has_work = Arc::new(AtomicBool::new(false));
    let (its_ticker, its_work) = (Arc::clone(&ticker), Arc::clone(&has_work));
    let supervisor = thread::spawn(move || {
        its_ticker.adopt();
        while !its_work.load(Ordering::SeqCst) {
            its_ticker.sleep(None, || its_work.load(Ordering::SeqCst));
        }
    });
    has_work.store(true, Ordering::SeqCst);
    ticker.ring();
    supervisor.join().expect("it did not panic");
}

/// However long the supervisor has slept, it is awake while something runs that only it can end.
pub fn supervisor_that_sleeps() {
    let pool = Pool::new(1, Options::default());
    pool.define("stuck", 1);
    RELEASED.set(true);
    // It lingers for some ticks before it sleeps: this ends before, about then, or after.
    for _ in 0..shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..500) {
        thread::yield_now();
    }
    let limit = CallOptions::new().time_limit(Duration::from_millis(1));
    let stuck = pool.submit_with::<()>("stuck", &limit).expect("it is accepted");
    assert!(matches!(stuck.wait(), Err(Error::Timeout { .. })));
    pool.stop();
}

/// A large buffer that comes back to the pool is freed, though the pool was idle before and is after.
pub fn buffers_of_an_idle_pool() {
    let pool = Pool::new(1, Options::default());
    // The supervisor lingers for some ticks before it sleeps: the buffer comes before, about then, or after.
    for _ in 0..shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..500) {
        thread::yield_now();
    }
    pool.0.pool.buffers.put(Vec::with_capacity(LARGE));
    while !pool.0.pool.buffers.is_empty() {
        thread::yield_now();
    }
    pool.stop();
}

/// A worker that falls silent is given up after its call's limit and the grace. Its caller is answered
/// before, what waited behind goes elsewhere, and another worker takes its place.
pub fn lost_worker() {
    let options = Options { lost_worker_grace: Duration::from_millis(6), ..Options::default() };
    let pool = Pool::new(1, options);
    pool.define_hasty("stuck");
    let lost = Arc::clone(&pool.0.pool.workers.load()[0]);
    let stuck = pool.submit::<()>("stuck").expect("it is accepted");
    let behind = pool.submit::<()>("good").expect("it is accepted");
    let began = match stuck.wait() {
        Err(Error::Timeout { ran, .. }) => ran,
        Err(Error::WorkerLost { .. }) => true,
        other => panic!("{other:?}"),
    };
    behind.wait().expect("it went to the other");
    pool.call("good").expect("there is another");
    RELEASED.set(true);
    while began && !lost.has_exited() {
        thread::yield_now();
    }
    assert_eq!(lost.in_flight(), 0, "it gave back what it had, once");
    pool.stop();
}

/// A stop that abandons its worker answers the call that runs there, also while the supervisor looks at that call.
pub fn stop_that_abandons_a_worker() {
    let options = Options { lost_worker_grace: Duration::from_millis(3), ..Options::default() };
    let pool = Pool::new(1, options);
    pool.define("stuck", 1);
    let abandoned = Arc::clone(&pool.0.pool.workers.load()[0]);
    let stuck = pool.submit::<()>("stuck").expect("it is accepted");
    pool.0.stop(Duration::from_millis(1));
    assert!(matches!(stuck.wait(), Err(Error::Stopped { .. })));
    RELEASED.set(true);
    while !abandoned.has_exited() {
        thread::yield_now();
    }
    assert_eq!(abandoned.in_flight(), 0, "it released its slot once");
    pool.stop();
}

/// A call under which the host panics is answered once, whether its worker, the supervisor or nobody else looks at it or
/// takes it over at that moment; its worker is replaced.
pub fn host_that_panics() {
    let options = Options { lost_worker_grace: Duration::from_millis(2), ..Options::default() };
    let pool = Pool::new(1, options);
    pool.define_hasty("panics");
    let lost = Arc::clone(&pool.0.pool.workers.load()[0]);
    let call = pool.submit::<()>("panics").expect("it is accepted");
    let behind = pool.submit::<()>("good").expect("it is accepted");
    let began = match call.wait() {
        Err(Error::Timeout { ran, .. }) => ran,
        Err(Error::WorkerLost { .. }) => true,
        other => panic!("{other:?}"),
    };
    behind.wait().expect("it went to the other");
    pool.call("good").expect("there is another");
    while began && !lost.has_exited() {
        thread::yield_now();
    }
    assert_eq!(lost.in_flight(), 0, "it gave back what it had, once");
    pool.stop();
}

/// The type of a constant that no module declares one for.
fn untyped() -> crate::registry::types::ConstantType {
    crate::registry::types::ConstantType::Shown(wpc_abi::compare::unknown())
}
