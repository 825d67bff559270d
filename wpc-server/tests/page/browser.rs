//! A browser, controlled over the WebDriver protocol. Of the clients on crates.io, the usual ones depend on a crate under the
//! MPL, and the few commands that the tests need are requests with JSON.

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails: long, because machines are busy.
const TIMEOUT: Duration = Duration::from_secs(180);

/// One browser at a time: several would compete for the same cores, and each takes hundreds of megabytes.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A browser with one page. Its drop ends it.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
    _profile: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// What the keyboard sends, as the protocol names it.
pub(crate) mod key {
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const DOWN: &str = "\u{e015}";
}

/// Starts ChromeDriver at a free port. It chooses a port for IPv4, and ends if another process has the same port for IPv6. Then it is started
/// again.
fn start_driver(program: &OsStr) -> std::io::Result<(Child, u16)> {
    for _ in 0..20 {
        let mut driver = Command::new(program)
            .args(["--port=0", "--log-level=SEVERE"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("successfully on port ")?;
            rest.trim_end_matches('.').parse::<u16>().ok()
        });
        if let Some(port) = port {
            // ChromeDriver would block if the rest of its output were not read.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((driver, port));
        }
        driver.wait()?;
    }
    Err(std::io::Error::other("it ends without printing its port"))
}

impl Browser {
    /// Starts a browser; `None` if this machine has none.
    pub(crate) fn start() -> Option<Self> {
        Self::with_window(1440, 1000)
    }

    /// Starts a browser whose window has this size.
    pub(crate) fn with_window(width: u32, height: u32) -> Option<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let program = std::env::var_os("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into());
        let (driver, port) = match start_driver(&program) {
            Ok(started) => started,
            Err(error) if std::env::var_os("WPC_EVERY_BROWSER").is_none() => {
                eprintln!("skipped: no ChromeDriver: {error}");
                return None;
            }
            Err(error) => panic!("failed to start {}: {error}", program.display()),
        };
        let profile = tempfile::tempdir().unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT * 2))
            .build();
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            agent: agent.into(),
            _profile: profile,
            _turn: turn,
        };
        let created = browser.command("", browser.capabilities(width, height));
        let id = created["sessionId"].as_str().expect("the session has a number").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    fn capabilities(&self, width: u32, height: u32) -> Value {
        let profile = self._profile.path().display();
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--lang=en-US".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={profile}"),
        ];
        json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } })
    }

    fn command(&self, path: &str, body: Value) -> Value {
        let body = serde_json::to_vec(&body).unwrap();
        let url = format!("{}{path}", self.session);
        let request = self.agent.post(url).header("content-type", "application/json");
        let mut answer = request.send(&body).unwrap();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert!(answer["value"]["error"].is_null(), "{path}: {text}");
        answer["value"].take()
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("/url", json!({ "url": url }));
    }

    /// Runs a script in the page and returns what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until the script returns a value that is true.
    pub(crate) fn wait_for(&self, what: &str, script: &str) {
        self.wait_while(what, script, || std::thread::sleep(Duration::from_millis(50)));
    }

    /// The same, and does something again and again until then.
    pub(crate) fn wait_while(&self, what: &str, script: &str, mut act: impl FnMut()) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let found = self.run(script);
            if found.as_bool().unwrap_or(!found.is_null()) {
                return;
            }
            if Instant::now() > deadline {
                let text = self.run("return document.body.innerText");
                panic!(
                    "waited for: {what}\n{}\n{:?}",
                    text.as_str().unwrap_or_default(),
                    self.console()
                );
            }
            act();
        }
    }

    /// Waits until an element contains a text.
    pub(crate) fn wait_for_text(&self, selector: &str, text: &str) {
        let [selector_json, text_json] = [selector, text].map(|value| json!(value).to_string());
        self.wait_for(
            &format!("{selector} contains {text:?}"),
            &format!(
                "const node = document.querySelector({selector_json}); \
                 return node !== null && node.textContent.includes({text_json})"
            ),
        );
    }

    /// The text of an element.
    pub(crate) fn text(&self, selector: &str) -> String {
        let selector = json!(selector);
        let script = format!("return document.querySelector({selector})?.textContent ?? ''");
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Presses keys, one after another, wherever the focus is.
    pub(crate) fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                let key = key.to_string();
                [
                    json!({ "type": "keyDown", "value": key }),
                    json!({ "type": "keyUp", "value": key }),
                ]
            })
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("/actions", json!({ "actions": [keyboard] }));
    }

    /// Presses Tab until the element that the script's expression `is_it` accepts as `node` has the focus.
    pub(crate) fn tab_to(&self, what: &str, is_it: &str) {
        for _ in 0..60 {
            let script = format!("const node = document.activeElement; return Boolean({is_it})");
            if self.run(&script) == true {
                return;
            }
            self.press(key::TAB);
        }
        panic!("Tab does not lead to {what}");
    }

    /// What the console has reported since the last time: errors, and violations of the policy.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.command("/se/log", json!({ "type": "browser" }));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// Chooses what the page finds as the user's preference.
    pub(crate) fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        let params = json!({ "media": "", "features": [feature] });
        self.command(
            "/goog/cdp/execute",
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": params }),
        );
    }

    /// A picture of the window as PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        use base64::Engine as _;
        let url = format!("{}/screenshot", self.session);
        let mut answer = self.agent.get(url).call().unwrap();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let image = answer["value"].as_str().expect("the picture is text");
        base64::prelude::BASE64_STANDARD.decode(image).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; a killed driver would leave it running.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
