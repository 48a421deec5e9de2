//! Sets the switch ports of hosts to exactly what a booking asks for.

use crate::hosts::{self, Failed};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::{self, Host};
use laas_core::json_arg::JsonArg;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Mac, VlanId, lock};
use laas_switch::{Outcome, Plan, Port, PortName, VlanSet, Wish};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const PEER: &str = "switch";

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
}

#[derive(Clone, Deserialize)]
struct HostNetworks {
    host: HostName,
    /// Parsed host by host, so that what is wrong with one leaves the others alone.
    interfaces: Value,
}

#[derive(Clone, Deserialize)]
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

/// What was done to one switch.
#[derive(Serialize)]
struct Switched {
    address: String,
    commands: Vec<String>,
    saved: bool,
    before: BTreeMap<PortName, Port>,
    after: BTreeMap<PortName, Port>,
    #[serde(skip)]
    failed: BTreeMap<PortName, Failure>,
}

/// What one switch shall do.
struct Work {
    address: String,
    entry: inventory::Switch,
    wanted: BTreeMap<PortName, Port>,
    owners: BTreeMap<PortName, HostName>,
}

impl Action for Args {
    const NAME: &'static str = "switch_vlan";
    const ABOUT: &'static str =
        "Set the switch ports of hosts to exactly the VLANs that are asked for, prove it, and save it";
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let dry_run = self.dry_run;
        let (hosts, networks) = (self.hosts.get("hosts")?, self.networks.get("networks")?);
        if hosts.is_none() && networks.is_none() {
            return Err(Failure::input("neither `hosts` nor `networks` is given"));
        }
        let (managed, networks) = (hosts.unwrap_or_default(), networks.unwrap_or_default());
        let mut done: BTreeSet<HostName> = managed.iter().cloned().collect();
        done.extend(networks.iter().map(|n| n.host.clone()));
        let (work, mut failed) = gather(context, managed, networks)?;
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = work
                .iter()
                .map(|work| scope.spawn(move || work.set(context, dry_run)))
                .collect();
            threads
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect()
        });
        let mut switches = Vec::new();
        for (work, result) in work.iter().zip(results) {
            let panicked = |_| {
                Err(Failure::refused(format!(
                    "the work on the switch `{}` broke down",
                    work.address
                )))
            };
            match result.unwrap_or_else(panicked) {
                Ok(mut switched) => {
                    for (port, failure) in std::mem::take(&mut switched.failed) {
                        failed.push(Failed::one(&work.owners[&port], failure.peer(PEER)));
                    }
                    switches.push(switched);
                }
                Err(failure) => failed.push(Failed {
                    hosts: work.owners.values().cloned().collect(),
                    failure: failure.peer(PEER),
                }),
            }
        }
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

/// Where a cable is plugged in: the switch's address and the port.
type Socket = (String, PortName);

/// The ports of all hosts by switch, as they shall be, and the hosts that must be left alone: what is wrong with one
/// is no reason to stop for the others.
///
/// # Errors
/// The configuration or the datastore can't be read, or the configuration makes no sense.
fn gather(
    context: &Context,
    managed: Vec<HostName>,
    networks: Vec<HostNetworks>,
) -> Result<(Vec<Work>, Vec<Failed>), Failure> {
    let rules = Rules::load(context)?;
    let datastore = context.datastore()?;
    let mut asked: BTreeMap<HostName, Vec<Option<Value>>> =
        managed.into_iter().map(|host| (host, vec![None])).collect();
    for HostNetworks { host, interfaces } in networks {
        asked.entry(host).or_default().push(Some(interfaces));
    }
    let mut failed = Vec::new();
    let mut plans: BTreeMap<HostName, Vec<(Socket, Port)>> = BTreeMap::new();
    for (name, wishes) in asked {
        match ports(context, &name, wishes, &rules) {
            Ok(ports) => {
                plans.insert(name, ports);
            }
            Err(failure) => failed.push(Failed::one(&name, failure)),
        }
    }
    let mut owners: BTreeMap<Socket, Vec<HostName>> = BTreeMap::new();
    for (name, ports) in &plans {
        for (socket, _) in ports {
            owners.entry(socket.clone()).or_default().push(name.clone());
        }
    }
    // Whose port it is nobody can tell, so none of them may set it.
    for ((switch, port), owners) in owners.into_iter().filter(|(_, owners)| owners.len() > 1) {
        let owners: BTreeSet<_> = owners.into_iter().collect();
        let text = format!(
            "the inventory gives port `{port}` of `{switch}` to two interfaces of {}",
            hosts::names(&owners)
        );
        failed.push(Failed {
            hosts: owners,
            failure: Failure::input(text),
        });
    }
    let is_sound = |name: &HostName, failed: &[Failed]| !failed.iter().any(|f| f.hosts.contains(name));
    plans.retain(|name, _| is_sound(name, &failed));

    let used: BTreeSet<&String> = plans.values().flatten().map(|((switch, _), _)| switch).collect();
    let mut work: BTreeMap<String, Work> = BTreeMap::new();
    for address in used {
        match inventory::Switch::load(datastore, address).at_peer("datastore") {
            Ok(entry) => {
                work.insert(address.clone(), Work::new(address, entry));
            }
            Err(failure) => {
                let needs = |ports: &[(Socket, Port)]| ports.iter().any(|((switch, _), _)| switch == address);
                let hosts = plans.iter().filter(|(_, ports)| needs(ports));
                let hosts = hosts.map(|(name, _)| name.clone()).collect();
                failed.push(Failed { hosts, failure });
            }
        }
    }
    for (name, ports) in plans.into_iter().filter(|(name, _)| is_sound(name, &failed)) {
        for ((switch, port), wanted) in ports {
            if let Some(work) = work.get_mut(&switch) {
                work.wanted.insert(port.clone(), wanted);
                work.owners.insert(port, name.clone());
            }
        }
    }
    let work = work.into_values().filter(|work| !work.wanted.is_empty());
    Ok((work.collect(), failed))
}

/// The lab's VLANs.
struct Rules {
    management: VlanId,
    parking: VlanId,
    tenant: VlanSet,
}

impl Rules {
    fn load(context: &Context) -> Result<Self, Failure> {
        let config = &context.config()?.networks;
        let tenant: VlanSet = config
            .tenant
            .parse()
            .map_err(|e| Failure::input(format!("`networks.tenant` of the configuration: {e}")))?;
        let (management, parking) = (config.management, config.parking);
        for (name, vlan) in [("management", management), ("parking", parking)] {
            if tenant.contains(vlan) {
                return Err(Failure::input(format!(
                    "`networks.{name}` ({vlan}) is among `networks.tenant`"
                )));
            }
        }
        Ok(Self {
            management,
            parking,
            tenant,
        })
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
    let mut ports = Vec::new();
    for interface in host.interfaces.values() {
        let wish = match &mut wishes {
            None => Wish::new([(rules.management, false)]),
            // The VLANs of whoever had the host before must not stay.
            Some(wishes) => Ok(wishes.remove(&interface.mac).unwrap_or_default()),
        };
        let input = |e| Failure::input(format!("`{name}`, `{}`: {e}", interface.mac));
        let port: PortName = interface.port.parse().map_err(input)?;
        let wanted = wish.map_err(input)?.port(rules.parking);
        ports.push(((interface.switch.clone(), port), wanted));
    }
    Ok(ports)
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

impl Work {
    fn new(address: &str, entry: inventory::Switch) -> Self {
        Self {
            address: address.to_owned(),
            entry,
            wanted: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// One read, at most one write, one read back, one save.
    fn set(&self, context: &Context, dry_run: bool) -> Result<Switched, Failure> {
        let address = &self.address;
        let call = context.config()?.timing.call();
        let switch = laas_switch::open(address, &self.entry, call)?;
        // Another execution keeps a switch for no more than a few slow calls.
        let _lock = lock::acquire(&format!("switch_{address}"), &Deadline::after(call * 10))?;
        let plan = Plan::new(switch.as_ref(), &self.wanted)?;
        let commands = plan.commands().to_vec();
        let datastore = context.datastore()?;
        let unsaved_key = format!("unsaved_{address}");
        let mut saved = false;
        let outcome: Outcome = if dry_run {
            plan.foresee()
        } else {
            // Remembered until it is saved: who dies in between would find nothing to change the next time, and the
            // switch would come back from a restart with the VLANs of the tenant before.
            let unsaved = datastore.get(&unsaved_key).at_peer("datastore")?.is_some();
            if !commands.is_empty() {
                datastore
                    .put(&unsaved_key, "the running configuration is to be saved")
                    .at_peer("datastore")?;
            }
            let outcome = plan.carry_out()?;
            if unsaved || !commands.is_empty() {
                switch.save()?;
                datastore.delete(&unsaved_key).at_peer("datastore")?;
                saved = true;
            }
            outcome
        };
        Ok(Switched {
            address: address.clone(),
            commands,
            saved,
            before: plan.before().clone(),
            after: outcome.after,
            failed: outcome
                .failed
                .into_iter()
                .map(|(port, error)| (port, error.into()))
                .collect(),
        })
    }
}
