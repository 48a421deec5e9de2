//! The command line of `laas-engine`.

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

const EXAMPLE: &str = "Example:
  laas-engine key create --state /var/lib/laas
  laas-engine serve --pack . --config-dir /etc/laas --state /var/lib/laas --sensors

Then ST2_API_URL=http://127.0.0.1:9101/v1 and ST2_API_KEY tell the `st2` client where it is.";

/// An embedded stand-in for StackStorm on one machine.
#[derive(Debug, Parser)]
#[command(name = "laas-engine", version, after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load packs and serve the API until SIGTERM.
    ///
    /// Prints one line on stdout when it listens. What runs when it stops, or dies, runs again after the next start.
    Serve(ServeArgs),
    /// Manage API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Manage users who log in with a password.
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
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
pub enum UserCommand {
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

/// What `serve` is told.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// A pack's directory, the one that holds `pack.yaml`, or a directory of such; may be given several times.
    #[arg(long = "pack", value_name = "DIR", required = true)]
    pub packs: Vec<PathBuf>,
    /// Holds the packs' configurations, `<pack>.yaml`.
    #[arg(long, value_name = "DIR")]
    pub config_dir: PathBuf,
    /// Where to keep the database and the datastore's key; created when missing.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Where to listen; port 0 takes a free one.
    ///
    /// Anything but loopback needs an API key or a user first. There is no TLS: put a proxy before it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9101")]
    pub listen: SocketAddr,
    /// Also run the packs' sensors: for `sensors/NAME.yaml` the executable `actions/bin/NAME`.
    #[arg(long)]
    pub sensors: bool,
    /// How many actions run at the same time; more wait.
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_processes: u16,
    /// For tests: the end of an action goes unnoticed if this directory has a file named like its process.
    ///
    /// So it is with StackStorm when the action runner dies that waited for it.
    #[arg(long, value_name = "DIR", hide = true)]
    pub unnoticed: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
