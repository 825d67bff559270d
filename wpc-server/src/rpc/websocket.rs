//! JSON-RPC over WebSocket.
//!
//! One task serves a connection. It takes the next message only while fewer calls are outstanding than the server accepts, so
//! that a client that sends faster than its calls complete is slowed down by TCP. A response is sent before the next one is
//! taken, and a client that does not read for a while is disconnected. So is one whose token was revoked or has expired, and one
//! that has opened the connection before a token was required. When the server stops, outstanding calls are finished first. The
//! end of the task cancels its outstanding calls.

use super::request;
use super::response;
use super::run::{Client, Submitted};
use crate::access::Principal;
use crate::application::Application;
use crate::body_memory::{HeldMessage, MessageMemory};
use crate::calls;
use crate::lifecycle::Stage;
use crate::problem::{Problem, ServerCode};
use crate::refusals::RefusalReason;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{
    CloseFrame, Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::future::{BoxFuture, FutureExt as _, OptionFuture};
use futures::sink::SinkExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// How often a ping is sent. A client that does not answer two pings is disconnected.
const PING: Duration = Duration::from_secs(30);

/// How long a client may take to receive a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take to close the connection after the server has closed its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many bytes of frames are buffered to be written together.
const WRITE_BUFFER: usize = 16 << 10;

/// How many bytes are read at once. Each connection has a buffer of this size.
const READ_BUFFER: usize = 8 << 10;

/// The code of a connection that is closed because of the load of the server (IANA's registry of close codes).
const TRY_AGAIN_LATER: u16 = 1013;

pub(super) async fn upgrade(
    State(application): State<Application>,
    principal: Principal,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Ok(upgrade) = upgrade else {
        let detail = "a GET request must be a WebSocket handshake; send requests of JSON-RPC with POST, or open a WebSocket";
        let problem = Problem::new(ServerCode::UpgradeRequired, detail);
        return Ok(([(header::UPGRADE, "websocket")], problem).into_response());
    };
    let client = Client::new(&application, principal, &request)?;
    let memory = request.extensions().get::<MessageMemory>().cloned();
    let limit = application.settings().max_body;
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
    let upgrade = upgrade.write_buffer_size(WRITE_BUFFER).read_buffer_size(READ_BUFFER);
    Ok(upgrade.on_upgrade(move |socket| Connection::new(socket, client, memory).serve()))
}

/// A running message: its number of requests, and its response.
type Running = BoxFuture<'static, (usize, Option<Vec<u8>>)>;

struct Connection {
    socket: WebSocket,
    client: Client,
    /// Counts the memory of messages. `None` if the application serves the router itself, without a `Server`, which would limit
    /// the memory of its connections.
    memory: Option<MessageMemory>,
    running: FuturesUnordered<Running>,
    /// The number of requests in `running`.
    outstanding: usize,
    /// Pings since the client last sent anything.
    unanswered_pings: u32,
}

/// Why a connection ends.
enum End {
    /// It failed.
    Gone,
    /// The client closed it.
    ByClient,
    /// The server closes it, with a code and a reason.
    Close(u16, &'static str),
}

impl Connection {
    fn new(socket: WebSocket, client: Client, memory: Option<MessageMemory>) -> Self {
        let running = FuturesUnordered::new();
        Self { socket, client, memory, running, outstanding: 0, unanswered_pings: 0 }
    }

    async fn serve(mut self) {
        let end = self.exchange().await;
        // The calls end before the close frame is sent.
        self.running.clear();
        match end {
            End::Gone => {}
            // The library has a close frame to send.
            End::ByClient => drop(self.flush().await),
            End::Close(code, reason) => {
                self.count(code);
                let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
                if self.send(Frame::Close(Some(frame))).await.is_ok() {
                    // Dropped at once, with bytes of the client that were not read, the system would discard the frame.
                    let closed = async { while let Some(Ok(_)) = self.socket.recv().await {} };
                    let _ = timeout(CLOSE_TIMEOUT, closed).await;
                }
            }
        }
    }

    /// Counts a connection that is closed because of its client.
    fn count(&self, code: u16) {
        // A missing or expired token is not a protocol violation, nor is a server shutdown. Memory exhaustion was counted where it was
        // detected.
        if !matches!(code, close_code::AWAY | close_code::POLICY | TRY_AGAIN_LATER) {
            let client = self.memory.as_ref().and_then(MessageMemory::client);
            let refusals = self.client.application.traffic().refusals();
            refusals.refuse(RefusalReason::WebSocket, client);
        }
    }

    async fn exchange(&mut self) -> End {
        let mut pings = interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let most = self.client.application.settings().max_outstanding;
        let lifecycle = self.client.application.lifecycle().clone();
        let mut stopping = pin!(lifecycle.entered(Stage::Draining));
        let mut is_stopping = false;
        let mut ended = pin!(OptionFuture::from(self.client.principal.ended()));
        loop {
            if is_stopping && self.running.is_empty() {
                return End::Close(close_code::AWAY, "the server is stopping");
            }
            let step = tokio::select! {
                Some(_) = &mut ended => {
                    let reason = "the token was revoked or has expired, or a token is required now";
                    Err(End::Close(close_code::POLICY, reason))
                }
                () = &mut stopping, if !is_stopping => {
                    is_stopping = true;
                    Ok(())
                }
                frame = self.socket.recv(), if self.outstanding < most && !is_stopping => match frame {
                    Some(Ok(frame)) => self.receive(frame).await,
                    Some(Err(error)) => Err(refusal(&error)),
                    None => Err(End::Gone),
                },
                Some((count, text)) = self.running.next(), if !self.running.is_empty() => {
                    self.outstanding -= count;
                    self.send_text(text).await
                },
                _ = pings.tick() => self.ping(self.outstanding < most && !is_stopping).await,
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
            Frame::Ping(payload) => {
                self.received_control(payload.len());
                // The library answers it. A client that does not read the answers must not fill its buffer.
                return self.flush().await;
            }
            Frame::Pong(payload) => {
                self.received_control(payload.len());
                return Ok(());
            }
            Frame::Close(_) => return Err(End::ByClient),
        };
        let held = self.memory.as_ref().map(|memory| memory.complete(text.len()));
        let max_batch = self.client.application.settings().max_batch;
        let submit = || {
            let message = request::read(text.as_bytes(), max_batch);
            message.map(|message| self.client.submit(message))
        };
        let is_large = text.len() >= calls::LARGE;
        let submitted = if is_large { calls::convert_large(submit).await } else { submit() };
        match submitted {
            Ok(submitted) => {
                drop(text);
                self.begin(submitted, held);
                Ok(())
            }
            Err(problem) => self.send_text(Some(response::of_message(problem))).await,
        }
    }

    fn received_control(&self, payload: usize) {
        if let Some(memory) = &self.memory {
            memory.control(payload);
        }
    }

    fn begin(&mut self, submitted: Submitted, held: Option<HeldMessage>) {
        let count = submitted.count();
        self.outstanding += count;
        let running = submitted.answer().map(move |text| {
            drop(held);
            (count, text)
        });
        self.running.push(running.boxed());
    }

    /// Sends a ping. While the server does not read, it cannot receive the answer, but it learns of a client that is gone.
    async fn ping(&mut self, reads: bool) -> Result<(), End> {
        if reads {
            if self.unanswered_pings >= 2 {
                return Err(End::Gone);
            }
            self.unanswered_pings += 1;
        }
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

    async fn flush(&mut self) -> Result<(), End> {
        match timeout(SEND_TIMEOUT, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// How the connection ends after a read error: with the code that the protocol has for it.
fn refusal(error: &axum::Error) -> End {
    use tungstenite::Error;
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    match source {
        Some(Error::Capacity(_)) => End::Close(close_code::SIZE, "the message is too large"),
        Some(Error::Utf8(_)) => End::Close(close_code::INVALID, "the text is not UTF-8"),
        Some(Error::Protocol(_)) => End::Close(close_code::PROTOCOL, "the frame is invalid"),
        // Limits of the connection's messages.
        Some(Error::Io(error)) if error.kind() == ErrorKind::FileTooLarge => {
            End::Close(close_code::SIZE, "the message has too many frames")
        }
        Some(Error::Io(error)) if error.kind() == ErrorKind::OutOfMemory => End::Close(
            TRY_AGAIN_LATER,
            "the bodies and messages of all clients take too much memory",
        ),
        _ => End::Gone,
    }
}
