//! A running engine with the recorded pack, and the ways to call it.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The recordings of StackStorm 3.9 and the pack they were made with.
pub fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/stackstorm-3.9")
}

/// The engine's executable.
pub fn engine() -> Command {
    Command::new(env!("CARGO_BIN_EXE_laas-engine"))
}

/// Pack, configuration and state of one engine that is not necessarily running.
pub struct Site {
    pub dir: TempDir,
    pub key: String,
}

impl Site {
    /// With the recorded pack and an API key.
    pub fn new() -> Site {
        let mut site = Site::without_key();
        site.key = site.create_key();
        site
    }

    /// With the recorded pack and nobody who may call.
    pub fn without_key() -> Site {
        let dir = tempfile::tempdir().unwrap();
        copy(&captures().join("pack"), &dir.path().join("packs/lab"));
        std::fs::create_dir(dir.path().join("configs")).unwrap();
        let config = "fog:\n  address: http://127.0.0.1:1/fog\n  api_key: s3cret\n";
        std::fs::write(dir.path().join("configs/lab.yaml"), config).unwrap();
        Site {
            dir,
            key: String::new(),
        }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Adds a file to the pack.
    pub fn add(&self, relative: &str, content: &str) {
        let path = self.path("packs/lab").join(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// Adds an action to the pack, its parameters in YAML, its executable a shell script.
    pub fn add_action(&self, name: &str, parameters: &str, script: &str) {
        let metadata = format!(
            "name: {name}\npack: lab\nrunner_type: local-shell-script\nentry_point: {name}.sh\nenabled: true\n\
             parameters: {parameters}\n"
        );
        self.add(&format!("actions/{name}.yaml"), &metadata);
        self.add(&format!("actions/{name}.sh"), &format!("#!/bin/sh\n{script}\n"));
    }

    /// Makes an API key through the command line.
    pub fn create_key(&self) -> String {
        let output = engine()
            .args(["key", "create", "--state"])
            .arg(self.path("state"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }

    /// Sets a password through the command line.
    pub fn set_password(&self, user: &str, password: &str) {
        let mut command = engine();
        command
            .args(["user", "set", user, "--state"])
            .arg(self.path("state"));
        let output = with_input(command, |stdin| writeln!(stdin, "{password}").unwrap());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// `laas-engine serve` as a command that is yet to be started.
    pub fn serve(&self, listen: &str) -> Command {
        let mut command = engine();
        command.arg("serve").arg("--pack").arg(self.path("packs"));
        command
            .arg("--config-dir")
            .arg(self.path("configs"))
            .arg("--state")
            .arg(self.path("state"));
        command.args(["--listen", listen]);
        command
    }

    pub fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// Starts the engine and waits until it says that it listens.
    pub fn start_with(&self, more: &[&str]) -> Server {
        let mut child = self
            .serve("127.0.0.1:0")
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("laas-engine listens on ")
            .unwrap_or_else(|| panic!("{line:?}"));
        Server {
            child,
            url: url.to_string(),
            key: self.key.clone(),
        }
    }
}

/// A running engine; killed when dropped.
pub struct Server {
    child: Child,
    pub url: String,
    key: String,
}

impl Server {
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A request with the API key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).header("St2-Api-Key", &self.key)
    }

    /// A request without any credential.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        let client = Client::builder()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        client.request(method, format!("{}{path}", self.url))
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path).send().unwrap())
    }

    pub fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(method, path).json(body).send().unwrap())
    }

    /// Runs an action and returns its execution when it has ended.
    pub fn run(&self, action: &str, parameters: Value) -> Value {
        let (status, started) = self.send(
            Method::POST,
            "/v1/executions",
            &json!({"action": action, "parameters": parameters}),
        );
        assert_eq!(status, 201, "{started}");
        self.wait_for(
            started["id"].as_str().unwrap(),
            &["succeeded", "failed", "timeout", "canceled"],
        )
    }

    /// Waits until the execution is in one of the states, and returns it.
    pub fn wait_for(&self, id: &str, states: &[&str]) -> Value {
        eventually(|| {
            let (_, execution) = self.get(&format!("/v1/executions/{id}"));
            states
                .contains(&execution["status"].as_str()?)
                .then_some(execution)
        })
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        // SAFETY: the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the command says when it refuses to start; it must not print anything on stdout.
pub fn refusal(mut command: Command) -> String {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id() as libc::pid_t;
    let (ended, wait) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output().unwrap()));
    let Ok(output) = wait.recv_timeout(Duration::from_secs(60)) else {
        // SAFETY: the thread still waits for the child, so the id is still its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        panic!("it has started");
    };
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(output.stdout.is_empty());
    why
}

/// Status and body, null when there is none.
pub fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(if text.is_empty() { Value::Null } else { text.into() }),
    )
}

/// What `look` finds, asked again and again for at most a minute.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the command with what `write` gives it on stdin.
pub fn with_input(mut command: Command, write: impl FnOnce(&mut ChildStdin)) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    write(&mut child.stdin.take().unwrap());
    child.wait_with_output().unwrap()
}

/// Copies a directory with everything below it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
