//! The house's own tools: `cargo xtask check-pack`, `cargo xtask new-action NAME`, `cargo xtask docs`,
//! `cargo xtask bench WHAT`, `cargo xtask soak`.

mod bench;
mod check_pack;
mod docs;
mod metadata;
mod new_action;
mod readme;
mod soak;
mod stackstorm;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The house's own tools")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compare the pack's YAML with the actions' commands, with StackStorm's models and with itself, and the README's
    /// table of actions with it.
    CheckPack {
        /// Write the actions' YAML and the table anew where they differ.
        #[arg(long)]
        fix: bool,
    },
    /// Begin a new action: its module, its executable, its line in the list and its YAML.
    NewAction {
        /// Lower-case letters and `_`, as operators will type it, e.g. host_report
        name: String,
    },
    /// Write man pages and completions of bash, zsh and fish for every executable.
    Docs {
        /// Where they go: `man/man1` and a directory for each shell. target/docs, if it is not said.
        #[arg(long, value_name = "DIRECTORY")]
        out: Option<PathBuf>,
    },
    /// Measure; the release build is made first.
    Bench {
        /// What is measured.
        what: bench::What,
        /// One line of JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Book, end, break, heal and kill at random in a lab, and check every promise whenever all is quiet.
    Soak {
        /// So many runs, each with a seed of its own, three at a time.
        #[arg(long, default_value_t = 12)]
        runs: u64,
        /// So many steps with each seed.
        #[arg(long, default_value_t = 2000)]
        steps: u32,
        /// This one seed instead, as a run that failed has said it.
        #[arg(long)]
        seed: Option<u64>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::CheckPack { fix } => check_pack::run(&root(), fix),
        Task::NewAction { name } => new_action::run(&root(), &name),
        Task::Docs { out } => docs::run(&out.unwrap_or_else(docs::place)),
        Task::Bench { what, json } => bench::run(&root(), what, json),
        Task::Soak { runs, steps, seed } => soak::run(&root(), runs, steps, seed),
    }
}

/// Runs a command to its end, which has to be a success.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().display().to_string();
    let status = command
        .status()
        .with_context(|| format!("can't run `{program}`"))?;
    ensure!(status.success(), "`{program}` ended with {status}");
    Ok(())
}

/// The root of the pack, which is the root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("."))
        .to_owned()
}
