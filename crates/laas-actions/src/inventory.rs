//! The lab's inventory as a person writes it, and as the datastore has it.

mod files;
mod lab;
mod schema;
mod tree;

pub use lab::{Entry, Lab};

use laas_core::action::{Action, Context};
use laas_core::datastore::Datastore;
use laas_core::failure::Context as _;
use laas_core::names::legible;
use laas_core::{Failure, Kind, keys};
use serde::Serialize;
use serde_json::Value;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

const YAML: &str = "inventory.yaml";
const JSON: &str = "hosts.json";
/// What is beside a file of keys that anybody may read.
const SECRETS: &str = "secrets.json";
/// Of what is wrong, in characters: it names what stands in the file.
const LONGEST_WHAT: usize = 300;
/// Who may read a file: everybody, or its owner only.
const OPEN: u32 = 0o644;
const CLOSED: u32 = 0o600;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// What to do, e.g. check. encode: from YAML to a file of keys; decode: the way back; check: name each mistake with
    /// its line; diff: compare with the datastore; load: write what differs into the datastore.
    #[arg(long, value_enum, value_name = "COMMAND")]
    command: Command,
    /// The file that is read, e.g. inventory.yaml, which is the default; to decode it is hosts.json. One that ends in .json
    /// is a file of keys, any other is YAML.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The file of the keys that are secrets, beside a file of keys, e.g. secrets.json. Encode writes it with mode
    /// 0600.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// The file that encode and decode write, e.g. hosts.json.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show what would change and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Command {
    Encode,
    Decode,
    Check,
    Diff,
    Load,
}

#[derive(Default, Serialize)]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    changed: bool,
    hosts: usize,
    mistakes: Vec<Mistake>,
    /// Keys of which the datastore has no value or another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
    /// Keys that the pack will look for, and that no file here has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to_be_set: Vec<String>,
    /// Entries of a file of keys that are no part of an inventory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    written: Vec<PathBuf>,
}

/// What is wrong in a file, and in which line of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    pub line: usize,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    key: String,
    state: State,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Missing,
    Different,
    /// The value is right, but the datastore keeps it where everybody can read it.
    NotEncrypted,
    /// The datastore's list has a host that the file does not.
    Extra,
}

impl Mistake {
    pub fn new(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: legible(&what.into(), LONGEST_WHAT),
            hint: None,
            host: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    fn of(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }
}

impl Action for Args {
    const NAME: &'static str = "inventory";
    const ABOUT: &'static str =
        "Write the lab's hosts, switches and BMCs as YAML, check them, and load them into the datastore";
    const EXAMPLE: &'static [&'static str] = &["--command=check", "--file=inventory.yaml"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let default = match self.command {
            Command::Decode => JSON,
            _ => YAML,
        };
        let file = self.file.clone().unwrap_or_else(|| default.into());
        let lab = self.read(&file)?;
        let mut output = Output {
            hosts: lab.hosts.len(),
            mistakes: lab.mistakes.clone(),
            ..Output::default()
        };
        if !lab.mistakes.is_empty() {
            let count = lab.mistakes.len();
            let s = if count == 1 { "" } else { "s" };
            output.error = Some(format!("`{}` has {count} mistake{s}", file.display()));
            output.hint = lab.mistakes.iter().find_map(|mistake| mistake.hint.clone());
            tell(&file, &lab.mistakes);
            return Ok(output);
        }
        let (entries, to_be_set) = lab.entries();
        output.to_be_set = to_be_set;
        match self.command {
            Command::Check => {}
            Command::Encode => self.encode(&entries, &mut output)?,
            Command::Decode => {
                output.left_out.clone_from(&lab.others);
                let text = serde_yaml::to_string(&lab.yaml())
                    .map_err(|e| Failure::input(format!("can't write YAML: {e}")))?;
                let path = self.output.unwrap_or_else(|| YAML.into());
                output.changed = files::write(&path, &text, CLOSED, self.dry_run)?;
                output.written = vec![path];
            }
            Command::Diff => output.differences = differences(context.datastore()?, &entries)?,
            Command::Load => {
                let datastore = context.datastore()?;
                output.differences = differences(datastore, &entries)?;
                let wanted = |key: &str| {
                    output
                        .differences
                        .iter()
                        .any(|d| d.key == key && d.state != State::Extra)
                };
                let wanted: Vec<_> = entries.iter().filter(|entry| wanted(&entry.name)).collect();
                output.changed = !wanted.is_empty();
                if !self.dry_run {
                    load(datastore, &wanted)?;
                }
            }
        }
        Ok(output)
    }

    fn verdict(output: &Output) -> Option<Kind> {
        output.error.is_some().then_some(Kind::Input)
    }
}

impl Args {
    fn read(&self, file: &Path) -> Result<Lab, Failure> {
        let text = files::read(file)?;
        let is_json = file.extension().is_some_and(|extension| extension == "json");
        if !is_json {
            return Ok(Lab::of_yaml(&text));
        }
        let mut mistakes = Vec::new();
        let entries = files::entries(&text, &mut mistakes);
        let beside = match self.secrets.as_ref().filter(|_| self.command != Command::Encode) {
            Some(path) => {
                let mut wrong = Vec::new();
                let secrets = files::entries(&files::read(path)?, &mut wrong);
                if let Some(Mistake { line, what, .. }) = wrong.first() {
                    return Err(Failure::input(format!(
                        "`{}`, line {line}: {what}",
                        path.display()
                    )));
                }
                secrets
            }
            None => Vec::new(),
        };
        // Of a file that can't be read to its end nothing else can be said.
        if entries.is_empty() && !mistakes.is_empty() {
            return Ok(Lab {
                mistakes,
                ..Lab::default()
            });
        }
        let mut lab = Lab::of_entries(&entries, &beside, false);
        lab.mistakes.splice(0..0, mistakes);
        Ok(lab)
    }

    fn encode(&self, entries: &[Entry], output: &mut Output) -> Result<(), Failure> {
        let path = self.output.clone().unwrap_or_else(|| JSON.into());
        // The file may be the datastore of a lab without an engine, which remembers more than its hosts there.
        if let Ok(text) = std::fs::read_to_string(&path) {
            let present = files::entries(&text, &mut Vec::new());
            let others = Lab::of_entries(&present, &[], false).others;
            if let Some(other) = others.first() {
                let error = format!("`{}` holds `{other}`, which would be lost", path.display());
                return Err(
                    Failure::input(error).hint("give another `output`, or use `load` with this datastore")
                );
            }
        }
        let (secret, plain): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.secret);
        output.changed = files::write(&path, &files::text(&plain), OPEN, self.dry_run)?;
        output.written.push(path);
        if !secret.is_empty() {
            let path = self.secrets.clone().unwrap_or_else(|| SECRETS.into());
            output.changed |= files::write(&path, &files::text(&secret), CLOSED, self.dry_run)?;
            output.written.push(path);
        }
        Ok(())
    }
}

/// The keys whose value in the datastore is not that of the file; the values themselves are shown to nobody.
fn differences(datastore: &Datastore, entries: &[Entry]) -> Result<Vec<Difference>, Failure> {
    let mut found = Vec::new();
    for entry in entries {
        let present = datastore.entry(&entry.name).at_peer("datastore")?;
        if let (keys::HOSTS, Some(present)) = (entry.name.as_str(), &present) {
            found.extend(extra(entry, present.value.expose()));
        }
        let state = match present {
            None => State::Missing,
            Some(present) if !is_same(entry, present.value.expose()) => State::Different,
            Some(present) if entry.secret && !present.secret => State::NotEncrypted,
            Some(_) => continue,
        };
        found.push(Difference {
            key: entry.name.clone(),
            state,
        });
    }
    Ok(found)
}

fn is_same(entry: &Entry, present: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    let wanted = entry.value.expose();
    // What is no JSON is a password, and counts to its last letter.
    wanted == present
        || json(wanted).is_some_and(|wanted| !wanted.is_number() && json(present) == Some(wanted))
}

/// The hosts that only the datastore's list has.
fn extra(entry: &Entry, present: &str) -> Vec<Difference> {
    let names = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap_or_default();
    let wanted = names(entry.value.expose());
    let gone = names(present).into_iter().filter(|name| !wanted.contains(name));
    let difference = |key| Difference {
        key,
        state: State::Extra,
    };
    gone.map(difference).collect()
}

fn load(datastore: &Datastore, wanted: &[&Entry]) -> Result<(), Failure> {
    for entry in wanted {
        let put = match entry.secret {
            true => datastore.put_secret(&entry.name, &entry.value),
            false => datastore.put(&entry.name, entry.value.expose()),
        };
        put.at_peer("datastore")?;
        let now = datastore.get(&entry.name).at_peer("datastore")?;
        if now.as_ref() != Some(&entry.value) {
            let error = format!(
                "the datastore says yes and has another value for `{}`",
                entry.name
            );
            return Err(Failure::refused(error).peer("datastore"));
        }
    }
    Ok(())
}

/// For a person at a terminal.
fn tell(file: &Path, mistakes: &[Mistake]) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    for mistake in mistakes {
        eprintln!("{}:{}: {}", file.display(), mistake.line, mistake.what);
        if let Some(hint) = &mistake.hint {
            eprintln!("  hint: {hint}");
        }
    }
}
