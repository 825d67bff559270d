//! Serves WebAssembly functions over HTTP.
//!
//! A server passes calls to a [`Backend`](wpc_host::Backend), such as a pool of [`wpc_host`]. It needs no other service. The
//! command `wpc serve` is built on this crate; `docs/server.md` describes its interface for clients and operators.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wpc_host::{Options, WorkerProcedureCall};
//! use wpc_server::{Application, Server};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let wpc = WorkerProcedureCall::new(Options::default())?;
//! wpc.start_workers(2)?;
//! let server = Server::bind("127.0.0.1:7071".parse()?).await?;
//! server.serve(Application::new(Arc::new(wpc)), std::future::pending()).await?;
//! # Ok(()) }
//! ```
//!
//! # Parts
//!
//! * [`Application`] is what a server serves: a backend, [`Settings`], tokens and deployments. [`Application::builder`] sets them.
//! * [`Server`] is a listener with bounded connections ([`ConnectionLimits`]). It stops gracefully.
//! * [`router`] has the routes alone, for an application with a listener and routes of its own.
//! * [`Tokens`] authenticate clients, and [`Audit`] is the log of administrative actions. Without tokens, [`Server`] only listens on
//!   loopback addresses, unless [`AccessSettings`] allow others.
//! * [`Deployments`] in a [`Store`] let clients deploy modules and manifests while calls run.
//! * `OpenTelemetry`, with the Cargo feature `otel`, exports traces and metrics.
//!
//! # Errors
//!
//! Clients receive every error as a [`Problem`] document. A server that cannot start returns a [`ServerError`]. Tokens, stores and
//! deployments have error types of their own: [`TokenError`], [`StoreError`] and [`Refusal`].
#![forbid(unsafe_code)]

mod accept;
mod access;
mod administration;
mod application;
mod audit_layer;
mod body_memory;
mod calls;
mod cluster;
mod deployments;
mod events;
mod functions;
mod health;
mod idempotency;
mod intake;
mod lifecycle;
mod live;
mod metrics;
mod modules;
mod nodes;
mod observation;
mod openapi;
#[cfg(feature = "otel")]
mod otel;
mod page;
mod problem;
mod refusals;
mod revisions;
mod router;
mod rpc;
mod server;
mod store;
mod telemetry;
mod tokens;
mod traffic;
mod unserved;

pub use access::{
    AccessSettings, Audit, AuditRecord, AuditSubject, InvalidId, InvalidQuota, InvalidScope,
    NewToken, Principal, Quota, Rate, Scope, Timestamp, TokenError, TokenId, TokenInformation,
    TokenText, Tokens, add_token_to_file,
};
pub use application::{Application, Builder, Settings};
pub use deployments::{Deployments, Refusal, State};
pub use idempotency::IdempotencyBounds;
pub use lifecycle::{Lifecycle, Stage};
#[cfg(feature = "otel")]
pub use otel::{OpenTelemetry, OpenTelemetryError};
pub use problem::{Problem, ProblemDetails};
pub use refusals::{RefusalReason, Refused};
pub use revisions::{Activation, Revision};
pub use router::router;
pub use server::{
    Certificate, CertificateError, ConnectionLimits, InvalidAddress, ListenAddress, Server,
    ServerError,
};
pub use store::{Store, StoreError};
pub use telemetry::{FinishedRequest, ReportedRequests};
pub use traffic::Traffic;
pub use unserved::UnservedEntry;
