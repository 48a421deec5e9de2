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
use clap::Parser;
use laas_engine::command_line::{Args, Command, KeyCommand, UserCommand};
use laas_engine::model::TokenKind;
use laas_engine::store::Store;

use crate::auth::Users;
use crate::state::StateDir;

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
