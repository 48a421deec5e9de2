//! The work for a booking that runs: hosts, users, software, snapshots.

use super::{Plan, Refusal, Situation, TaskRef};
use crate::job::{Task, Vlan, Work};
use crate::software::Opnfv;
use laas_core::names::SystemHostname;
use laas_core::{HostName, Mac, VlanId};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Host {
    pub host: HostName,
    pub hardware: Option<Hardware>,
    pub network: Option<Network>,
    pub tasks: Vec<TaskRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hardware {
    #[serde(flatten)]
    pub task: TaskRef,
    pub image: u64,
    pub hostname: SystemHostname,
    pub ipmi: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    #[serde(flatten)]
    pub task: TaskRef,
    #[serde(flatten)]
    pub cabling: Cabling,
}

/// What a host's interfaces carry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cabling {
    pub interfaces: BTreeMap<Mac, Vec<Vlan>>,
    /// Where to look for the host: public VLANs first (untagged before tagged), then the other untagged ones.
    pub vlans: Vec<VlanId>,
}

/// The access of one user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct User {
    /// The dashboard's id of the user; there is no name.
    pub user: u64,
    pub key: Option<Key>,
    pub vpn: Option<TaskRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    #[serde(flatten)]
    pub task: TaskRef,
    pub key: String,
    pub hosts: Vec<HostName>,
    /// Of these hosts those that this booking did not make, so that nobody is let in there.
    pub unavailable: Vec<HostName>,
}

/// The disk of a host that is to become an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    #[serde(flatten)]
    pub task: TaskRef,
    pub host: HostName,
    /// What the image is called: `snapshot_<number>`, as the dashboard numbers its images.
    pub snapshot: String,
    /// What the host's interfaces carry when it is over. The dashboard says what its network task is.
    pub network: Option<Cabling>,
}

/// What is to be installed on the booking's hosts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Software {
    #[serde(flatten)]
    pub task: TaskRef,
    #[serde(flatten)]
    pub opnfv: Opnfv,
    /// Hosts that this booking did not make.
    pub unavailable: Vec<HostName>,
}

/// The tasks that can be done, by what they are about.
#[derive(Default)]
pub struct Sorted {
    hosts: BTreeMap<HostName, Host>,
    users: BTreeMap<u64, User>,
    software: Vec<Software>,
    snapshots: Vec<Snapshot>,
}

impl Sorted {
    /// Whether the work is another snapshot of a host: one at a time is made, and the sensor hands the next one out.
    pub fn waits_for_its_turn(&self, work: &Work) -> bool {
        matches!(work, Work::Snapshot { host, .. } if self.snapshots.iter().any(|s| s.host == *host))
    }

    /// Puts the task where it belongs. `unmade` are those of its hosts that this booking did not make.
    ///
    /// # Errors
    /// Why it can't be done.
    pub fn insert(
        &mut self,
        task: TaskRef,
        work: Work,
        unmade: Vec<HostName>,
        situation: &Situation<'_>,
    ) -> Result<(), Refusal> {
        let malformed = |kind: &str, why: String| Err(("malformed", json!({"kind": kind, "why": why})));
        match work {
            Work::Hardware {
                host,
                image: Some(image),
                hostname: Some(hostname),
                ipmi,
                ..
            } => {
                let entry = self.host(host);
                if entry.hardware.is_some() {
                    return malformed("hardware", format!("there is another one for {}", entry.host));
                }
                entry.tasks.push(task.clone());
                entry.hardware = Some(Hardware {
                    task,
                    image,
                    hostname,
                    ipmi,
                });
                Ok(())
            }
            Work::Hardware { .. } => malformed("hardware", "the image or the hostname is missing".to_owned()),
            Work::Network { host, .. } | Work::Snapshot { host, .. } if !unmade.is_empty() => {
                Err(("unmade", json!({"host": host})))
            }
            Work::Network { host, interfaces } => {
                let entry = self.host(host);
                if entry.network.is_some() {
                    return malformed("network", format!("there is another one for {}", entry.host));
                }
                entry.tasks.push(task.clone());
                let cabling = Cabling::new(interfaces, situation.public);
                entry.network = Some(Network { task, cabling });
                Ok(())
            }
            Work::Key { user, key, hosts, .. } => {
                let entry = self.user(user);
                if entry.key.is_some() {
                    return malformed("SSH", "there is another one for the same user".to_owned());
                }
                entry.key = Some(Key {
                    task,
                    key,
                    hosts,
                    unavailable: unmade,
                });
                Ok(())
            }
            Work::Vpn { user, .. } => {
                let entry = self.user(user);
                if entry.vpn.is_some() {
                    return malformed("VPN", "there is another one for the same user".to_owned());
                }
                entry.vpn = Some(task);
                Ok(())
            }
            Work::Snapshot { host, dashboard_id } => {
                let network = cabling_of(&host, situation);
                self.snapshots.push(Snapshot {
                    task,
                    host,
                    snapshot: format!("snapshot_{dashboard_id}"),
                    network,
                });
                Ok(())
            }
            Work::Software(Some(opnfv)) => {
                self.software.push(Software {
                    task,
                    opnfv,
                    unavailable: unmade,
                });
                Ok(())
            }
            Work::Software(None) => malformed("software", "it names no installer".to_owned()),
            Work::Unknown { kind } => Err(("unknown", json!({"kind": kind}))),
            Work::Malformed { kind, why } => malformed(&kind, why),
        }
    }

    pub fn finish(self, plan: &mut Plan) {
        plan.hosts = self.hosts.into_values().collect();
        plan.users = self.users.into_values().collect();
        plan.software = self.software;
        plan.snapshots = self.snapshots;
    }

    fn host(&mut self, host: HostName) -> &mut Host {
        self.hosts.entry(host.clone()).or_insert_with(|| Host {
            host,
            hardware: None,
            network: None,
            tasks: Vec::new(),
        })
    }

    fn user(&mut self, user: u64) -> &mut User {
        self.users.entry(user).or_insert(User {
            user,
            key: None,
            vpn: None,
        })
    }
}

impl Cabling {
    fn new(interfaces: BTreeMap<Mac, Vec<Vlan>>, public: &[VlanId]) -> Self {
        let vlans = reachable(&interfaces, public);
        Self { interfaces, vlans }
    }
}

fn cabling_of(host: &HostName, situation: &Situation<'_>) -> Option<Cabling> {
    let lists = [
        Some(&situation.new),
        Some(&situation.current),
        situation.all.as_ref(),
    ];
    let of_host = |task: &Task| match &task.work {
        Work::Network { host: of, interfaces } if of == host => {
            Some(Cabling::new(interfaces.clone(), situation.public))
        }
        _ => None,
    };
    lists.into_iter().flatten().flatten().find_map(of_host)
}

fn reachable(interfaces: &BTreeMap<Mac, Vec<Vlan>>, public: &[VlanId]) -> Vec<VlanId> {
    let all = || interfaces.values().flatten();
    let is_public = |vlan: &&Vlan| public.contains(&vlan.vlan_id);
    let mut vlans = Vec::new();
    let in_order = all()
        .filter(|vlan| is_public(vlan) && !vlan.tagged)
        .chain(all().filter(|vlan| is_public(vlan) && vlan.tagged))
        .chain(all().filter(|vlan| !vlan.tagged));
    for vlan in in_order {
        if !vlans.contains(&vlan.vlan_id) {
            vlans.push(vlan.vlan_id);
        }
    }
    vlans
}
