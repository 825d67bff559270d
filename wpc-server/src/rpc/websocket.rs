//! JSON-RPC over WebSocket.
//!
//! One task serves a connection. It takes the next message only while fewer calls are outstanding than the server accepts, so
//! that a client that sends faster than its calls complete is slowed down by TCP. A response is sent before the next one is
//! taken, and a client that does not read for a while is disconnected. So is one whose token was revoked or has expired. The
//! end of the task cancels its outstanding calls.

use super::request::{self, Message};
use super::response;
use super::run::Client;
use crate::access::Principal;
use crate::application::Application;
use crate::problem::{Problem, ServerCode};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{
    CloseFrame, Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::future::{BoxFuture, FutureExt as _, OptionFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// How often a ping is sent. A client that does not answer two pings is disconnected.
const PING: Duration = Duration::from_secs(30);

/// How long a client may take to receive a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How many bytes of frames are buffered to be written together.
const WRITE_BUFFER: usize = 16 << 10;

pub(super) async fn upgrade(
    State(application): State<Application>,
    principal: Principal,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let upgrade = upgrade
        .map_err(|rejected| Problem::new(ServerCode::UpgradeRequired, rejected.body_text()))?;
    let client = Client::new(&application, principal, &request)?;
    let limit = application.settings().max_body;
    let upgrade =
        upgrade.max_message_size(limit).max_frame_size(limit).write_buffer_size(WRITE_BUFFER);
    Ok(upgrade.on_upgrade(move |socket| Connection::new(socket, client).serve()))
}

/// A running message: its number of requests, and its response.
type Running = BoxFuture<'static, (usize, Option<Vec<u8>>)>;

struct Connection {
    socket: WebSocket,
    client: Client,
    running: FuturesUnordered<Running>,
    /// The number of requests in `running`.
    outstanding: usize,
    /// Pings since the client last sent anything.
    unanswered_pings: u32,
}

/// Why a connection ends.
enum End {
    /// The client closed it, or it failed.
    Gone,
    /// The server closes it, with a code and a reason.
    Close(u16, &'static str),
}

impl Connection {
    fn new(socket: WebSocket, client: Client) -> Self {
        let running = FuturesUnordered::new();
        Self { socket, client, running, outstanding: 0, unanswered_pings: 0 }
    }

    async fn serve(mut self) {
        if let End::Close(code, reason) = self.exchange().await {
            // The calls end before the close frame is sent.
            self.running.clear();
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            let _ = self.send(Frame::Close(Some(frame))).await;
        }
    }

    async fn exchange(&mut self) -> End {
        let mut pings = interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let most = self.client.application.settings().max_outstanding;
        let mut ended = pin!(OptionFuture::from(self.client.principal.ended()));
        loop {
            let step = tokio::select! {
                frame = self.socket.recv(), if self.outstanding < most => match frame {
                    Some(Ok(frame)) => self.receive(frame).await,
                    Some(Err(error)) => Err(refusal(&error)),
                    None => Err(End::Gone),
                },
                Some((count, text)) = self.running.next(), if !self.running.is_empty() => {
                    self.outstanding -= count;
                    self.send_text(text).await
                },
                _ = pings.tick() => self.ping(most).await,
                Some(_) = &mut ended => {
                    let reason = "the token was revoked or has expired";
                    Err(End::Close(close_code::POLICY, reason))
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn receive(&mut self, frame: Frame) -> Result<(), End> {
        self.unanswered_pings = 0;
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(_) => {
                let reason = "expected JSON-RPC in text frames";
                return Err(End::Close(close_code::UNSUPPORTED, reason));
            }
            // Answered by the library.
            Frame::Ping(_) | Frame::Pong(_) => return Ok(()),
            Frame::Close(_) => return Err(End::Gone),
        };
        let max_batch = self.client.application.settings().max_batch;
        let message = match request::read(text.as_bytes(), max_batch) {
            Ok(message) => message,
            Err(problem) => return self.send_text(Some(response::of_message(problem))).await,
        };
        let count = match &message {
            Message::Single(_) => 1,
            Message::Batch(requests) => requests.len(),
        };
        self.outstanding += count;
        let running = self.client.clone().run(message).map(move |text| (count, text));
        self.running.push(running.boxed());
        Ok(())
    }

    async fn ping(&mut self, most: usize) -> Result<(), End> {
        // While the server does not read, it cannot receive the responses to its pings.
        if self.outstanding >= most {
            return Ok(());
        }
        if self.unanswered_pings >= 2 {
            return Err(End::Gone);
        }
        self.unanswered_pings += 1;
        self.send(Frame::Ping(Vec::new().into())).await
    }

    async fn send_text(&mut self, text: Option<Vec<u8>>) -> Result<(), End> {
        // Responses are JSON, which is UTF-8.
        let text = text.and_then(|text| Utf8Bytes::try_from(text).ok());
        match text {
            Some(text) => self.send(Frame::Text(text)).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), End> {
        match timeout(SEND_TIMEOUT, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// How the connection ends after an error of reading: with the code that the protocol has for it.
fn refusal(error: &axum::Error) -> End {
    use tungstenite::Error;
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    match source {
        Some(Error::Capacity(_)) => End::Close(close_code::SIZE, "the message is too large"),
        Some(Error::Utf8(_)) => End::Close(close_code::INVALID, "the text is not UTF-8"),
        Some(Error::Protocol(_)) => End::Close(close_code::PROTOCOL, "the frame is invalid"),
        _ => End::Gone,
    }
}
