//! The hosts' ports, sorted by switch, and the one way in which they are set.

use crate::hosts::{self, Failed};
use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::inventory::{self, Host};
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, lock};
use laas_switch::{Plan, Pool, Port, PortName, Present, Rules, Switch, VlanSet};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

pub const PEER: &str = "switch";

/// Where a cable is plugged in: the switch's address and the port.
pub type Socket = (String, PortName);

/// The ports of one switch, as they shall be.
pub struct Work {
    pub address: String,
    pub wanted: BTreeMap<PortName, Port>,
    pub owners: BTreeMap<PortName, HostName>,
    entry: inventory::Switch,
    pool: Pool,
}

/// What was done to one switch.
#[derive(Serialize)]
pub struct Switched {
    pub address: String,
    pub commands: Vec<String>,
    pub saved: bool,
    pub before: BTreeMap<PortName, Port>,
    pub after: BTreeMap<PortName, Port>,
    /// VLANs of ours that nobody uses and that could not be removed.
    #[serde(skip_serializing_if = "VlanSet::is_empty")]
    pub kept_vlans: VlanSet,
    #[serde(skip)]
    pub failed: BTreeMap<PortName, Failure>,
}

/// The ports of a host by the inventory, each as `wanted` says of its interface.
///
/// # Errors
/// `wanted` fails, or the name of a port is none.
pub fn ports_of(
    host: &Host,
    mut wanted: impl FnMut(&inventory::Interface) -> Result<Port, Failure>,
) -> Result<Vec<(Socket, Port)>, Failure> {
    let mut ports = Vec::new();
    for interface in host.interfaces.values() {
        let name: PortName = interface
            .port
            .parse()
            .map_err(|e| Failure::input(format!("`{}`, `{}`: {e}", host.name, interface.mac)))?;
        ports.push(((interface.switch.clone(), name), wanted(interface)?));
    }
    Ok(ports)
}

/// The ports of all hosts by switch, and the hosts that must be left alone: what is wrong with one is no reason to
/// stop for the others.
///
/// # Errors
/// There is no datastore.
pub fn gather(
    context: &Context,
    rules: &Rules,
    ports: BTreeMap<HostName, Result<Vec<(Socket, Port)>, Failure>>,
) -> Result<(Vec<Work>, Vec<Failed>), Failure> {
    let datastore = context.datastore()?;
    let mut failed = Vec::new();
    let mut plans: BTreeMap<HostName, Vec<(Socket, Port)>> = BTreeMap::new();
    for (name, ports) in ports {
        match ports {
            Ok(ports) => drop(plans.insert(name, ports)),
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
                work.insert(
                    address.clone(),
                    Work {
                        address: address.clone(),
                        wanted: BTreeMap::new(),
                        owners: BTreeMap::new(),
                        entry,
                        pool: rules.pool(address),
                    },
                );
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

/// Takes the ports that are not as they shall be out of what was done, as failures of their hosts.
pub fn take_failed(work: &[Work], switches: &mut [Switched], failed: &mut Vec<Failed>) {
    for switched in switches {
        let owners = work.iter().find(|work| work.address == switched.address);
        for (port, failure) in std::mem::take(&mut switched.failed) {
            if let Some(owner) = owners.and_then(|work| work.owners.get(&port)) {
                failed.push(Failed::one(owner, failure.peer(PEER)));
            }
        }
    }
}

/// Does something for each switch at the same time; what fails is the failure of all hosts on the switch.
pub fn each<T: Send>(
    work: &[Work],
    failed: &mut Vec<Failed>,
    deed: impl Fn(&Work) -> Result<T, Failure> + Sync,
) -> Vec<T> {
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = work.iter().map(|work| scope.spawn(|| deed(work))).collect();
        threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut done = Vec::new();
    for (work, result) in work.iter().zip(results) {
        let broke_down = |_| {
            let text = format!("the work on the switch `{}` broke down", work.address);
            Err(Failure::refused(text))
        };
        match result.unwrap_or_else(broke_down) {
            Ok(result) => done.push(result),
            Err(failure) => failed.push(Failed {
                hosts: work.owners.values().cloned().collect(),
                failure: failure.peer(PEER),
            }),
        }
    }
    done
}

/// Every host of the inventory, or those that are named.
///
/// # Errors
/// The inventory can't be read.
pub fn hosts_or_all(context: &Context, named: Option<Vec<HostName>>) -> Result<BTreeSet<HostName>, Failure> {
    let names = match named {
        Some(names) => names,
        None => inventory::names(context.datastore()?).at_peer("datastore")?,
    };
    Ok(names.into_iter().collect())
}

/// What a switch has now.
pub struct Read {
    pub address: String,
    pub present: Present,
    /// A restart would change nothing.
    pub saved: bool,
}

impl Work {
    /// Reads the ports of this work. Nobody writes meanwhile, and only one session is taken.
    ///
    /// # Errors
    /// The switch can't be asked.
    pub fn read(&self, context: &Context) -> Result<Read, Failure> {
        let switch = self.open(context)?;
        let _lock = self.lock(context)?;
        Ok(Read {
            address: self.address.clone(),
            present: switch.read(&self.wanted.keys().cloned().collect())?,
            saved: switch.is_saved()?,
        })
    }

    /// The same for some of its hosts.
    pub fn of_hosts(mut self, hosts: &BTreeSet<HostName>) -> Self {
        self.owners.retain(|_, owner| hosts.contains(owner));
        self.wanted.retain(|port, _| self.owners.contains_key(port));
        self
    }

    /// The switch, to which nothing is said yet.
    ///
    /// # Errors
    /// Its entry in the datastore makes no sense.
    pub fn open(&self, context: &Context) -> Result<Box<dyn Switch>, Failure> {
        let call = context.config()?.timing.call();
        Ok(laas_switch::open(&self.address, &self.entry, call)?)
    }

    /// Makes this execution the only one that writes to the switch; another one keeps it for no more than a few slow
    /// calls.
    ///
    /// # Errors
    /// Another one keeps it for longer.
    pub fn lock(&self, context: &Context) -> Result<lock::Lock, Failure> {
        let deadline = Deadline::after(context.config()?.timing.call() * 10);
        Ok(lock::acquire(&format!("switch_{}", self.address), &deadline)?)
    }

    /// One read, at most one write, one read back, one save. `lock` is that of the switch.
    ///
    /// # Errors
    /// The switch can't be asked or refuses; what was written before is in the failure.
    pub fn set(&self, context: &Context, dry_run: bool, _lock: &lock::Lock) -> Result<Switched, Failure> {
        let switch = self.open(context)?;
        let plan = Plan::new(switch.as_ref(), &self.wanted, &self.pool)?;
        let commands = plan.commands().to_vec();
        let datastore = context.datastore()?;
        let unsaved_key = format!("unsaved_{}", self.address);
        let mut saved = false;
        let outcome = if dry_run {
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
            let outcome = plan
                .carry_out()
                .map_err(|unfinished| self.unfinished(unfinished))?;
            if unsaved || !commands.is_empty() {
                switch.save()?;
                datastore.delete(&unsaved_key).at_peer("datastore")?;
                saved = true;
            }
            outcome
        };
        Ok(Switched {
            address: self.address.clone(),
            commands,
            saved,
            before: plan.before().ports.clone(),
            after: outcome.after,
            kept_vlans: outcome.kept,
            failed: outcome
                .failed
                .into_iter()
                .map(|(port, error)| (port, error.into()))
                .collect(),
        })
    }

    /// Says which ports are already as they shall be.
    fn unfinished(&self, unfinished: laas_switch::Unfinished) -> Failure {
        let mut failure = Failure::from(unfinished.error);
        let written = match &unfinished.written {
            None => "what was written before that is not known".to_owned(),
            Some(ports) if ports.is_empty() => "no port was changed".to_owned(),
            Some(ports) => {
                let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
                format!("written before that: {}", ports.join(", "))
            }
        };
        failure.error = format!("{} ({written})", failure.error);
        failure
    }
}
