//! The command line that Cisco's and Arista's switches share but for a few words.

mod parse;
mod render;

pub use parse::{config_vlans, ports};
pub use render::{commands, opened_by};

use crate::Mode;

/// Where the vendors differ.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// What a port is of which nothing is configured.
    pub plain: Mode,
    /// Whether a switch port of which nothing says so is shut down.
    pub shut: bool,
    /// What makes a VLAN pass frames again.
    pub revive: &'static [&'static str],
}
