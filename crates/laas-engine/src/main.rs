//! `laas-engine serve` runs packs behind StackStorm's REST API; `key create` and `user set` let somebody in.

mod api;
mod auth;
mod crypto;
mod sensors;
mod serve;
mod state;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use laas_engine::model::TokenKind;
use laas_engine::store::Store;

use crate::auth::Users;
use crate::state::StateDir;

/// An embedded stand-in for StackStorm on one machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load packs and serve the API until SIGTERM.
    ///
    /// Prints one line on stdout when it listens. What runs when it stops, or dies, runs again after the next start.
    Serve(serve::Args),
    /// Manage API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Manage users who log in with a password.
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make an API key and print it, this once; only its hash is kept.
    Create {
        /// The directory that `serve` keeps its state in.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// In whose name its holder acts.
        #[arg(long, value_name = "NAME", default_value = "st2admin")]
        user: String,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Set the password of a user, new or old; the first line of stdin is the password.
    Set {
        /// For example `st2admin`.
        #[arg(value_name = "NAME")]
        name: String,
        /// The directory that `serve` keeps its state in.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let done = match Args::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Key(KeyCommand::Create { state, user }) => create_key(state, &user),
        Command::User(UserCommand::Set { name, state }) => set_password(state, &name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn create_key(state: PathBuf, user: &str) -> anyhow::Result<()> {
    let state = StateDir::open(state)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let store = Store::open_beside(&state.database())?;
    let (key, _) = runtime.block_on(store.issue_token(user, TokenKind::ApiKey, None, None))?;
    println!("{key}");
    Ok(())
}

fn set_password(state: PathBuf, name: &str) -> anyhow::Result<()> {
    let state = StateDir::open(state)?;
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .context("cannot read the password from stdin")?;
    let password = input.lines().next().unwrap_or_default();
    anyhow::ensure!(!password.is_empty(), "the password is empty: write it to stdin");
    Ok(Users::of(state.path()).set(name, password)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
