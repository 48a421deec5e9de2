//! What the datastore has of the lab.

use super::rounds::Report;
use crate::inventory::{Entry, Lab};
use laas_core::datastore::Datastore;
use laas_core::failure::Context as _;
use laas_core::inventory::{self, Host};
use laas_core::keys::HOSTS;
pub use laas_core::keys::TOKEN;
use laas_core::{Failure, HostName, Secret, parallel};
use std::collections::{BTreeMap, BTreeSet};

const AT_ONCE: u64 = 8;

/// The keys that were found, by name.
#[derive(Debug, Default)]
pub struct Entries {
    found: BTreeMap<String, Entry>,
    wants_token: bool,
}

impl Entries {
    /// # Errors
    /// The datastore can't be asked.
    pub fn read(datastore: &Datastore, wants_token: bool) -> Result<Self, Failure> {
        let mut entries = Self {
            wants_token,
            ..Self::default()
        };
        entries.fetch(datastore, BTreeSet::from([HOSTS.to_owned(), TOKEN.to_owned()]))?;
        let names = entries.value(HOSTS).map(Secret::expose).unwrap_or_default();
        let names: Vec<String> = serde_json::from_str(names).unwrap_or_default();
        entries.fetch(datastore, names.into_iter().collect())?;
        let mut keys = BTreeSet::new();
        for host in entries.hosts() {
            keys.extend(host.bmc.map(|bmc| bmc.password_key));
            keys.extend(host.interfaces.values().map(|i| format!("switch_{}", i.switch)));
        }
        entries.fetch(datastore, keys)?;
        Ok(entries)
    }

    fn fetch(&mut self, datastore: &Datastore, names: BTreeSet<String>) -> Result<(), Failure> {
        let names: Vec<_> = names.into_iter().collect();
        let answers = parallel::map(&names, AT_ONCE, |name| datastore.entry(name));
        for (name, answer) in names.into_iter().zip(answers) {
            if let Some(found) = answer.at_peer("datastore")? {
                let entry = Entry {
                    name: name.clone(),
                    value: found.value,
                    secret: found.secret,
                    line: 0,
                };
                self.found.insert(name, entry);
            }
        }
        Ok(())
    }

    pub fn value(&self, name: &str) -> Option<&Secret> {
        self.found.get(name).map(|entry| &entry.value)
    }

    /// The listed hosts whose entry can be used.
    pub fn hosts(&self) -> Vec<Host> {
        let names = self.value(HOSTS).map(Secret::expose).unwrap_or_default();
        let names: Vec<HostName> = serde_json::from_str(names).unwrap_or_default();
        let host = |name: HostName| {
            let mut host: Host = serde_json::from_str(self.value(name.as_str())?.expose()).ok()?;
            host.name = name;
            Some(host)
        };
        names.into_iter().filter_map(host).collect()
    }

    /// The switch's entry, if there is one that can be used; if not, [`Entries::judge`] says so.
    pub fn switch(&self, address: &str) -> Option<inventory::Switch> {
        serde_json::from_str(self.value(&format!("switch_{address}"))?.expose()).ok()
    }

    /// What is wrong with the entries themselves.
    pub fn judge(&self) -> Report {
        let mut report = Report::default();
        let hosts = self.hosts();
        let passwords: BTreeSet<_> = hosts
            .iter()
            .filter_map(|h| Some(&h.bmc.as_ref()?.password_key))
            .collect();
        let is_text = |name: &String| *name == TOKEN || passwords.contains(name);
        let entries: Vec<Entry> = self
            .found
            .values()
            .filter(|e| !is_text(&e.name))
            .cloned()
            .collect();
        for mistake in Lab::of_entries(&entries, &[], true).mistakes {
            let hint = mistake.hint.unwrap_or_else(|| {
                "correct the inventory and load it: `inventory --command=load`, or `st2 key load hosts.json`".to_owned()
            });
            report.find("datastore", mistake.host.as_deref(), mistake.what, hint);
        }
        for host in &hosts {
            let name = host.name.as_str();
            match &host.bmc {
                None => {
                    let hint =
                        format!("add `bmc` to the key `{name}`, as in `hosts.json.example` of the pack");
                    report.find(
                        "bmc",
                        Some(name),
                        format!("the inventory names no BMC for `{name}`"),
                        hint,
                    );
                }
                Some(bmc) if self.value(&bmc.password_key).is_none_or(Secret::is_empty) => {
                    let key = &bmc.password_key;
                    let what = format!("the datastore has no key `{key}`, the BMC's password");
                    report.find(
                        "datastore",
                        Some(name),
                        what,
                        format!("`st2 key set -e {key} PASSWORD`"),
                    );
                }
                Some(_) => {}
            }
        }
        if self.wants_token
            && self
                .value(TOKEN)
                .is_none_or(|token| token.expose().trim().is_empty())
        {
            let what = format!("the datastore has no key `{TOKEN}`, the lab's token at the dashboard");
            report.find("datastore", None, what, format!("`st2 key set -e {TOKEN} TOKEN`"));
        }
        let clear =
            |entry: &&Entry| !entry.secret && (is_text(&entry.name) || entry.name.starts_with("switch_"));
        for Entry { name, .. } in self.found.values().filter(clear) {
            let what = format!("the key `{name}` is a secret and is not stored as one");
            let hint =
                format!("everybody who may read the datastore can read it: `st2 key set -e {name} VALUE`");
            report.find("datastore", None, what, hint);
        }
        report
    }
}
