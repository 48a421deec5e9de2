//! The pack around an action: a configuration, a datastore file, and the action's real executable.

use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Pack {
    dir: TempDir,
    pub config: Value,
    /// What else the actions find in their environment.
    pub env: Vec<(&'static str, String)>,
}

/// An action at work; killed when dropped.
pub struct Running(Child);

/// How an action ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    /// The one document on stdout; `null` if there is none.
    pub document: Value,
    pub stderr: String,
}

impl Pack {
    /// `keys` are stored as their JSON text, as `hosts.json` has them.
    pub fn new(config: Value, keys: &[(&str, Value)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = Vec::new();
        let pack = Self { dir, config, env };
        for (key, value) in keys {
            pack.set_key(key, value);
        }
        pack
    }

    pub fn keys(&self) -> Vec<(String, Value)> {
        let text = std::fs::read_to_string(self.datastore()).unwrap_or_else(|_| "[]".into());
        let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
        let pair = |entry: &Value| {
            let text = entry["value"].as_str().unwrap();
            let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            (entry["name"].as_str().unwrap().to_owned(), value)
        };
        entries.iter().map(pair).collect()
    }

    /// `null` if there is none.
    pub fn key(&self, name: &str) -> Value {
        let found = self.keys().into_iter().find(|(key, _)| key == name);
        found.map_or(Value::Null, |(_, value)| value)
    }

    pub fn set_key(&self, name: &str, value: &Value) {
        let mut keys = self.keys();
        keys.retain(|(key, _)| key != name);
        if !value.is_null() {
            keys.push((name.to_owned(), value.clone()));
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let entries: Vec<_> = keys
            .iter()
            .map(|(key, value)| json!({"name": key, "value": text(value)}))
            .collect();
        std::fs::write(self.datastore(), json!(entries).to_string()).unwrap();
    }

    pub fn start(&self, executable: &str, args: &[&str]) -> Running {
        // Nobody is asked whether the host is booked by a step of its booking, which these tests try one by one.
        let name = std::path::Path::new(executable).file_name().unwrap();
        let is_guarded = |command: &clap::Command| {
            let mut args = command.get_arguments();
            name == command.get_name() && args.any(|arg| arg.get_id() == "booked")
        };
        let booked = laas_actions::commands().iter().any(is_guarded);
        let child = Command::new(executable)
            .args(args)
            .args(booked.then_some("--booked"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("LAAS_CONFIG", self.config.to_string())
            .env("LAAS_DATASTORE", self.datastore())
            .env("LAAS_LOCK_DIR", self.dir.path().join("locks"))
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running(child)
    }

    pub fn run(&self, executable: &str, args: &[&str]) -> Ended {
        self.start(executable, args).end()
    }

    fn datastore(&self) -> std::path::PathBuf {
        self.dir.path().join("datastore.json")
    }
}

impl Running {
    pub fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let pipes = (self.0.stdout.take().unwrap(), self.0.stderr.take().unwrap());
        std::thread::scope(|scope| {
            use std::io::Read;
            let (mut out, mut err) = pipes;
            let stderr = &mut stderr;
            scope.spawn(move || err.read_to_string(stderr).unwrap());
            out.read_to_string(&mut stdout).unwrap();
        });
        let code = self.0.wait().unwrap().code();
        let document = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        Ended {
            code,
            document,
            stderr,
        }
    }

    /// Waits until it has logged these words.
    pub fn hear(&mut self, words: &str) {
        use std::io::Read;
        let log = self.0.stderr.as_mut().unwrap();
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(words) {
            let mut byte = [0];
            let read = log.read(&mut byte).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend(byte);
        }
    }

    /// Nobody reads any more what it says.
    pub fn do_not_listen(&mut self) {
        self.0.stdout = None;
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// As StackStorm's host does when it loses power.
    pub fn kill(self) {
        drop(self);
    }

    /// As a person at a shell does with Ctrl-C, and an engine that wants it to end.
    pub fn interrupt(&self) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    /// The document of an action that succeeded.
    pub fn done(self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.document
    }

    /// The document of an action that failed with this exit code.
    pub fn failed(self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.document["error"].is_string(), "{self:?}");
        self.document
    }
}

/// Waits for something that will happen, however slow the machine is.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let ends = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < ends, "{what} did not happen");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
