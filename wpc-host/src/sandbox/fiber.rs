//! Calls in sandboxes whose guests run on fibers, so that they can be suspended: while a guest waits for a host function, or
//! after its time slice, the future of its call is pending and the thread is free.
//!
//! These are the steps of `blueprint` and `invoke`, except that calls of the guest are awaited. Other sandboxes do not have
//! this cost.

use super::blueprint::{Blueprint, Hooks};
use super::failure::Failure;
use super::invoke::{
    BUFFER, Entry, buffer_of, capacity_for, check_hook, check_stopping, failed, memory_at,
    own_exit, set_buffer, take_reply, too_many_arguments,
};
use super::memory;
use super::scalars::{decode, encode};
use super::state::State;
use super::{Environment, Request, Sandbox};
use crate::call::reply::BorrowedReply;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::sync::time;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use wasmtime::{AsContextMut as _, Store, StoreContextMut, Val};

impl Sandbox {
    /// Creates a sandbox for `request`, as [`Sandbox::new`] does.
    pub(crate) async fn new_on_fiber(
        blueprint: &Arc<Blueprint>,
        limits: &Limits,
        environment: &Arc<Environment>,
        request: &Request<'_>,
    ) -> Result<Self, Error> {
        let mut sandbox = Self::empty(blueprint, limits, environment, request)?;
        let created = match sandbox.begin_creation(request, limits) {
            Ok(()) => {
                let instantiated = instantiate(blueprint, &mut sandbox.store);
                let instantiated = until_interrupted(request, environment, instantiated).await;
                sandbox.end(request);
                instantiated
            }
            Err(error) => Err(error),
        };
        sandbox.created(created, request)
    }

    /// Carries one call across the sandbox boundary, as [`Sandbox::call`] does. If the future is dropped before it is
    /// ready, the guest ends, and the sandbox must be dropped.
    pub(crate) async fn call_on_fiber<T>(
        &mut self,
        request: &Request<'_>,
        arguments: &[u8],
        read: impl FnOnce(BorrowedReply<'_>) -> T,
    ) -> Result<T, Box<Error>> {
        let at = self.blueprint.instances() - 1;
        let result = match self.begin(request).and_then(|()| self.entry(at, request)) {
            Ok(entry) => {
                let running = RunningGuest { sandbox: &mut *self, request };
                let store = &mut running.sandbox.store;
                let environment = Arc::clone(&store.data().environment);
                let called = invoke(store.as_context_mut(), at, &entry, arguments, read);
                let called = until_interrupted(request, &environment, called).await;
                drop(running);
                called
            }
            Err(error) => Err(error),
        };
        self.called(result, request)
    }
}

/// A guest that runs or is suspended. Its call ends when this is dropped, even if another thread has answered it, so the fuel
/// that it used is always known.
struct RunningGuest<'a, 'r> {
    sandbox: &'a mut Sandbox,
    request: &'a Request<'r>,
}

impl Drop for RunningGuest<'_, '_> {
    fn drop(&mut self) {
        self.sandbox.end(self.request);
    }
}

/// Polls `guest` until it is ready or its call should end. Then the guest is dropped, with the host function it waits for.
async fn until_interrupted<T>(
    request: &Request<'_>,
    environment: &Environment,
    guest: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let mut guest = pin!(guest);
    poll_fn(|task| match request.call.should_end(&environment.stopping, time::now()) {
        Some(interrupt) => Poll::Ready(Err(failed(Failure::Interrupted(interrupt)))),
        None => guest.as_mut().poll(task),
    })
    .await
}

async fn instantiate(blueprint: &Blueprint, store: &mut Store<State>) -> wasmtime::Result<()> {
    for (at, part) in blueprint.parts().enumerate() {
        part.begin(store);
        let instance = part.instantiate_on_fiber(store).await?;
        let Hooks { initialize, init } = part.register(store, instance)?;
        if let Some(initialize) = initialize {
            initialize.call_async(&mut *store, ()).await?;
        }
        if let Some(init) = init {
            let mut store = store.as_context_mut();
            // As before a call: guests initialise themselves when their buffer is first requested.
            reserve(&mut store, at, 0).await?;
            let packed = init.call_async(&mut store, ()).await?;
            check_hook(take_reply(&store, at, packed)?)?;
        }
    }
    Ok(())
}

/// Calls `entry` of the instance at `at` and returns what `read` returns for the reply, whose tag is known to be valid.
pub(super) async fn invoke<T>(
    mut store: StoreContextMut<'_, State>,
    at: usize,
    entry: &Entry,
    arguments: &[u8],
    read: impl FnOnce(BorrowedReply<'_>) -> T,
) -> wasmtime::Result<T> {
    match entry {
        Entry::Wpc(function) => {
            let len = u32::try_from(arguments.len()).map_err(|_| too_many_arguments())?;
            let buffer = reserve(&mut store, at, len).await?;
            let memory = memory_at(store.data(), at)?;
            memory::buffer(memory, &mut store, buffer, len, BUFFER)
                .map_err(failed)?
                .copy_from_slice(arguments);
            check_stopping(&store)?;
            let packed = function.call_async(&mut store, (buffer, len)).await?;
            Ok(read(take_reply(&store, at, packed)?))
        }
        Entry::Scalars { function, parameters, result } => {
            let parameters = decode(parameters, arguments).map_err(failed)?;
            let mut results = [Val::I32(0)];
            let results = &mut results[..usize::from(result.is_some())];
            function.call_async(&mut store, &parameters, results).await?;
            Ok(read(BorrowedReply::Encoded(&encode(results.first()))))
        }
        Entry::Command(function) => {
            decode(&[], arguments).map_err(failed)?;
            own_exit(function.call_async(&mut store, ()).await, at)?;
            Ok(read(BorrowedReply::Encoded(&encode(None))))
        }
    }
}

/// The pointer of the guest's buffer, which has at least `len` bytes.
async fn reserve(
    store: &mut StoreContextMut<'_, State>,
    at: usize,
    len: u32,
) -> wasmtime::Result<u32> {
    let buffer = buffer_of(store.data(), at)?;
    if buffer.capacity >= len.max(1) {
        return Ok(buffer.ptr);
    }
    let (function, capacity) = (buffer.function.clone(), capacity_for(len));
    let ptr = function.call_async(&mut *store, capacity).await?;
    set_buffer(store, at, ptr, capacity)?;
    Ok(ptr)
}
