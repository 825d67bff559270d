//! The memory that the bodies of all requests and the messages of all WebSockets take together.

use crate::traffic::Traffic;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The memory of all bodies and messages, and its bound. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// In bytes.
    limit: usize,
    used: AtomicUsize,
    traffic: Traffic,
}

impl BodyMemory {
    pub(crate) fn new(limit: usize, traffic: Traffic) -> Self {
        Self(Arc::new(Shared { limit, used: AtomicUsize::new(0), traffic }))
    }

    /// Counts bytes that are to be held in memory. Returns whether that is within the limit; if not, they are not counted.
    #[must_use]
    pub(crate) fn hold(&self, bytes: usize) -> bool {
        let before = self.0.used.fetch_add(bytes, Relaxed);
        let fits = before.checked_add(bytes).is_some_and(|all| all <= self.0.limit);
        if fits {
            self.0.traffic.body_held(bytes);
        } else {
            self.0.used.fetch_sub(bytes, Relaxed);
        }
        fits
    }

    /// These bytes are not held any more.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.0.used.fetch_sub(bytes, Relaxed);
            self.0.traffic.body_dropped(bytes);
        }
    }
}

/// Accounts for the memory of a WebSocket's messages; also holds the client's address. The connection counts the bytes that arrive as those
/// of an incomplete message; the handler moves them to complete messages. Requests that open a WebSocket have it as an extension.
#[derive(Debug, Clone)]
pub(crate) struct MessageMemory {
    memory: BodyMemory,
    /// The bytes that the connection has counted.
    incomplete: Arc<AtomicUsize>,
    client: Option<IpAddr>,
}

/// The bytes of a control frame of a client without its payload: two of the header and a mask.
const CONTROL_HEADER: usize = 6;

impl MessageMemory {
    pub(crate) fn new(
        memory: BodyMemory,
        incomplete: Arc<AtomicUsize>,
        client: Option<IpAddr>,
    ) -> Self {
        Self { memory, incomplete, client }
    }

    /// The address of the client.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// A message of this size is complete. It counts until the returned value is dropped. The bytes after it, at most a read
    /// buffer, do not count.
    pub(crate) fn complete(&self, size: usize) -> HeldMessage {
        let counted = self.incomplete.swap(0, Relaxed);
        // What arrived together with the handshake was not counted.
        let held = size.min(counted);
        self.memory.release(counted - held);
        HeldMessage { memory: self.memory.clone(), held }
    }

    /// Releases the memory of a control frame that was received.
    pub(crate) fn control(&self, payload: usize) {
        let counted = self.incomplete.load(Relaxed);
        let size = counted.min(CONTROL_HEADER + payload);
        // Only the task of the connection changes it.
        self.incomplete.store(counted - size, Relaxed);
        self.memory.release(size);
    }
}

/// A complete message, which counts towards the memory until this is dropped.
#[derive(Debug)]
#[must_use = "keep it as long as the message"]
pub(crate) struct HeldMessage {
    memory: BodyMemory,
    held: usize,
}

impl Drop for HeldMessage {
    fn drop(&mut self) {
        self.memory.release(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_bound_are_not_counted() {
        let traffic = Traffic::default();
        let memory = BodyMemory::new(10, traffic.clone());
        assert!(memory.hold(10) && !memory.hold(1) && !memory.hold(usize::MAX));
        assert_eq!(traffic.body_bytes(), 10);
        memory.release(4);
        assert!(memory.hold(4) && !memory.hold(1));
    }

    #[test]
    fn a_message_counts_from_its_first_byte_until_it_is_dropped() {
        let traffic = Traffic::default();
        let memory = BodyMemory::new(100, traffic.clone());
        let incomplete = Arc::new(AtomicUsize::new(0));
        let messages = MessageMemory::new(memory.clone(), Arc::clone(&incomplete), None);
        let receive = |bytes| {
            assert!(memory.hold(bytes));
            incomplete.fetch_add(bytes, Relaxed);
        };
        // A ping between the two parts of a message.
        receive(20 + CONTROL_HEADER + 3);
        messages.control(3);
        assert_eq!(traffic.body_bytes(), 20);
        receive(30);
        // Headers and the next bytes do not count.
        let held = messages.complete(40);
        assert_eq!((traffic.body_bytes(), incomplete.load(Relaxed)), (40, 0));
        messages.control(3);
        drop(held);
        assert_eq!(traffic.body_bytes(), 0);
    }
}
