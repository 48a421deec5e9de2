//! Writes a host's network configuration for its next boot.

use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::Host;
use laas_core::json_arg::JsonArg;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Mac, VlanId};
use laas_host::network::{Change, Family, Interface};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// What each interface carries, e.g. {"02:00:00:00:01:01": [{"vlan_id": 11, "tagged": false}]}.
    #[arg(
        long,
        env = "LAAS_INTERFACES",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    interfaces: JsonArg<BTreeMap<Mac, Vec<Network>>>,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
}

/// One network on one interface, in the dashboard's words.
#[derive(Debug, Clone, Deserialize)]
pub struct Network {
    vlan_id: VlanId,
    tagged: bool,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    #[serde(flatten)]
    change: Change,
}

impl Action for Args {
    const NAME: &'static str = "host_network";
    const ABOUT: &'static str = "Write a host's network configuration, which its next boot brings up";
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let host = hosts::load(context, &self.host)?;
        let config = context.config()?;
        let asked = self.interfaces.get("interfaces")?;
        let interfaces = wanted(&host, &asked, &config.networks.public).map_err(|e| e.host(&self.host))?;
        let session = hosts::connect(context, &host, &Deadline::seconds(config.timing.call))?;
        let family = Family::detect(&session)
            .at_peer(hosts::PEER)
            .of_host(&self.host)?;
        let change = family
            .apply(&session, &interfaces, self.dry_run)
            .at_peer(hosts::PEER)
            .of_host(&self.host)?;
        Ok(Output {
            changed: change != Change::default(),
            change,
        })
    }
}

/// Every interface of the inventory with what was asked of it; one that was not named carries nothing.
fn wanted(
    host: &Host,
    asked: &BTreeMap<Mac, Vec<Network>>,
    public: &[VlanId],
) -> Result<Vec<Interface>, Failure> {
    if let Some(mac) = asked.keys().find(|m| host.interface(m).is_none()) {
        return Err(
            Failure::input(format!("`{}` has no interface `{mac}`", host.name))
                .hint("compare the host's `interfaces` in the datastore with the dashboard's"),
        );
    }
    let mut interfaces = Vec::new();
    for interface in host.interfaces.values() {
        let networks = asked.get(&interface.mac).map(Vec::as_slice).unwrap_or_default();
        let mut untagged = networks.iter().filter(|n| !n.tagged).map(|n| n.vlan_id);
        let first = untagged.next();
        if let (Some(one), Some(two)) = (first, untagged.next()) {
            let error = format!(
                "interface `{}` is to carry both {one} and {two} untagged",
                interface.mac
            );
            return Err(Failure::input(error).hint("a port has one native VLAN"));
        }
        interfaces.push(Interface {
            name: interface.name.clone(),
            mac: interface.mac.clone(),
            untagged: first,
            tagged: networks.iter().filter(|n| n.tagged).map(|n| n.vlan_id).collect(),
            default_route: false,
        });
    }
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    let is_public = |i: &&mut Interface| i.untagged.is_some_and(|v| public.contains(&v));
    if let Some(default) = interfaces.iter_mut().find(is_public) {
        default.default_route = true;
    }
    Ok(interfaces)
}
