//! The gate as a layer of a router. A middleware of axum would cost each request an allocation.

use super::gate::{Admitted, Gate, Refusal};
use axum::extract::Request;
use axum::response::Response;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// Checks every request of a router.
#[derive(Debug, Clone)]
pub(crate) struct Guard(pub(crate) Arc<Gate>);

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, gate: Arc::clone(&self.0) }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Guarded<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.gate.admit(request) {
            Ok((request, admitted)) => {
                Answering::Admitted { answer: self.inner.call(request), admitted: Some(admitted) }
            }
            Err(refusal) => Answering::Refused { refusal },
        }
    }
}

pin_project! {
    /// The response of a request.
    #[project = Projected]
    pub(crate) enum Answering<F> {
        Admitted { #[pin] answer: F, admitted: Option<Admitted> },
        Refused { refusal: Box<Refusal> },
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Projected::Admitted { answer, admitted } => {
                let mut response = ready!(answer.poll(context))?;
                if let Some(admitted) = admitted.take() {
                    admitted.finish(&mut response);
                }
                Poll::Ready(Ok(response))
            }
            Projected::Refused { refusal } => refusal.poll(context).map(Ok),
        }
    }
}
