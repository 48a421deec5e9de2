//! How every action that asks a BMC gets there: the inventory's entry, the password, the lock.

use crate::hosts;
use laas_bmc::Bmc;
use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::inventory;
use laas_core::lock::{self, Lock};
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName};

pub const PEER: &str = "bmc";

/// The BMC of one host, with no other action at it until this is dropped.
pub struct Held {
    pub entry: inventory::Bmc,
    pub bmc: Box<dyn Bmc>,
    _lock: Lock,
}

/// # Errors
/// The host has no BMC in the inventory, its password is missing, or another action keeps it too long.
pub fn hold(context: &Context, name: &HostName) -> Result<Held, Failure> {
    let timing = &context.config()?.timing;
    let host = hosts::load(context, name)?;
    let entry = host.bmc.ok_or_else(|| {
        Failure::input(format!("the inventory names no BMC for `{name}`"))
            .hint(format!(
                "add `bmc` to the key `{name}`, as in `hosts.json.example` of the pack"
            ))
            .peer(PEER)
            .host(name)
    })?;
    let password = inventory::read(context.datastore()?, &entry.password_key)
        .at_peer("datastore")
        .of_host(name)?;
    let bmc = laas_bmc::open(&entry, password, timing.call())
        .at_peer(PEER)
        .of_host(name)?;
    // As long as the longest change of power takes, which is what another action may be waiting for.
    let lock = lock::acquire(&format!("bmc_{name}"), &Deadline::seconds(timing.power))
        .at_peer(PEER)
        .of_host(name)?;
    Ok(Held {
        entry,
        bmc,
        _lock: lock,
    })
}
