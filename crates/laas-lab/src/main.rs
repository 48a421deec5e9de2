//! `laas-lab`: a lab on this machine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use laas_lab::control;
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::pace::Pace;

/// A lab without hardware, on loopback
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a lab and print where its parts are, as one line of JSON
    ///
    /// It runs until SIGTERM or SIGINT. Passwords and tokens are in files that only this user can read; the line names
    /// them.
    Serve(ServeArgs),
    /// Make a booking in a lab of two hosts, show each step and check the result
    ///
    /// Ends with 1 if a task did not end with 200 or a check failed.
    Demo(laas_lab::demo::Args),
}

#[derive(clap::Args)]
struct ServeArgs {
    /// How many hosts there are
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=80))]
    hosts: u8,

    /// How long slow things take
    #[arg(long, value_enum, default_value_t = Speed::Demo)]
    pace: Speed,

    /// Keep everything in this directory instead of a temporary one
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Speed {
    /// No artificial delay
    Zero,
    /// Slow enough to watch
    Demo,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Serve(args) => serve(args).await,
        Command::Demo(args) => laas_lab::demo::run(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    // Heard from the first moment, so that nothing is left behind by a lab
    // that is stopped while it starts.
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let work = async {
        let pace = match args.pace {
            Speed::Zero => Pace::zero(),
            Speed::Demo => Pace::demo(),
        };
        let lab = Arc::new(
            Lab::start(LabOptions {
                hosts: args.hosts,
                pace,
                state_dir: args.state,
                ..LabOptions::default()
            })
            .await?,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let control = format!("http://{}", listener.local_addr()?);
        let ready = json!({
            "control": control, "endpoints": lab.access().endpoints(), "files": lab.files(),
        });
        println!("{ready}");
        axum::serve(listener, control::router(lab))
            .await
            .context("the control API ended")
    };
    tokio::select! {
        result = work => result,
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
