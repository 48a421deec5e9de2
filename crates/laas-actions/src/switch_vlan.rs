//! Sets the switch ports of hosts to exactly what a booking asks for.

use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::{self, Host};
use laas_core::json_arg::JsonArg;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Kind, Mac, VlanId, lock};
use laas_switch::{Outcome, Plan, Port, PortName, VlanSet, Wish};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

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

type Networks = BTreeMap<HostName, BTreeMap<Mac, Vec<Vlan>>>;

#[derive(Clone, Deserialize)]
struct HostNetworks {
    host: HostName,
    interfaces: BTreeMap<Mac, Vec<Vlan>>,
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
        let work = gather(
            context,
            &hosts.unwrap_or_default(),
            by_host(networks.unwrap_or_default())?,
        )?;
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
        let mut done: BTreeSet<HostName> = work.iter().flat_map(|w| w.owners.values().cloned()).collect();
        let mut switches = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
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
                        let owner = &work.owners[&port];
                        done.remove(owner);
                        failures.push(failure.peer(PEER).host(owner));
                    }
                    switches.push(switched);
                }
                Err(failure) => {
                    let owners: BTreeSet<_> = work.owners.values().collect();
                    done.retain(|host| !owners.contains(host));
                    let names: Vec<_> = owners.iter().map(ToString::to_string).collect();
                    failures.push(failure.peer(PEER).host(names.join(", ")));
                }
            }
        }
        match merged(failures) {
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

fn by_host(networks: Vec<HostNetworks>) -> Result<Networks, Failure> {
    let mut hosts = Networks::new();
    for HostNetworks { host, interfaces } in networks {
        if hosts.insert(host.clone(), interfaces).is_some() {
            return Err(Failure::input(format!("`{host}` is in `networks` twice")).host(host));
        }
    }
    Ok(hosts)
}

/// The ports of all hosts by switch, as they shall be.
///
/// # Errors
/// The input asks for something that no port of these hosts may get, or the inventory is malformed.
fn gather(context: &Context, hosts: &[HostName], mut networks: Networks) -> Result<Vec<Work>, Failure> {
    let config = &context.config()?.networks;
    let tenant: VlanSet = config
        .tenant
        .parse()
        .map_err(|e| Failure::input(format!("`networks.tenant` of the configuration: {e}")))?;
    for (name, vlan) in [("management", config.management), ("parking", config.parking)] {
        if tenant.contains(vlan) {
            return Err(Failure::input(format!(
                "`networks.{name}` ({vlan}) is among `networks.tenant`"
            )));
        }
    }
    let twice = hosts.iter().find(|h| networks.contains_key(h));
    if let Some(host) = twice {
        return Err(Failure::input(format!("`{host}` is in `hosts` and in `networks`")).host(host));
    }
    let names: BTreeSet<HostName> = hosts.iter().chain(networks.keys()).cloned().collect();
    let mut by_switch: BTreeMap<String, Work> = BTreeMap::new();
    for name in names {
        let host = Host::load(context.datastore()?, &name)
            .at_peer("datastore")
            .of_host(&name)?;
        let mut wishes = match networks.remove(&name) {
            None => None,
            Some(asked) => Some(wishes(&host, asked, &tenant).of_host(&name)?),
        };
        for interface in host.interfaces.values() {
            let wish = match &mut wishes {
                None => Wish::new([(config.management, false)]),
                // The VLANs of whoever had the host before must not stay.
                Some(wishes) => Ok(wishes.remove(&interface.mac).unwrap_or_default()),
            };
            let input = |e| Failure::input(format!("`{name}`, `{}`: {e}", interface.mac)).host(&name);
            let port: PortName = interface.port.parse().map_err(input)?;
            let wanted = wish.map_err(input)?.port(config.parking);
            let work = match by_switch.entry(interface.switch.clone()) {
                Entry::Occupied(work) => work.into_mut(),
                Entry::Vacant(place) => place.insert(Work::new(context, &interface.switch).of_host(&name)?),
            };
            work.wanted.insert(port.clone(), wanted);
            if let Some(other) = work.owners.insert(port, name.clone()) {
                let (switch, port) = (&interface.switch, &interface.port);
                let text = format!(
                    "the inventory gives port `{port}` of `{switch}` to two interfaces of `{other}` and `{name}`"
                );
                return Err(Failure::input(text).host(&name));
            }
        }
    }
    Ok(by_switch.into_values().collect())
}

/// What a booking wants of a host's interfaces.
fn wishes(
    host: &Host,
    asked: BTreeMap<Mac, Vec<Vlan>>,
    tenant: &VlanSet,
) -> Result<BTreeMap<Mac, Wish>, Failure> {
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
    fn new(context: &Context, address: &str) -> Result<Self, Failure> {
        let entry = inventory::Switch::load(context.datastore()?, address).at_peer("datastore")?;
        Ok(Self {
            address: address.to_owned(),
            entry,
            wanted: BTreeMap::new(),
            owners: BTreeMap::new(),
        })
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

/// One failure for all: worth a retry if any of them is.
fn merged(mut failures: Vec<Failure>) -> Option<Failure> {
    let retry = failures
        .iter()
        .position(|f| f.kind == Kind::Unreachable)
        .unwrap_or_default();
    if failures.is_empty() {
        return None;
    }
    let mut failure = failures.remove(retry);
    for other in failures {
        failure.error.push_str("; ");
        failure.error.push_str(&other.error);
    }
    Some(failure)
}
