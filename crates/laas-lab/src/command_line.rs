//! The command line of `laas-lab`.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXAMPLE: &str = "Example:
  laas-lab serve --hosts 2 --pace zero
  laas-lab demo --pack .";

/// A lab without hardware, on loopback
#[derive(Parser)]
#[command(name = "laas-lab", version, after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start a lab and print where its parts are, as one line of JSON
    ///
    /// It runs until SIGTERM or SIGINT. Passwords and tokens are in files that only this user can read; the line names
    /// them.
    Serve(ServeArgs),
    /// Make a booking in a lab of two hosts, show each step and check the result
    ///
    /// Ends with 1 if a task did not end with 200 or a check failed.
    Demo(crate::demo::Args),
}

#[derive(clap::Args)]
pub struct ServeArgs {
    /// How many hosts there are
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=80))]
    pub hosts: u8,

    /// How long slow things take
    #[arg(long, value_enum, default_value_t = Speed::Demo)]
    pub pace: Speed,

    /// Keep everything in this directory instead of a temporary one
    #[arg(long, value_name = "DIRECTORY")]
    pub state: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Speed {
    /// No artificial delay
    Zero,
    /// Slow enough to watch
    Demo,
}
