//! Calls on behalf of other calls: those that a guest makes to functions of its pool, and those of host functions for the
//! call that they serve.
//!
//! A nested call ends when its caller does, at the latest at the caller's deadline, and belongs to the same trace. A function
//! that is in the chain of callers cannot be called again, so that no chain is endless, and no call waits for itself.

use super::pending::PendingCall;
use super::{Call, Deadline, Interrupt};
use crate::error::Error;
use crate::id::Generation;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::iter::successors;
use std::sync::{Arc, Weak};
use wpc_abi::section::Signature;

/// How many calls can be nested: a call from outside has depth zero, and a call that it makes has depth one.
///
/// Each level of a chain may use sandboxes that shallower levels must leave free, so that the deepest call of every chain
/// always finds one. More levels would leave too few sandboxes to each.
pub const MAX_CALL_DEPTH: usize = 16;

/// A function of the pool that a module calls, with the types that the module declares.
#[derive(Debug)]
pub(crate) struct CalledFunction {
    pub(crate) name: Arc<str>,
    /// The calling module, as errors name it.
    pub(crate) importer: Arc<str>,
    /// The types that the module declares for the function.
    pub(crate) declared: Vec<Signature>,
    /// The generation of the definition that was last found to have these types, or `UNKNOWN`.
    fitting: AtomicU64,
}

/// No generation has this number.
const UNKNOWN: u64 = u64::MAX;

impl CalledFunction {
    pub(crate) fn new(name: Arc<str>, importer: Arc<str>, declared: Vec<Signature>) -> Self {
        Self { name, importer, declared, fitting: AtomicU64::new(UNKNOWN) }
    }

    /// Whether a definition has the declared types as far as it is known.
    pub(crate) fn fits(&self, generation: Generation) -> bool {
        self.declared.is_empty() || self.fitting.load(Ordering::Relaxed) == generation.0
    }

    /// Records that a definition has the declared types.
    pub(crate) fn set_fitting(&self, generation: Generation) {
        self.fitting.store(generation.0, Ordering::Relaxed);
    }
}

/// Accepts the calls of guests to functions of their pool. The pool implements it; sandboxes know only this trait.
pub(crate) trait NestedCalls: std::fmt::Debug + Send + Sync {
    /// Accepts a call with encoded arguments on behalf of `caller`, or returns the reason for refusing it.
    fn submit(
        &self,
        caller: &Arc<Call>,
        called: &CalledFunction,
        arguments: Vec<u8>,
    ) -> Result<PendingCall<()>, Error>;
}

/// The reference of sandboxes that belong to no pool.
#[derive(Debug)]
enum NoPool {}

impl NestedCalls for NoPool {
    fn submit(
        &self,
        _: &Arc<Call>,
        _: &CalledFunction,
        _: Vec<u8>,
    ) -> Result<PendingCall<()>, Error> {
        match *self {}
    }
}

/// A reference to no pool.
pub(crate) fn no_pool() -> Weak<dyn NestedCalls> {
    Weak::<NoPool>::new()
}

impl Call {
    /// Makes this a call on behalf of `caller`, at whose deadline it must have ended.
    pub(crate) fn nest(&mut self, caller: &Arc<Call>) {
        let (own, deadline) = (self.deadline(), caller.deadline());
        if deadline < own {
            self.time_limit = self.time_limit.saturating_sub(own - deadline);
            self.deadline = Deadline::Fixed(deadline);
        }
        if self.context.is_none() {
            self.context.clone_from(&caller.context);
        }
        self.depth = caller.depth + 1;
        self.caller = Some(Arc::clone(caller));
    }

    /// Why calls on behalf of this one must end: it or one of its callers has ended or must end.
    ///
    /// A calling guest also cancels its nested calls when it is dropped. But only its worker can drop it, and the worker may
    /// be busy with the nested call.
    #[cold]
    pub(super) fn interrupts_nested(&self) -> Option<Interrupt> {
        let mut callers = successors(Some(self), |call| call.caller.as_deref());
        let has_ended = callers.any(|call| call.is_answered() || call.is_interrupt_requested());
        has_ended.then_some(Interrupt::Cancelled)
    }

    /// Fails if this call cannot call `function`, because that is one of its callers or because it is nested too deeply.
    pub(crate) fn check_chain(&self, function: &str) -> Result<(), Error> {
        let mut callers = successors(Some(self), |call| call.caller.as_deref());
        if self.depth < MAX_CALL_DEPTH && callers.all(|caller| &*caller.function != function) {
            return Ok(());
        }
        Err(self.refusal(function))
    }

    #[cold]
    fn refusal(&self, function: &str) -> Error {
        let callers = successors(Some(self), |call| call.caller.as_deref());
        let mut chain: Vec<_> = callers.map(|call| call.function.to_string()).collect();
        chain.reverse();
        let is_recursive = chain.iter().any(|caller| caller == function);
        let function = function.to_owned();
        chain.push(function.clone());
        if is_recursive {
            Error::RecursiveCall { function, chain }
        } else {
            Error::CallDepth { function, chain, limit: MAX_CALL_DEPTH }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CallContext, CallId};
    use std::time::{Duration, Instant};

    fn call(function: &str, accepted: Instant, limit: u64) -> Call {
        let limit = Duration::from_secs(limit);
        Call::new(CallId(1), function.into(), Generation(1), accepted, limit)
    }

    #[test]
    fn a_nested_call_ends_with_its_caller() {
        let accepted = Instant::now();
        let mut caller = call("a", accepted, 3);
        caller.context = Some(Arc::new(CallContext::default()));
        let caller = Arc::new(caller);
        let later = accepted + Duration::from_secs(1);
        let mut short = call("b", later, 1);
        short.nest(&caller);
        assert_eq!(
            (short.time_limit.as_secs(), short.deadline()),
            (1, later + Duration::from_secs(1))
        );
        let mut long = call("b", later, 10);
        long.nest(&caller);
        assert_eq!((long.time_limit.as_secs(), long.deadline()), (2, caller.deadline()));
        assert_eq!(short.interrupted(later), None);
        caller.cancel();
        assert_eq!(short.interrupted(later), Some(Interrupt::Cancelled));
        assert!(Arc::ptr_eq(&long.context.unwrap(), caller.context.as_ref().unwrap()));
    }

    #[test]
    fn a_chain_has_no_cycle_and_a_maximum_length() {
        let mut last = Arc::new(call("f0", Instant::now(), 1));
        for depth in 1..=MAX_CALL_DEPTH {
            let name = format!("f{depth}");
            last.check_chain(&name).unwrap();
            let mut next = call(&name, Instant::now(), 1);
            next.nest(&last);
            last = Arc::new(next);
        }
        let Err(Error::CallDepth { chain, limit: 16, .. }) = last.check_chain("g") else {
            panic!("the chain is too long")
        };
        assert_eq!((chain.len(), &*chain[0], &*chain[17]), (18, "f0", "g"));
        let Err(Error::RecursiveCall { chain, .. }) = last.check_chain("f15") else {
            panic!("f15 is in the chain")
        };
        assert_eq!(chain.last().unwrap(), "f15");
    }
}
