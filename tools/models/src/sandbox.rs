//! A simulated sandbox, without Wasm code. The name of the called export determines what it does:
//!
//! * `good` returns nothing, `reads` returns the constant `word`, `fails` traps;
//! * `loops` runs until its call should end, as a guest that is interrupted does;
//! * `stuck` runs until its call was answered and the check sets `RELEASED`, as a blocking host function does;
//! * `waits` is suspended until another thread wakes it, `never` until its call should end;
//! * `calls_` and a name calls the function of that name, and fails if that fails;
//! * `panics` panics after a while, as a bug in the host does.

// What a worker passes to a sandbox is the host's own.
#[path = "../../../wpc-host/src/sandbox/environment.rs"]
mod environment;
#[path = "../../../wpc-host/src/sandbox/node.rs"]
mod node;
#[path = "../../../wpc-host/src/sandbox/request.rs"]
mod request;

pub(crate) use environment::Environment;
pub(crate) use node::Node;
pub(crate) use request::Request;

use crate::call::Call;
use crate::call::nested::CalledFunction;
use crate::call::reply::BorrowedReply;
use crate::codec::payload::Payload;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::host_function::bindings::{Bindings, CurrentBindings, LastBindings};
use crate::metrics::SandboxGauge;
use crate::module::engine::{Profile, WithoutPool};
use crate::module::{Export, Module};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{thread, time};
use shuttle::rand::{Rng as _, thread_rng};
use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use wpc_abi::reply::TAG_VALUE;

std::thread_local! {
    // All threads of a check run on one OS thread, so they share these.
    pub(crate) static LIVE: Cell<usize> = const { Cell::new(0) };
    pub(crate) static RELEASED: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug)]
pub(crate) struct Blueprint {
    instances: usize,
    module: Arc<Module>,
    last_bindings: LastBindings,
    gauge: Arc<SandboxGauge>,
}

impl Blueprint {
    pub(crate) fn link(
        _: &wasmtime::Engine,
        _: Profile,
        _: Option<Arc<WithoutPool>>,
        nodes: &[Node],
    ) -> Result<Self, Error> {
        let module = nodes.last().map(|node| Arc::clone(&node.module));
        let module = module.ok_or_else(|| Error::StartFailed { cause: "no module".to_owned() })?;
        let last_bindings = LastBindings::default();
        Ok(Self { instances: nodes.len(), module, last_bindings, gauge: Arc::default() })
    }

    pub(crate) fn retire(&self, bindings: &Arc<Bindings>) {
        self.last_bindings.keep(bindings);
    }

    pub(crate) fn bindings(&self, current: &dyn CurrentBindings) -> Arc<Bindings> {
        self.last_bindings.or_current(current)
    }

    pub(crate) fn yields_items(&self) -> bool {
        false
    }

    pub(crate) fn waiting_imports(&self) -> impl Iterator<Item = String> {
        std::iter::empty()
    }

    pub(crate) fn instances(&self) -> usize {
        self.instances
    }

    pub(crate) fn gauge(&self) -> &Arc<SandboxGauge> {
        &self.gauge
    }
}

pub(crate) struct Sandbox {
    blueprint: Arc<Blueprint>,
    environment: Arc<Environment>,
    /// Whether it failed, and must not be called again.
    is_broken: bool,
}

impl Sandbox {
    pub(crate) fn new(
        blueprint: &Arc<Blueprint>,
        _: &Limits,
        environment: &Arc<Environment>,
        _: &Request<'_>,
    ) -> Result<Self, Error> {
        LIVE.set(LIVE.get() + 1);
        let (blueprint, environment) = (Arc::clone(blueprint), Arc::clone(environment));
        Ok(Self { blueprint, environment, is_broken: false })
    }

    #[expect(clippy::unused_async, reason = "as the host's, which runs start functions")]
    pub(crate) async fn new_on_fiber(
        blueprint: &Arc<Blueprint>,
        limits: &Limits,
        environment: &Arc<Environment>,
        request: &Request<'_>,
    ) -> Result<Self, Error> {
        Self::new(blueprint, limits, environment, request)
    }

    pub(crate) async fn call_on_fiber<T>(
        &mut self,
        request: &Request<'_>,
        arguments: &[u8],
        read: impl FnOnce(BorrowedReply<'_>) -> T,
    ) -> Result<T, Box<Error>> {
        let name = request.export.name.as_str();
        if name == "yields" {
            return self.yield_items(request, read).await;
        }
        if let Some(target) = name.strip_prefix("calls_") {
            let ended = self.call_another(request, target).await;
            self.is_broken = ended.is_err();
            return ended.map(|()| read(BorrowedReply::Encoded(&[TAG_VALUE])));
        }
        let is_over = Arc::new(AtomicBool::new(name != "waits" && name != "never"));
        let mut is_begun = false;
        let end = poll_fn(|task| {
            let stopping = &self.environment.stopping;
            if let Some(interrupt) = request.call.should_end(stopping, time::now()) {
                return Poll::Ready(Some(interrupt));
            }
            if is_over.load(Ordering::SeqCst) {
                return Poll::Ready(None);
            }
            if name == "waits" && !std::mem::replace(&mut is_begun, true) {
                let (is_over, waker) = (Arc::clone(&is_over), task.waker().clone());
                drop(shuttle::thread::spawn(move || {
                    is_over.store(true, Ordering::SeqCst);
                    waker.wake();
                }));
            }
            Poll::Pending
        });
        if let Some(interrupt) = end.await {
            self.is_broken = true;
            return Err(request.call.error_of(interrupt, true).into());
        }
        if name == "waits" {
            return Ok(read(BorrowedReply::Encoded(&[TAG_VALUE])));
        }
        self.call(request, arguments, |reply, _| read(reply))
    }

    /// Yields the items 1 to 3.
    async fn yield_items<T>(
        &mut self,
        request: &Request<'_>,
        read: impl FnOnce(BorrowedReply<'_>) -> T,
    ) -> Result<T, Box<Error>> {
        for item in 1..=3_u8 {
            let added = poll_fn(|task| {
                let stopping = &self.environment.stopping;
                if let Some(interrupt) = request.call.should_end(stopping, time::now()) {
                    return Poll::Ready(Err(interrupt));
                }
                let added = request.call.poll_add_item(&[item], task.waker());
                added.expect("the call has a reader").map(Ok)
            });
            if let Err(interrupt) = added.await {
                self.is_broken = true;
                return Err(request.call.error_of(interrupt, true).into());
            }
        }
        Ok(read(BorrowedReply::Encoded(&[TAG_VALUE])))
    }

    /// Calls a function of the pool, until it has replied or this call should end.
    async fn call_another(&self, request: &Request<'_>, name: &str) -> Result<(), Box<Error>> {
        let called = CalledFunction::new(name.into(), "a check".into(), Vec::new());
        let pool = self.environment.nested_calls.upgrade().ok_or(Error::NotRunning)?;
        let call = pool.submit(request.call, &called, Vec::new())?;
        let mut reply = pin!(call.reply_for_guest());
        let reply = poll_fn(|task| {
            match request.call.should_end(&self.environment.stopping, time::now()) {
                Some(interrupt) => Poll::Ready(Err(request.call.error_of(interrupt, true))),
                None => reply.as_mut().poll(task),
            }
        });
        reply.await.map(drop).map_err(Box::new)
    }

    pub(crate) fn settle(&mut self) {}

    pub(crate) fn is_spent(&self, _: &Limits) -> bool {
        false
    }

    pub(crate) fn call<A: Payload, T>(
        &mut self,
        request: &Request<'_>,
        arguments: A,
        read: impl FnOnce(BorrowedReply<'_>, A) -> T,
    ) -> Result<T, Box<Error>> {
        assert!(!self.is_broken, "a sandbox that failed is never used again");
        let call = request.call;
        let mut bytes = vec![TAG_VALUE];
        let result = match request.export.name.as_str() {
            "good" => Ok(()),
            "reads" => {
                let bindings = self.blueprint.bindings(&*self.environment.bindings);
                bytes.extend(
                    bindings.constants.get("word").into_iter().flat_map(|word| word.iter()),
                );
                Ok(())
            }
            "loops" => loop {
                let stopping = &self.environment.stopping;
                if let Some(interrupt) = call.should_end(stopping, time::now()) {
                    break Err(call.error_of(interrupt, true));
                }
                thread::yield_now();
            },
            "stuck" => {
                while !call.is_answered() || !RELEASED.get() {
                    thread::yield_now();
                }
                Ok(())
            }
            "panics" => {
                // This may be before its deadline, while the supervisor examines it, after it was answered, or as it is stolen.
                for _ in 0..thread_rng().gen_range(0..200) {
                    thread::yield_now();
                }
                // Skips the panic hook, which would print each panic.
                std::panic::resume_unwind(Box::new("simulated bug in the host"));
            }
            _ => Err(Error::Trap {
                function: call.function.to_string(),
                reason: "simulated".to_owned(),
                stack: String::new(),
            }),
        };
        self.is_broken = result.is_err();
        result?;
        Ok(read(BorrowedReply::Encoded(&bytes), arguments))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

pub(crate) fn keeps_sandbox(_: &Error) -> bool {
    false
}
