//! A server in a process of its own, and the load that clients put on it.

mod deployer;
mod load;
mod server;

pub(crate) use deployer::Deployer;
pub(crate) use load::{Load, Request};
pub(crate) use server::{Contestant, SERVE, Serving, serve};
