//! VLANs on switch ports: what a port has, what it shall have, and the difference, which is pure.
//!
//! A driver per vendor stands behind [`Switch`]; [`Plan`] is the way through one: read, compare, write the
//! difference in one call, read back.

mod cli;
mod diff;
pub mod eos;
mod error;
pub mod nxos;
mod plan;
mod port;
mod rules;
mod vlan_set;

pub use diff::{Change, Difference, diff, differences};
pub use error::SwitchError;
pub use plan::{Outcome, Plan, Unfinished};
pub use port::{Mode, Port, PortError, PortName, Present, Untouchable, Vlan, VlanState, Wish};
pub use rules::{Pool, Rules, RulesError};
pub use vlan_set::VlanSet;

use laas_core::http::Http;
use laas_core::inventory;
use std::collections::BTreeSet;
use std::time::Duration;

/// One switch. Calls go one after the other: it has few sessions.
pub trait Switch: Send {
    /// How it is called in messages.
    fn address(&self) -> &str;

    /// The VLANs of the switch, what is configured on these ports, and which VLANs everything else on it holds. The
    /// number of calls does not depend on that of the ports.
    ///
    /// # Errors
    /// The switch can't be asked. A port that it does not know, or that is no host's, is in the answer.
    fn read(&self, ports: &BTreeSet<PortName>) -> Result<Present, SwitchError>;

    /// The lines that make these changes.
    fn commands(&self, changes: &[Change]) -> Vec<String>;

    /// Sends the lines in one call, so that all of them count or none.
    ///
    /// # Errors
    /// The switch refuses a line; then none of them counts. Or it can't be asked; then nobody knows.
    fn write(&self, commands: &[String]) -> Result<(), SwitchError>;

    /// Makes what is configured survive a restart of the switch.
    ///
    /// # Errors
    /// The switch can't be asked or refuses.
    fn save(&self) -> Result<(), SwitchError>;

    /// Whether a restart would change nothing.
    ///
    /// # Errors
    /// The switch can't be asked.
    fn is_saved(&self) -> Result<bool, SwitchError>;
}

/// The driver that the inventory asks for. Nothing is sent yet. `call` is the timeout of one exchange.
///
/// # Errors
/// There is no such driver, or the address is none.
pub fn open(
    address: &str,
    entry: &inventory::Switch,
    call: Duration,
) -> Result<Box<dyn Switch>, SwitchError> {
    match entry.driver.as_str() {
        "nxos" => Ok(Box::new(nxos::Nxos::new(address, entry, call)?)),
        "eos" => Ok(Box::new(eos::Eos::new(address, entry, call)?)),
        other => Err(SwitchError::Driver {
            switch: address.to_owned(),
            driver: other.to_owned(),
        }),
    }
}

/// Where a switch's API is, for exchanges that take at most `timeout`.
fn http(address: &str, entry: &inventory::Switch, timeout: Duration) -> Result<Http, SwitchError> {
    let url = entry.url.clone().unwrap_or_else(|| format!("https://{address}"));
    Http::new(&url, &entry.tls, timeout).map_err(|source| SwitchError::Http {
        switch: address.to_owned(),
        source,
    })
}
