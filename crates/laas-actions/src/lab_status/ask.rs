//! The questions, each to one peer, and their answers.

use super::{Access, Cell, DATASTORE, Image, Task, Unfinished};
use crate::hosts::PinnedKey;
use laas_core::config::Config;
use laas_core::datastore::Datastore;
use laas_core::failure::Context as _;
use laas_core::inventory::{self, Host};
use laas_core::keys::TOKEN;
use laas_core::{Failure, HostName, ledger, parallel};
use laas_dashboard::{Dashboard, List, Work};
use laas_switch::PortName;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const AT_ONCE: u64 = 8;

pub struct Lab {
    pub config: Result<Config, String>,
    pub datastore: Datastore,
    pub entries: Vec<(HostName, Result<Host, String>)>,
    pub call: Duration,
}

/// What the datastore remembers of a host.
#[derive(Clone)]
pub struct Remembered {
    pub image: Cell<Option<Image>>,
    pub access: Cell<Access>,
}

pub type Booked = Vec<(HostName, Cell<Option<bool>>)>;
pub type Ports = BTreeMap<String, Cell<String>>;
/// Unfinished work, and the last words about each task.
pub type Ledger = (Vec<Unfinished>, BTreeMap<String, String>);

pub enum Answer {
    Booked(Cell<Booked>),
    Tasks(Cell<Vec<(HostName, Task)>>),
    Ledger(Cell<Ledger>),
    Power(HostName, Cell<String>),
    Remembered(HostName, Remembered),
    Ports(String, Cell<Ports>),
}

pub type Question = Box<dyn FnOnce() -> Answer + Send>;

/// All questions, and the switches that are asked.
pub fn jobs(lab: &Arc<Lab>) -> (Vec<Question>, BTreeSet<String>) {
    let mut jobs: Vec<Question> = Vec::new();
    let (booked, tasks, ledger) = (lab.clone(), lab.clone(), lab.clone());
    jobs.push(Box::new(move || Answer::Booked(booked.booked().into())));
    jobs.push(Box::new(move || Answer::Tasks(tasks.tasks().into())));
    jobs.push(Box::new(move || Answer::Ledger(ledger.ledger().into())));
    let mut addresses = BTreeSet::new();
    for (name, entry) in &lab.entries {
        let (power, remembered) = (lab.clone(), lab.clone());
        let (of, name) = (name.clone(), name.clone());
        if let Ok(host) = entry {
            addresses.extend(host.interfaces.values().map(|i| i.switch.clone()));
            let host = host.clone();
            let own = of.clone();
            jobs.push(Box::new(move || Answer::Power(own, power.power(&host).into())));
        }
        jobs.push(Box::new(move || {
            let found = remembered.remembered(&of);
            Answer::Remembered(name, found)
        }));
    }
    for address in addresses.clone() {
        let lab = lab.clone();
        jobs.push(Box::new(move || {
            let ports = lab.ports(&address).into();
            Answer::Ports(address, ports)
        }));
    }
    (jobs, addresses)
}

impl Lab {
    fn config(&self) -> Result<&Config, Failure> {
        self.config.as_ref().map_err(Failure::input)
    }

    fn dashboard(&self) -> Result<Dashboard, Failure> {
        let token = inventory::read(&self.datastore, TOKEN).at_peer(DATASTORE)?;
        Ok(Dashboard::new(self.config()?.dashboard()?, &token, self.call)?)
    }

    fn booked(&self) -> Result<Booked, Failure> {
        let dashboard = self.dashboard()?;
        let names: Vec<_> = self.entries.iter().map(|(name, _)| name.clone()).collect();
        let answers = parallel::map(&names, AT_ONCE, |name| dashboard.is_booked(name));
        Ok(names
            .into_iter()
            .zip(answers.into_iter().map(Cell::from))
            .collect())
    }

    fn tasks(&self) -> Result<Vec<(HostName, Task)>, Failure> {
        let dashboard = self.dashboard()?;
        let mut found = Vec::new();
        for list in [List::New, List::Current] {
            for job in dashboard.jobs(list)? {
                for task in job.tasks {
                    let (hosts, what) = match task.work {
                        Work::Hardware { host, .. } => (vec![host], "hardware"),
                        Work::Network { host, .. } => (vec![host], "network"),
                        Work::Snapshot { host, .. } => (vec![host], "snapshot"),
                        Work::Key { hosts, .. } => (hosts, "key"),
                        _ => continue,
                    };
                    found.extend(hosts.into_iter().map(|host| (host, Task { job: job.id, what })));
                }
            }
        }
        Ok(found)
    }

    fn ledger(&self) -> Result<Ledger, Failure> {
        #[derive(Deserialize)]
        struct Told {
            #[serde(default)]
            said: String,
        }
        let all = ledger::all(&self.datastore).at_peer(DATASTORE)?;
        let open = all.into_iter().filter(|(_, record)| record.state != 200);
        let mut unfinished: Vec<_> = open
            .map(|(task, record)| Unfinished {
                task: task.to_string(),
                job: record.job,
                host: record.host,
                user: record.user,
                state: record.state,
                tried_again: record.release && record.state == 300,
                time: record.time,
            })
            .collect();
        unfinished.sort_by_key(|work| std::cmp::Reverse(work.time));
        let told = self.datastore.list("told_").at_peer(DATASTORE)?;
        let told = told.into_iter().filter_map(|entry| {
            let told: Told = serde_json::from_str(entry.value.expose()).ok()?;
            let task = entry.name.trim_start_matches("told_").to_owned();
            (!told.said.is_empty()).then_some((task, told.said))
        });
        Ok((unfinished, told.collect()))
    }

    fn power(&self, host: &Host) -> Result<String, Failure> {
        let Some(entry) = &host.bmc else {
            return Err(Failure::input("the inventory names no BMC"));
        };
        let password = inventory::read(&self.datastore, &entry.password_key).at_peer(DATASTORE)?;
        // Beside whoever else works at it: a look takes one exchange, and nobody waits for a lock to get one.
        let bmc = laas_bmc::open(entry, password, self.call)?;
        Ok(bmc.power()?.to_string())
    }

    fn remembered(&self, host: &HostName) -> Remembered {
        #[derive(Deserialize)]
        struct Deploy {
            image: Value,
            state: String,
        }
        #[derive(Deserialize)]
        struct Account {
            user: String,
        }
        let image = || {
            let deploy: Option<Deploy> = self.datastore.get_record(&format!("image_{host}"))?;
            Ok::<_, Failure>(deploy.map(|deploy| {
                let entry = self.entries.iter().find(|(name, _)| name == host);
                let entry = entry.and_then(|(_, entry)| entry.as_ref().ok());
                let system = entry
                    .zip(deploy.image.as_u64())
                    .and_then(|(host, id)| host.image_os(id));
                Image {
                    id: deploy.image,
                    system,
                    state: deploy.state,
                }
            }))
        };
        let access = || {
            let account: Option<Account> = self.datastore.get_record(&format!("bmc_user_{host}"))?;
            let pinned: Option<PinnedKey> = self.datastore.get_record(&format!("ssh_host_key_{host}"))?;
            Ok::<_, Failure>(Access {
                bmc_user: account.map(|account| account.user),
                ssh_host_key: pinned.map(|pinned| pinned.fingerprint),
            })
        };
        Remembered {
            image: image().into(),
            access: access().into(),
        }
    }

    fn ports(&self, address: &str) -> Result<Ports, Failure> {
        let interfaces = self.entries.iter().filter_map(|(_, entry)| entry.as_ref().ok());
        let interfaces = interfaces.flat_map(|host| host.interfaces.values());
        let names: BTreeSet<PortName> = interfaces
            .filter(|i| i.switch == address)
            .filter_map(|i| i.port.parse().ok())
            .collect();
        let entry = inventory::Switch::load(&self.datastore, address).at_peer(DATASTORE)?;
        let present = laas_switch::open(address, &entry, self.call)?.read(&names)?;
        let known = present
            .ports
            .iter()
            .map(|(name, port)| (name.to_string(), Cell::Value(port.to_string())));
        let others = present
            .untouchable
            .iter()
            .map(|(name, why)| (name.to_string(), Cell::Error(why.0.clone())));
        Ok(known.chain(others).collect())
    }
}
