//! The open connections of a server: their number in total and by address, and the checks of their limits.

use super::activity::{Activity, Clock, Order, TICK};
use super::limits::ConnectionLimits;
use crate::body_memory::BodyMemory;
use crate::traffic::Traffic;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The open connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: ConnectionLimits,
    clock: Clock,
    /// Locked when a connection begins or ends, and at each tick; not by requests.
    open: Mutex<Open>,
    all_ended: Notify,
    body_memory: BodyMemory,
    traffic: Traffic,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    activities: HashMap<u64, Arc<Activity>>,
    addresses: HashMap<IpAddr, usize>,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    TooMany,
    TooManyOfAddress,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits, traffic: Traffic) -> Self {
        Self(Arc::new(Shared {
            body_memory: BodyMemory::new(limits.max_body_memory, traffic.clone()),
            limits,
            clock: Clock::default(),
            open: Mutex::default(),
            all_ended: Notify::new(),
            traffic,
        }))
    }

    pub(super) fn now(&self) -> u32 {
        self.0.clock.now()
    }

    pub(super) fn limits(&self) -> &ConnectionLimits {
        &self.0.limits
    }

    /// Adds a connection. One without an address, such as that of a Unix socket, counts only towards the total.
    pub(super) fn admit(&self, address: Option<IpAddr>) -> Result<Member, Refusal> {
        let limits = &self.0.limits;
        let mut guard = self.open();
        let open = &mut *guard;
        if open.activities.len() >= limits.max_connections {
            return Err(Refusal::TooMany);
        }
        let peer = address;
        let address = address.map(client);
        if let Some(address) = address {
            let of_address = open.addresses.entry(address).or_default();
            if *of_address >= limits.max_connections_per_address {
                return Err(Refusal::TooManyOfAddress);
            }
            *of_address += 1;
        }
        let activity = Arc::new(Activity::new(self.0.clock.now()));
        let id = open.next;
        open.next += 1;
        self.0.traffic.connection_began();
        open.activities.insert(id, Arc::clone(&activity));
        Ok(Member { connections: self.clone(), id, peer, address, activity })
    }

    /// The memory of the bodies and messages of all connections.
    pub(super) fn body_memory(&self) -> &BodyMemory {
        &self.0.body_memory
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Checks the limits of all connections at each tick.
    pub(super) async fn watch(self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = self.0.clock.advance();
            for activity in self.open().activities.values() {
                activity.check(&self.0.limits, now);
            }
        }
    }

    /// Gives an order to all connections.
    pub(super) fn command(&self, order: Order) {
        for activity in self.open().activities.values() {
            activity.command(order);
        }
    }

    /// Completes once no connection is open.
    pub(super) async fn ended(&self) {
        loop {
            let mut ended = std::pin::pin!(self.0.all_ended.notified());
            ended.as_mut().enable();
            if self.open().activities.is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection, which is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Member {
    connections: Connections,
    id: u64,
    /// The address of the client, and the one by which it is counted.
    peer: Option<IpAddr>,
    address: Option<IpAddr>,
    activity: Arc<Activity>,
}

impl Member {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The address of the client; `None` for a Unix socket.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    pub(super) fn now(&self) -> u32 {
        self.connections.now()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.connections.body_memory().release(self.activity.body_dropped());
        let mut guard = self.connections.open();
        let open = &mut *guard;
        open.activities.remove(&self.id);
        self.connections.0.traffic.connection_ended();
        if let Some(address) = self.address
            && let Some(count) = open.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&address);
            }
        }
        if open.activities.is_empty() {
            self.connections.0.all_ended.notify_waiters();
        }
    }
}

/// The address by which a client is counted. A client with IPv6 usually has a `/64` network.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(max_connections: usize, max_connections_per_address: usize) -> Connections {
        let limits = ConnectionLimits {
            max_connections,
            max_connections_per_address,
            ..ConnectionLimits::default()
        };
        Connections::new(limits, Traffic::default())
    }

    #[test]
    fn connections_are_limited_in_total_and_by_address() {
        let connections = limited(3, 2);
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().ok());
        let first = connections.admit(a).unwrap();
        let _second = connections.admit(a).unwrap();
        assert_eq!(connections.admit(a).unwrap_err(), Refusal::TooManyOfAddress);
        let _third = connections.admit(b).unwrap();
        assert_eq!(connections.admit(b).unwrap_err(), Refusal::TooMany);
        drop(first);
        connections.admit(a).unwrap();
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let connections = limited(3, 1);
        let _first = connections.admit("2001:db8::1".parse().ok()).unwrap();
        assert_eq!(
            connections.admit("2001:db8::ffff:2".parse().ok()).unwrap_err(),
            Refusal::TooManyOfAddress
        );
        connections.admit("2001:db8:0:1::1".parse().ok()).unwrap();
    }
}
