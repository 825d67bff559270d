//! How messages are sent and received: by the NATS client, or in simulations by a bus in memory.

#[cfg(test)]
use super::bus;
use async_nats::{Client, StatusCode, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use std::time::SystemTime;

/// How messages are sent and received.
#[derive(Debug)]
pub(super) enum Transport {
    Nats(Client),
    #[cfg(test)]
    Simulated(bus::Port),
}

/// A message that was received.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) subject: String,
    /// Where an answer is expected.
    pub(crate) reply: Option<String>,
    pub(crate) payload: Bytes,
    /// Whether the server reports that nothing has subscribed to the subject of the message to which this is the answer.
    pub(crate) is_absence: bool,
}

/// The messages to a subject.
#[derive(Debug)]
pub(crate) enum Subscription {
    Nats(Subscriber),
    #[cfg(test)]
    Simulated(bus::Subscription),
}

impl Transport {
    pub(super) fn client(&self) -> &Client {
        match self {
            Self::Nats(client) => client,
            #[cfg(test)]
            Self::Simulated(_) => unreachable!("a simulation has no JetStream"),
        }
    }

    /// The time of this process, in milliseconds since 1970.
    pub(super) fn own_ms(&self) -> u64 {
        match self {
            Self::Nats(_) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
            }
            #[cfg(test)]
            Self::Simulated(port) => port.own_ms(),
        }
    }

    pub(super) async fn publish(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), String> {
        match self {
            Self::Nats(client) => match reply {
                Some(reply) => client.publish_with_reply(subject, reply, payload).await,
                None => client.publish(subject, payload).await,
            }
            .map_err(|error| error.to_string()),
            #[cfg(test)]
            Self::Simulated(port) => {
                port.publish(subject, reply, payload);
                Ok(())
            }
        }
    }

    pub(super) async fn subscribe(
        &self,
        subject: String,
        group: Option<String>,
    ) -> Result<Subscription, String> {
        match self {
            Self::Nats(client) => {
                let subscriber = match group {
                    Some(group) => client.queue_subscribe(subject, group).await,
                    None => client.subscribe(subject).await,
                };
                subscriber.map(Subscription::Nats).map_err(|error| error.to_string())
            }
            #[cfg(test)]
            Self::Simulated(port) => Ok(Subscription::Simulated(port.subscribe(subject))),
        }
    }
}

impl Subscription {
    /// The next message; `None` when the subscription has ended.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        match self {
            Self::Nats(subscriber) => {
                let message = subscriber.next().await?;
                Some(Received {
                    subject: message.subject.as_str().to_owned(),
                    reply: message.reply.map(|reply| reply.as_str().to_owned()),
                    payload: message.payload,
                    is_absence: message.status == Some(StatusCode::NO_RESPONDERS),
                })
            }
            #[cfg(test)]
            Self::Simulated(subscription) => subscription.next().await,
        }
    }

    /// Lets the server end the subscription after this many messages in total.
    pub(crate) async fn unsubscribe_after(&mut self, messages: u64) {
        match self {
            // Without a connection there is nothing to end.
            Self::Nats(subscriber) => drop(subscriber.unsubscribe_after(messages).await),
            #[cfg(test)]
            Self::Simulated(_) => {}
        }
    }

    /// Ends the subscription. Messages that have arrived can still be read.
    pub(crate) async fn drain(&mut self) {
        match self {
            Self::Nats(subscriber) => drop(subscriber.drain().await),
            #[cfg(test)]
            Self::Simulated(subscription) => subscription.close(),
        }
    }
}
