//! `laas-lab`: a lab on this machine.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use laas_lab::command_line::{Args, Command, ServeArgs, Speed};
use laas_lab::control;
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::pace::Pace;

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
