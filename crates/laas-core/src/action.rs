//! The action contract: one JSON document on stdout, logs on stderr, the exit code says what kind of end it was.

use crate::config::Config;
use crate::datastore::{Datastore, DatastoreError};
use crate::heartbeat::Heartbeat;
use crate::names::legible;
use crate::wait::{self, Stop};
use crate::{Failure, Kind, env_vars};

use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a blocking call may still take after a cancel before the process ends without it.
/// Every step can run again, so ending in the middle of one loses nothing.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// How long an engine that has sent a signal is waited for when it is asked whether that is a cancel: it also stops
/// its actions at a timeout, and when it is stopped itself and no longer answers.
const SIGNAL_ASK: Duration = Duration::from_secs(2);

/// Of what is wrong with the arguments, in characters: a value that can't be taken is repeated in it.
const LONGEST_MISUSE: usize = 400;

/// Of a terminal, in columns.
const HELP_WIDTH: usize = 80;

/// Of an error, in characters: nobody reads more.
const LONGEST_ERROR: usize = 4000;

/// What an action is made of: arguments, an output and `run`.
pub trait Action: clap::Args {
    /// Action name = YAML stem = binary = module.
    const NAME: &'static str;
    /// One sentence, the same as in the YAML.
    const ABOUT: &'static str;
    /// The arguments of a call that a person would make, for `--help`.
    const EXAMPLE: &'static [&'static str];
    type Output: Serialize;

    /// Does it. What is returned is printed as the one document on stdout.
    ///
    /// # Errors
    /// A [`Failure`], whose kind becomes the exit code.
    fn run(self, context: &Context) -> Result<Self::Output, Failure>;

    /// For an action that judges: the exit code of an output that is printed like any other and is bad news.
    fn verdict(_output: &Self::Output) -> Option<Kind> {
        None
    }
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
    /// The environment names no datastore, and none was found.
    pub fn datastore(&self) -> Result<&Datastore, Failure> {
        if self.datastore.get().is_none() {
            let (found, place) =
                Datastore::find().map_err(|e: DatastoreError| Failure::from(e).peer("datastore"))?;
            if let Some(place) = place {
                tracing::info!(datastore = place, "found");
            }
            let _ = self.datastore.set(found);
        }
        self.datastore.get().ok_or_else(|| Failure::input("no datastore"))
    }

    /// The execution that this process is, if an engine runs it.
    pub fn execution(&self) -> Option<String> {
        execution()
    }
}

/// The execution that this process is, if an engine runs it.
pub fn execution() -> Option<String> {
    std::env::var(env_vars::ST2_ACTION_EXECUTION_ID)
        .ok()
        .filter(|id| !id.is_empty())
}

/// The clap command of an action, for `main` and for `cargo xtask check-pack`.
pub fn command<A: Action>() -> clap::Command {
    let command = clap::Command::new(A::NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(example(A::NAME, A::EXAMPLE))
        .max_term_width(HELP_WIDTH);
    // How an engine passes JSON is no business of a person at a shell.
    let of_engine = |arg: &clap::Arg| arg.get_default_values().iter().any(|value| value.is_empty());
    // What is flattened into the arguments must not say what the action is about.
    let command = A::augment_args(command).about(A::ABOUT).long_about(None);
    command.mut_args(|arg| {
        let hide_default = of_engine(&arg);
        arg.hide_env(true).hide_default_value(hide_default)
    })
}

/// What the action says that it would do with these arguments.
///
/// # Errors
/// It would fail, as far as it can know without a change.
pub fn dry_run<A: Action>(context: &Context, args: &[String]) -> Result<A::Output, Failure> {
    let args = args.iter().map(String::as_str).chain(["--dry_run"]);
    let command = command::<A>().no_binary_name(true);
    let parsed = command
        .try_get_matches_from(args)
        .and_then(|m| A::from_arg_matches(&m));
    parsed
        .map_err(|error| misuse::<A>(&error.to_string()))?
        .run(context)
}

/// The same call by hand and through an engine.
fn example(name: &str, args: &[&str]) -> String {
    let quoted = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/@%+".contains(c);
        match text.split_once('=') {
            _ if text.chars().all(is_plain) => text.to_owned(),
            Some((key, value)) => format!("{key}='{value}'"),
            None => format!("'{text}'"),
        }
    };
    let by_hand = args.iter().map(|arg| quoted(arg));
    let by_engine = args.iter().map(|arg| {
        let arg = arg.trim_start_matches("--");
        match arg.contains('=') {
            true => quoted(arg),
            false => format!("{arg}=true"),
        }
    });
    format!(
        "Example:\n  {}\n  {}\n\nBy hand it reads the configuration from `{}`, from /opt/stackstorm/configs/laas.yaml or \
         from ./laas.yaml, and takes the datastore that `{}` names, that of your `st2` client, or ./hosts.json; it logs \
         which it found.",
        shell_line(name.to_owned(), by_hand),
        shell_line(format!("st2 run laas.{name}"), by_engine),
        env_vars::LAAS_CONFIG_FILE,
        env_vars::LAAS_DATASTORE,
    )
}

/// A command that goes on in the next line where it gets too long.
fn shell_line(command: String, words: impl Iterator<Item = String>) -> String {
    let mut lines = vec![command];
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() + " \\".len() < HELP_WIDTH - "  ".len() => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.join(" \\\n  ")
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
        Err(error) => return finish(misuse::<A>(&error.to_string())),
    };
    watch_for_signals();
    let heartbeat =
        execution().and_then(|execution| Heartbeat::begin(&execution, |why| end(why, Instant::now())));
    let code = match args.run(&Context::default()) {
        Ok(output) => {
            print_document(&output);
            A::verdict(&output).map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind as u8))
        }
        Err(mut failure) => {
            if let Some(why) = wait::stopped() {
                failure.kind = why.kind();
                failure.error = format!("{why}: {}", failure.error);
            }
            finish(failure)
        }
    };
    if let Some(heartbeat) = heartbeat {
        heartbeat.stop();
    }
    code
}

/// What clap says of the arguments, as one line; the values that it would take are the hint.
fn misuse<A: Action>(said: &str) -> Failure {
    // Usage and tips follow.
    let said = said.split("\n\n").next().unwrap_or_default();
    let (said, hint) = match said.split_once("\n  [possible values: ") {
        Some((said, values)) => (said, format!("possible values: {}", values.trim_end_matches(']'))),
        None => (said, format!("see `{} --help`", A::NAME)),
    };
    let words: Vec<_> = said.trim_start_matches("error: ").split_whitespace().collect();
    Failure::input(legible(&words.join(" "), LONGEST_MISUSE)).hint(hint)
}

/// Sets up the log on stderr, as much as `LAAS_LOG` asks for. An event is one line there, without anything that a
/// workflow would take for an expression: results travel through workflows with their stderr.
pub fn start_log() {
    let level = std::env::var(env_vars::LAAS_LOG)
        .ok()
        .and_then(|l| l.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .with_writer(|| LogLine(io::stderr()))
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .init();
}

fn finish(mut failure: Failure) -> ExitCode {
    // Whatever it quotes.
    failure.error = legible(&failure.error, LONGEST_ERROR);
    tracing::error!(
        peer = failure.peer,
        host = failure.host,
        hint = failure.hint,
        "{}",
        failure.error
    );
    print_document(&failure);
    ExitCode::from(failure.kind as u8)
}

/// Gets an event with each write.
struct LogLine<W>(W);

impl<W: Write> Write for LogLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = String::with_capacity(text.len());
        for c in text.trim_end_matches('\n').chars() {
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        let mut line = defused_text(line);
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn print_document(document: &impl Serialize) {
    let text = serde_json::to_value(document).map_or_else(
        |e| serde_json::json!({"error": format!("can't print the result: {e}")}).to_string(),
        |document| defused(document).to_string(),
    );
    // Nobody is left to tell when stdout is gone.
    let _ = writeln!(io::stdout(), "{text}");
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

fn watch_for_signals() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let execution = execution();
    match signal_hook::iterator::Signals::new([SIGTERM, SIGINT]) {
        Ok(mut signals) => {
            std::thread::spawn(move || {
                if signals.forever().next().is_some() {
                    let noticed = Instant::now();
                    // A person who presses Ctrl-C means it.
                    let is_cancelled = execution.is_none_or(is_cancelled_now);
                    let why = if is_cancelled {
                        Stop::Cancelled
                    } else {
                        Stop::Signal
                    };
                    end(why, noticed);
                }
            });
        }
        Err(error) => tracing::warn!(%error, "a cancel will not be noticed"),
    }
}

/// Ends every wait, and the process if that is not enough.
fn end(why: Stop, noticed: Instant) -> ! {
    wait::stop(why);
    std::thread::sleep(CANCEL_GRACE.saturating_sub(noticed.elapsed()));
    print_document(&Failure::new(why.kind(), why.to_string()));
    std::process::exit(why.kind() as i32)
}

fn is_cancelled(execution: &str) -> bool {
    let status = Datastore::from_env().and_then(|d| d.execution_status(execution));
    matches!(status.ok().flatten().as_deref(), Some("canceling" | "canceled"))
}

/// As [`is_cancelled`], and false if the engine is gone itself.
fn is_cancelled_now(execution: String) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(is_cancelled(&execution)));
    told.recv_timeout(SIGNAL_ASK).unwrap_or(false)
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

    #[test]
    fn no_event_is_an_expression_or_a_second_line() {
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || LogLine(Shared(writer.clone())))
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let said = "{{ st2kv.system.token }} {% raw %} {#\n{\"error\": \"forged\"}\r\u{1b}[2J\u{85}ä";
            tracing::error!(host = said, "{said} <% ctx() %>");
            tracing::error!("second");
        });
        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        assert_eq!(log.lines().count(), 2, "{log:?}");
        assert!(log.contains('ä') && log.ends_with("second\n"), "{log:?}");
        for mark in ["{{", "{%", "{#", "<%"] {
            assert!(!log.contains(mark), "{log:?}");
        }
        assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    }
}
