//! Writes a host's network configuration for its next boot.

use crate::bookings::Guard;
use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::Host;
use laas_core::json_arg::JsonArg;
use laas_core::names::ParseError;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Mac, VlanId};
use laas_host::network::{self, Change, Interface};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    #[command(flatten)]
    guard: Guard,
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
    const EXAMPLE: &'static [&'static str] = &[
        "--host=pod1",
        r#"--interfaces={"00:11:22:33:44:55": [{"vlan_id": 11, "tagged": false}]}"#,
        "--dry_run",
    ];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, None)?;
        }
        let host = hosts::load(context, &self.host)?;
        let config = context.config()?;
        let asked = self.interfaces.get("interfaces")?;
        let interfaces = wanted(&host, &asked, &config.networks.public).map_err(|e| e.host(&self.host))?;
        let session = hosts::connect(context, &host, &Deadline::seconds(config.timing.call))?;
        let change = network::configure(&session, &interfaces, self.dry_run)
            .at_peer(hosts::PEER)
            .of_host(&self.host)?;
        Ok(Output {
            changed: !change.is_empty(),
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
        let (mut tagged, mut untagged) = (BTreeSet::new(), BTreeSet::new());
        for network in networks {
            let side = if network.tagged {
                &mut tagged
            } else {
                &mut untagged
            };
            side.insert(network.vlan_id);
        }
        let of = format!("interface `{}` is to carry", interface.mac);
        if untagged.len() > 1 {
            let ids: Vec<_> = untagged.iter().map(ToString::to_string).collect();
            return Err(Failure::input(format!("{of} {} untagged", ids.join(" and ")))
                .hint("a port has one native VLAN"));
        }
        if let Some(both) = untagged.intersection(&tagged).next() {
            let error = format!("{of} {both} both tagged and untagged");
            return Err(Failure::input(error).hint("a port carries a VLAN in one way"));
        }
        let name = interface.name.parse().map_err(|e: ParseError| {
            Failure::input(format!("interface `{}`: {e}", interface.mac))
                .hint(format!("mend its `name` in the datastore's key `{}`", host.name))
        })?;
        interfaces.push(Interface {
            name,
            mac: interface.mac.clone(),
            untagged: untagged.into_iter().next(),
            tagged: tagged.into_iter().collect(),
            default: None,
        });
    }
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    // The untagged one if there is the choice: it needs nothing of the system but its card.
    let defaults = |i: &Interface| public.iter().copied().find(|v| i.tagged.contains(v));
    let is_public = |i: &Interface| i.untagged.filter(|v| public.contains(v));
    if let Some(first) = interfaces.iter_mut().find(|i| is_public(i).is_some()) {
        first.default = first.untagged;
    } else if let Some(first) = interfaces.iter_mut().find(|i| defaults(i).is_some()) {
        first.default = defaults(first);
    }
    Ok(interfaces)
}
