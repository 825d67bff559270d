//! A client that sends any bytes.

use crate::harness::Running;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A connection to a server.
pub(crate) struct Connection(pub(crate) TcpStream);

/// Longer than anything takes, so that only a hang reaches it.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Connection {
    pub(crate) fn open(server: &Running) -> Self {
        let address = server.url.split("//").nth(1).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads one answer with a content length: its head in lower case, and its body.
    pub(crate) fn answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// What the server still sends before it closes the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            // The server closed it before it had read all that was sent.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            read => drop(read.unwrap()),
        }
        String::from_utf8(bytes).unwrap().to_ascii_lowercase()
    }
}

/// A request that calls `add`.
pub(crate) fn add(headers: &str) -> String {
    let body = "[40, 2]";
    format!(
        "POST /v1/functions/add/call HTTP/1.1\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
