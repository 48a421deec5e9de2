//! Sets the switch ports of hosts to exactly what a booking asks for.

use crate::bookings::Guard;
use crate::hosts;
use crate::switches::{self, Socket, Switched};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::Host;
use laas_core::json_arg::JsonArg;
use laas_core::{Failure, HostName, Mac, VlanId};
use laas_switch::{Port, Rules, VlanSet, Wish};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// Hosts whose interfaces all get the management VLAN and nothing else, e.g. ["pod1", "pod2"].
    #[arg(
        long,
        env = "LAAS_HOSTS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    hosts: JsonArg<Option<Vec<HostName>>>,
    /// What the interfaces of hosts get, and those that are not named nothing, e.g.
    /// [{"host": "pod1", "interfaces": {"02:00:00:00:01:01": [{"vlan_id": 11, "tagged": false}]}}].
    #[arg(
        long,
        env = "LAAS_NETWORKS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    networks: JsonArg<Option<Vec<HostNetworks>>>,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Clone, Deserialize)]
struct HostNetworks {
    host: HostName,
    /// Parsed host by host, so that what is wrong with one leaves the others alone.
    interfaces: Value,
}

/// A misspelt `tagged` is no untagged VLAN.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vlan {
    vlan_id: VlanId,
    #[serde(default)]
    tagged: bool,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    hosts: BTreeSet<HostName>,
    switches: Vec<Switched>,
}

impl Action for Args {
    const NAME: &'static str = "switch_vlan";
    const ABOUT: &'static str =
        "Set the switch ports of hosts to exactly the VLANs that are asked for, prove it, and save it";
    const EXAMPLE: &'static [&'static str] = &[r#"--hosts=["pod1"]"#, "--dry_run"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let dry_run = self.dry_run;
        let (hosts, networks) = (self.hosts.get("hosts")?, self.networks.get("networks")?);
        if hosts.is_none() && networks.is_none() {
            return Err(Failure::input("neither `hosts` nor `networks` is given"));
        }
        let mut asked: BTreeMap<HostName, Vec<Option<Value>>> = BTreeMap::new();
        for host in hosts.unwrap_or_default() {
            asked.insert(host, vec![None]);
        }
        for HostNetworks { host, interfaces } in networks.unwrap_or_default() {
            asked.entry(host).or_default().push(Some(interfaces));
        }
        if !dry_run {
            for host in asked.keys() {
                self.guard.check(context, host, None)?;
            }
        }
        let mut done: BTreeSet<HostName> = asked.keys().cloned().collect();
        let rules = Rules::new(&context.config()?.networks)?;
        let ports = asked.into_iter().map(|(name, wishes)| {
            let ports = ports(context, &name, wishes, &rules);
            (name, ports)
        });
        let (work, mut failed) = switches::gather(context, &rules, ports.collect())?;
        let mut switches = switches::each(&work, &mut failed, |work| {
            let lock = work.lock(context)?;
            work.set(context, dry_run, &lock)
        });
        switches::take_failed(&work, &mut switches, &mut failed);
        done.retain(|host| !failed.iter().any(|f| f.hosts.contains(host)));
        match hosts::merged(failed) {
            None => Ok(Output {
                changed: switches.iter().any(|s| !s.commands.is_empty()),
                hosts: done,
                switches,
            }),
            Some(failure) => {
                let done = serde_json::json!({"hosts": done, "switches": switches});
                Err(Failure {
                    done: Some(done),
                    ..failure
                })
            }
        }
    }
}

/// What the ports of one host shall be; `asked` holds its wishes, each `None` for the management network.
///
/// # Errors
/// More than one thing or what no port may get is asked for, or the inventory does not know the host or is malformed.
fn ports(
    context: &Context,
    name: &HostName,
    asked: Vec<Option<Value>>,
    rules: &Rules,
) -> Result<Vec<(Socket, Port)>, Failure> {
    let [asked]: [Option<Value>; 1] = asked.try_into().map_err(|_| {
        Failure::input(format!(
            "`{name}` is in `networks` twice, or in `hosts` and in `networks`"
        ))
    })?;
    let host = Host::load(context.datastore()?, name).at_peer("datastore")?;
    let mut wishes = match asked {
        None => None,
        Some(asked) => Some(wishes(&host, asked, &rules.tenant)?),
    };
    switches::ports_of(&host, |interface| {
        let wish = match &mut wishes {
            None => Wish::untagged(rules.management),
            // The VLANs of whoever had the host before must not stay.
            Some(wishes) => wishes.remove(&interface.mac).unwrap_or_default(),
        };
        Ok(wish.port(rules.parking))
    })
}

/// What a booking wants of a host's interfaces.
fn wishes(host: &Host, asked: Value, tenant: &VlanSet) -> Result<BTreeMap<Mac, Wish>, Failure> {
    let asked: BTreeMap<Mac, Vec<Vlan>> = serde_json::from_value(asked).map_err(|e| {
        let text = format!("the `interfaces` of `{}` can't be read: {e}", host.name);
        Failure::input(text)
    })?;
    let mut wishes = BTreeMap::new();
    for (mac, vlans) in asked {
        let input = |text: String| Failure::input(format!("`{}`, `{mac}`: {text}", host.name));
        if host.interface(&mac).is_none() {
            return Err(
                input("the inventory has no such interface".to_owned()).hint(format!(
                    "compare `interfaces` of the key `{}` with the dashboard",
                    host.name
                )),
            );
        }
        if let Some(vlan) = vlans.iter().find(|v| !tenant.contains(v.vlan_id)) {
            return Err(input(format!("VLAN {} is not for bookings", vlan.vlan_id))
                .hint(format!("`networks.tenant` of the configuration is `{tenant}`")));
        }
        let wish = Wish::new(vlans.iter().map(|v| (v.vlan_id, v.tagged)));
        let wish = wish.map_err(|e| input(e.to_string()))?;
        wishes.insert(mac, wish);
    }
    Ok(wishes)
}
