//! The pack on the embedded engine, as an operator would run it: a child process, an API key, loaded keys.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::loopback::free_address;

/// A key of the datastore to load at the start.
#[derive(Debug, Clone)]
pub struct Key {
    pub name: String,
    pub value: String,
    /// Stored encrypted.
    pub secret: bool,
}

/// What is run.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The pack's directory, its executables in `actions/bin`.
    pub pack: PathBuf,
    /// The executable `laas-engine`.
    pub engine: PathBuf,
    /// Where the engine keeps its state, and the place of its log, `engine.log`.
    pub state: PathBuf,
    /// The text of `laas.yaml`.
    pub config: String,
    pub keys: Vec<Key>,
}

/// A running engine with the pack. Its children die with it.
pub struct Stack {
    options: StackOptions,
    address: SocketAddr,
    api_key: String,
    http: reqwest::Client,
    engine: Option<Child>,
}

impl Stack {
    /// Starts the engine, loads the keys and starts the sensor.
    ///
    /// # Errors
    /// The engine refuses the pack, its configuration or a key.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(options.state.join("configs"))?;
        std::fs::create_dir_all(options.state.join("locks"))?;
        let config = options.state.join("configs/laas.yaml");
        std::fs::write(&config, &options.config)?;
        // It stays the same over restarts: what the engine started knows it.
        let address = free_address()?;
        let made = Command::new(&options.engine)
            .args(["key", "create", "--state"])
            .arg(options.state.join("engine"))
            .output()
            .await
            .with_context(|| format!("can't run `{}`", options.engine.display()))?;
        ensure!(
            made.status.success(),
            "no API key: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let api_key = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()?;
        let mut stack = Self {
            options,
            address,
            api_key,
            http,
            engine: None,
        };
        stack.start_engine(false).await?;
        for key in stack.options.keys.clone() {
            let body = json!({"name": key.name, "value": key.value, "secret": key.secret, "scope": "system"});
            stack
                .call(reqwest::Method::PUT, &format!("keys/{}", key.name), Some(body))
                .await?;
        }
        stack.stop_engine().await?;
        stack.start_engine(true).await?;
        Ok(stack)
    }

    /// Starts the engine again after [`Stack::kill_engine`] or [`Stack::stop_engine`].
    ///
    /// # Errors
    /// It does not listen.
    pub async fn start_engine(&mut self, sensors: bool) -> anyhow::Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut command = Command::new(&self.options.engine);
        command
            .arg("serve")
            .arg("--pack")
            .arg(&self.options.pack)
            .arg("--config-dir")
            .arg(self.options.state.join("configs"))
            .arg("--state")
            .arg(self.options.state.join("engine"))
            .args(["--listen", &self.address.to_string()])
            .arg("--unnoticed")
            .arg(self.unnoticed())
            .args(sensors.then_some("--sensors"))
            .env("LAAS_LOCK_DIR", self.options.state.join("locks"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let Ok(Ok(Some(_))) = line else {
            let _ = child.kill().await;
            bail!("the engine does not listen:\n{}", tail(&self.log()));
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.engine = Some(child);
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not end within a minute.
    pub async fn stop_engine(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.engine.take() else {
            return Ok(());
        };
        if let Some(pid) = child.id() {
            signal(pid, libc::SIGTERM);
        }
        if tokio::time::timeout(Duration::from_secs(60), child.wait())
            .await
            .is_err()
        {
            child.kill().await?;
            bail!("the engine did not end on SIGTERM:\n{}", tail(&self.log()));
        }
        Ok(())
    }

    /// SIGKILL, as a crash.
    ///
    /// # Errors
    /// The operating system refuses.
    pub async fn kill_engine(&mut self) -> io::Result<()> {
        match self.engine.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// SIGKILL of an action's process whose end the engine does not notice, as StackStorm's API answers when the action
    /// runner is killed with it: its execution stays `running`.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill_unnoticed(&self, process: u32) -> io::Result<()> {
        std::fs::create_dir_all(self.unnoticed())?;
        std::fs::write(self.unnoticed().join(process.to_string()), "")?;
        signal(process, libc::SIGKILL);
        Ok(())
    }

    fn unnoticed(&self) -> PathBuf {
        self.options.state.join("unnoticed")
    }

    /// The engine's process, for measurements.
    pub fn engine_pid(&self) -> Option<u32> {
        self.engine.as_ref().and_then(Child::id)
    }

    /// What the `st2` client is told to reach the engine.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let base = format!("http://{}", self.address);
        [
            ("ST2_API_URL", format!("{base}/v1")),
            ("ST2_AUTH_URL", format!("{base}/auth/v1")),
            ("ST2_API_KEY", self.api_key.clone()),
        ]
    }

    /// The engine's log file.
    pub fn log(&self) -> PathBuf {
        self.options.state.join("engine.log")
    }

    /// One call of the engine's API below `/v1/`.
    ///
    /// # Errors
    /// No answer, or an HTTP error, whose text is told.
    pub async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let url = format!("http://{}/v1/{path}", self.address);
        let mut request = self
            .http
            .request(method, &url)
            .header("St2-Api-Key", &self.api_key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "`{path}` answered {status}: {text}");
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&text)?)
        }
    }

    /// All executions, oldest first, without the parts that only `st2` needs.
    ///
    /// # Errors
    /// As [`Stack::call`].
    pub async fn executions(&self) -> anyhow::Result<Vec<Value>> {
        let path = "executions?limit=-1&sort_asc=true&exclude_attributes=runner,trigger,trigger_type,rule";
        match self.call(reqwest::Method::GET, path, None).await? {
            Value::Array(executions) => Ok(executions),
            other => bail!("no list of executions: {other}"),
        }
    }

    /// Runs an action to its end and returns its execution.
    ///
    /// # Errors
    /// As [`Stack::call`], or it takes longer than two minutes.
    pub async fn run(&self, action: &str, parameters: Value) -> anyhow::Result<Value> {
        let body = json!({"action": action, "parameters": parameters});
        let started = self.call(reqwest::Method::POST, "executions", Some(body)).await?;
        let id = started["id"]
            .as_str()
            .context("an execution without id")?
            .to_owned();
        for _ in 0..1200 {
            let execution = self
                .call(reqwest::Method::GET, &format!("executions/{id}"), None)
                .await?;
            if is_over(&execution) {
                return Ok(execution);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("`{action}` has not ended within two minutes")
    }
}

/// Whether an execution has reached its last state.
pub fn is_over(execution: &Value) -> bool {
    let status = execution["status"].as_str().unwrap_or_default();
    matches!(
        status,
        "succeeded" | "failed" | "timeout" | "abandoned" | "canceled"
    )
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill takes two integers and touches no memory of ours.
        unsafe { libc::kill(pid, signal) };
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
