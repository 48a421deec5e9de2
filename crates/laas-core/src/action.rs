//! The action contract: one JSON document on stdout, logs on stderr, the exit code says what kind of end it was.

use crate::config::Config;
use crate::datastore::{Datastore, DatastoreError};
use crate::{Failure, Kind, env_vars, wait};

use serde::Serialize;
use serde_json::Value;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// How long a blocking call may still take after a cancel before the process ends without it.
/// Every step can run again, so ending in the middle of one loses nothing.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// How often a long-running action asks the engine whether it was cancelled
/// (StackStorm does not stop the process of a cancelled execution).
const CANCEL_POLL: Duration = Duration::from_secs(5);

/// What an action is made of: arguments, an output and `run`.
pub trait Action: clap::Args {
    /// Action name = YAML stem = binary = module.
    const NAME: &'static str;
    /// One sentence, the same as in the YAML.
    const ABOUT: &'static str;
    type Output: Serialize;

    /// Does it. What is returned is printed as the one document on stdout.
    ///
    /// # Errors
    /// A [`Failure`], whose kind becomes the exit code.
    fn run(self, context: &Context) -> Result<Self::Output, Failure>;
}

/// The pack around an action, read when first asked for.
#[derive(Default)]
pub struct Context {
    config: OnceLock<Config>,
    datastore: OnceLock<Datastore>,
}

impl Context {
    /// # Errors
    /// There is no configuration, or it does not fit the schema.
    pub fn config(&self) -> Result<&Config, Failure> {
        if self.config.get().is_none() {
            let _ = self.config.set(Config::load()?);
        }
        Ok(self.config.get_or_init(Config::default))
    }

    /// # Errors
    /// The environment names no datastore.
    pub fn datastore(&self) -> Result<&Datastore, Failure> {
        if self.datastore.get().is_none() {
            let found =
                Datastore::from_env().map_err(|e: DatastoreError| Failure::from(e).peer("datastore"))?;
            let _ = self.datastore.set(found);
        }
        self.datastore.get().ok_or_else(|| Failure::input("no datastore"))
    }

    /// The execution that this process is, if an engine runs it.
    pub fn execution(&self) -> Option<String> {
        std::env::var(env_vars::ST2_ACTION_EXECUTION_ID)
            .ok()
            .filter(|id| !id.is_empty())
    }
}

/// The clap command of an action, for `main` and for `cargo xtask check-pack`.
pub fn command<A: Action>() -> clap::Command {
    A::augment_args(
        clap::Command::new(A::NAME)
            .about(A::ABOUT)
            .version(env!("CARGO_PKG_VERSION")),
    )
}

/// The whole `main` of an action's executable.
pub fn main<A: Action>() -> ExitCode {
    start_log();
    let args = match command::<A>()
        .try_get_matches()
        .and_then(|m| A::from_arg_matches(&m))
    {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            let text = error.to_string();
            let first = text
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            return finish(&Failure::input(first).hint(format!("see `{} --help`", A::NAME)));
        }
    };
    watch_for_cancel();
    match args.run(&Context::default()) {
        Ok(output) => {
            print_document(&output);
            ExitCode::SUCCESS
        }
        Err(mut failure) => {
            if wait::stopped() {
                failure.kind = Kind::Cancelled;
            }
            finish(&failure)
        }
    }
}

/// Sets up the log on stderr, as much as `LAAS_LOG` asks for.
pub fn start_log() {
    let level = std::env::var(env_vars::LAAS_LOG)
        .ok()
        .and_then(|l| l.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .init();
}

fn finish(failure: &Failure) -> ExitCode {
    tracing::error!(peer = failure.peer, host = failure.host, "{failure}");
    print_document(failure);
    ExitCode::from(failure.kind as u8)
}

fn print_document(document: &impl Serialize) {
    use std::io::Write;
    let text = serde_json::to_value(document).map_or_else(
        |e| serde_json::json!({"error": format!("can't print the result: {e}")}).to_string(),
        |document| defused(document).to_string(),
    );
    // Nobody is left to tell when stdout is gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The document without anything that a workflow would take for an expression. StackStorm and Orquesta evaluate
/// what stands between these marks in the values that pass from step to step, and a tenant's key or an error page
/// must not read the datastore.
fn defused(document: Value) -> Value {
    match document {
        Value::String(text) => Value::String(defused_text(text)),
        Value::Array(items) => items.into_iter().map(defused).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (defused_text(key), defused(value)))
            .collect(),
        other => other,
    }
}

fn defused_text(mut text: String) -> String {
    for mark in ["{{", "{%", "{#", "<%"] {
        // `{{{` holds the mark again after the first pass.
        while text.contains(mark) {
            text = text.replace(mark, &format!("{} {}", &mark[..1], &mark[1..]));
        }
    }
    text
}

fn watch_for_cancel() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    match signal_hook::iterator::Signals::new([SIGTERM, SIGINT]) {
        Ok(mut signals) => {
            std::thread::spawn(move || {
                if signals.forever().next().is_some() {
                    wait::stop();
                    std::thread::sleep(CANCEL_GRACE);
                    print_document(&Failure::new(Kind::Cancelled, "cancelled"));
                    std::process::exit(Kind::Cancelled as i32);
                }
            });
        }
        Err(error) => tracing::warn!(%error, "a cancel will not be noticed"),
    }
    let Ok(execution) = std::env::var(env_vars::ST2_ACTION_EXECUTION_ID) else {
        return;
    };
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(CANCEL_POLL);
            let status = Datastore::from_env().and_then(|d| d.execution_status(&execution));
            if matches!(status.ok().flatten().as_deref(), Some("canceling" | "canceled")) {
                wait::stop();
                std::thread::sleep(CANCEL_GRACE);
                print_document(&Failure::new(Kind::Cancelled, "cancelled"));
                std::process::exit(Kind::Cancelled as i32);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_output_is_an_expression() {
        let printed = defused(json!({
            "key": "ssh-ed25519 AAAA {{ st2kv.system.token | decrypt_kv }}",
            "{{{{x": ["<% ctx() %>", "{% raw %}{{{", 17, null],
        }))
        .to_string();
        for mark in ["{{", "{%", "{#", "<%"] {
            assert!(!printed.contains(mark), "{printed}");
        }
        let plain = json!({"a": {"b": ["c", 1]}});
        assert_eq!(defused(plain.clone()), plain);
    }
}
