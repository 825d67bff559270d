//! A server in this process, on an address that it can return to.

pub(crate) use crate::guests::guest;

use std::net::SocketAddr;
use std::sync::Arc;
use wpc_host::{Options, WorkerProcedureCall};
use wpc_server::{Application, Server};

/// A pool with two workers and these functions of built guests, each as `(guest, functions)`.
pub(crate) fn pool(guests: &[(&str, &[&str])]) -> WorkerProcedureCall {
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    for (module, functions) in guests {
        for function in *functions {
            wpc.define_worker_function(function, guest(module)).unwrap();
        }
    }
    wpc.collect_latencies(true);
    wpc.start_workers(2).unwrap();
    wpc
}

/// The pool of most tests.
pub(crate) fn usual_pool() -> WorkerProcedureCall {
    pool(&[
        ("sdk", &["add", "echo_bytes", "order", "fails", "panics", "spins"]),
        ("streams", &["lines", "numbers"]),
    ])
}

/// A running server.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
    runtime: tokio::runtime::Runtime,
}

impl Served {
    pub(crate) fn start(wpc: &WorkerProcedureCall) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), Application::new(Arc::new(wpc.clone())))
    }

    pub(crate) fn at(address: SocketAddr, application: Application) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::bind(address)).unwrap();
        let address = server.address();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = runtime.spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server.serve(application, stopped).await.unwrap();
        });
        Self { address, stop, served, runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Stops it as a signal would, and waits until it has stopped.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        self.runtime.block_on(self.served).unwrap();
    }
}
