//! A lab as one of the two kinds of file has it: what is in it, what is wrong with it, and the keys that it is in the
//! datastore.

use super::Mistake;
use super::schema::{self, Syntax, interface_nodes};
use super::tree::{self, Key, Kind, Node};
use laas_core::Secret;
use laas_core::keys::{self, HOSTS};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SWITCH: &str = "switch_";

/// A key of the datastore.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub value: Secret,
    pub secret: bool,
    /// Where the file has it; 0 if it is not from a file.
    pub line: usize,
}

#[derive(Debug, Default)]
pub struct Lab {
    /// In the order of the file.
    pub hosts: Vec<(String, Node, Value)>,
    /// By address; `None` if the file says nothing of switches, which may be in the datastore.
    pub switches: Option<BTreeMap<String, Value>>,
    /// Keys whose value is nothing but a secret.
    pub secrets: BTreeMap<String, Secret>,
    /// Entries that are of no lab.
    pub others: Vec<String>,
    pub mistakes: Vec<Mistake>,
}

impl Lab {
    /// What a person wrote.
    pub fn of_yaml(text: &str) -> Self {
        let mut lab = Self::default();
        match tree::parse(text, &mut lab.mistakes) {
            Ok(root) => lab.read_yaml(&root),
            Err(mistake) => lab.mistakes.push(mistake),
        }
        lab.compare();
        lab
    }

    fn read_yaml(&mut self, root: &Node) {
        for (Key { line, name }, node) in root.entries() {
            match name.as_str() {
                "hosts" => {
                    for (key, node) in node.entries() {
                        self.refuse_reserved(&key.name, key.line);
                        self.host(key, node.clone(), Syntax::Yaml);
                    }
                }
                "switches" => {
                    let switches = self.switches.get_or_insert_default();
                    for (Key { name, .. }, node) in node.entries() {
                        let what = format!("switch `{name}`");
                        if let Err(why) = schema::address(name) {
                            self.mistakes.push(Mistake::new(node.line, why));
                        }
                        let value =
                            schema::read(&what, node, schema::SWITCH, Syntax::Yaml, &mut self.mistakes);
                        switches.insert(name.clone(), value);
                    }
                }
                "secrets" => {
                    for (key, node) in node.entries() {
                        match node.text() {
                            Some(text) if !node.is_null() => {
                                self.secrets.insert(key.name.clone(), Secret::new(text));
                            }
                            _ => {
                                let what = format!("the secret `{}` has no value", key.name);
                                self.mistakes.push(Mistake::new(key.line, what));
                            }
                        }
                    }
                }
                _ => {
                    let what = format!("an inventory has no `{name}`");
                    let hint = "known are `hosts`, `switches` and `secrets`";
                    self.mistakes.push(Mistake::new(*line, what).hint(hint));
                }
            }
        }
        let secrets = root.get("secrets").map(Node::entries).unwrap_or_default();
        for (Key { line, name }, _) in secrets {
            if self.is_entry(name) || keys::is_record(name) {
                let what = format!("the secret `{name}` has the name of something else");
                self.mistakes.push(Mistake::new(*line, what));
            }
        }
        if self.hosts.is_empty() {
            let what = "there is no host in it";
            self.mistakes
                .push(Mistake::new(1, what).hint("see `inventory.yaml.example` of the pack"));
        }
    }

    /// What `hosts.json` holds, or the datastore. `secrets` are the entries of another file. If they are `all` that
    /// there is, a switch that is not among them is unknown.
    pub fn of_entries(entries: &[Entry], secrets: &[Entry], all: bool) -> Self {
        let mut lab = Self {
            switches: all.then(BTreeMap::new),
            ..Self::default()
        };
        let mut listed: Option<Vec<String>> = None;
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in entries.iter().chain(secrets) {
            if let Some(first) = seen.insert(&entry.name, entry.line) {
                let what = format!("the key `{}` stands in line {first} already", entry.name);
                lab.mistakes.push(Mistake::new(entry.line, what));
                continue;
            }
            let address = entry.name.strip_prefix(SWITCH);
            let node = (!entry.secret || address.is_some()).then(|| tree_of(entry));
            match (entry.name.as_str(), address, node) {
                (HOSTS, _, Some(node)) => listed = Some(lab.list(entry, node)),
                (_, Some(address), Some(node)) => {
                    let what = format!("`{}`", entry.name);
                    let value = match &node {
                        Ok(node) => {
                            schema::read(&what, node, schema::SWITCH, Syntax::Json, &mut lab.mistakes)
                        }
                        Err(mistake) => {
                            lab.mistakes.push(mistake.clone());
                            Value::Null
                        }
                    };
                    lab.switches
                        .get_or_insert_default()
                        .insert(address.to_owned(), value);
                }
                (name, None, Some(Ok(node)))
                    if node.get("fog_name").is_some() || is_listed(entries, name) =>
                {
                    let line = entry.line;
                    let name = name.to_owned();
                    lab.host(&Key { line, name }, node, Syntax::Json);
                }
                (name, None, Some(Err(mistake))) if is_listed(entries, name) => lab.mistakes.push(mistake),
                _ if entry.secret => {
                    lab.secrets.insert(entry.name.clone(), entry.value.clone());
                }
                (name, ..) => lab.others.push(name.to_owned()),
            }
        }
        lab.compare_list(entries, listed);
        lab.compare();
        lab
    }

    fn list(&mut self, entry: &Entry, node: Result<Node, Mistake>) -> Vec<String> {
        let mut names = Vec::new();
        match node {
            Ok(Node {
                kind: Kind::List(items),
                ..
            }) => {
                for item in &items {
                    match item.text() {
                        Some(name) if names.iter().any(|n| n == name) => {
                            let what = format!("`{HOSTS}` has `{name}` twice");
                            self.mistakes.push(Mistake::new(entry.line, what));
                        }
                        Some(name) => {
                            self.refuse_reserved(name, entry.line);
                            names.push(name.to_owned());
                        }
                        None => {
                            let what = format!("`{HOSTS}` holds something that is no name");
                            self.mistakes.push(Mistake::new(entry.line, what));
                        }
                    }
                }
            }
            Ok(_) => {
                let what = format!("`{HOSTS}` is no list");
                self.mistakes.push(Mistake::new(entry.line, what));
            }
            Err(mistake) => self.mistakes.push(mistake),
        }
        names
    }

    fn host(&mut self, key: &Key, node: Node, syntax: Syntax) {
        if let Err(why) = schema::host_name(&key.name) {
            self.mistakes.push(Mistake::new(key.line, why));
        }
        let node = Node {
            line: key.line,
            ..node
        };
        let what = format!("host `{}`", key.name);
        let value = schema::read(&what, &node, schema::HOST, syntax, &mut self.mistakes);
        // Of YAML it is made.
        if syntax == Syntax::Json
            && let Some(bmc) = node.get("bmc").filter(|bmc| !bmc.is_null())
            && bmc.get("password_key").is_none_or(Node::is_null)
        {
            let what = format!("`bmc` of {what} has no `password_key`");
            self.mistakes.push(Mistake::new(bmc.line, what));
        }
        self.hosts.push((key.name.clone(), node, value));
    }

    fn refuse_reserved(&mut self, name: &str, line: usize) {
        if let Some(why) = keys::reserved(name) {
            let hint = "give the host another name, here and on the dashboard";
            self.mistakes.push(Mistake::new(line, why).hint(hint).of(name));
        }
    }

    /// Whether the list `hosts` and the entries are of the same hosts.
    fn compare_list(&mut self, entries: &[Entry], listed: Option<Vec<String>>) {
        let Some(listed) = listed else {
            let what = format!("there is no `{HOSTS}`, the list of all hosts");
            self.mistakes.push(Mistake::new(1, what));
            return;
        };
        let line = entries.iter().find(|e| e.name == HOSTS).map_or(0, |e| e.line);
        for name in listed
            .iter()
            .filter(|name| !entries.iter().any(|e| e.name == **name))
        {
            let what = format!("`{HOSTS}` has `{name}`, which has no entry");
            self.mistakes.push(Mistake::new(line, what));
        }
        for (name, node, _) in &self.hosts {
            if !listed.contains(name) {
                let mistake = Mistake::new(node.line, format!("host `{name}` is not in `{HOSTS}`"));
                let hint = format!("add it to the list `{HOSTS}`: nobody sees it otherwise");
                self.mistakes.push(mistake.hint(hint));
            }
        }
    }

    /// What no two hosts may have, and what an entry should have elsewhere.
    fn compare(&mut self) {
        let mut mistakes = Vec::new();
        let mut unknown = BTreeSet::new();
        let mut taken: BTreeMap<(&str, String), (usize, String)> = BTreeMap::new();
        let mut take =
            |kind: &'static str, value: String, line: usize, host: &str, mistakes: &mut Vec<Mistake>| {
                if let Some((first, owner)) = taken.get(&(kind, value.clone())) {
                    let place = match first {
                        0 => format!("host `{owner}` has it already"),
                        first => format!("host `{owner}` has it in line {first}"),
                    };
                    mistakes.push(
                        Mistake::new(line, format!("{kind} `{value}` is used twice: {place}")).of(host),
                    );
                    return;
                }
                taken.insert((kind, value), (line, host.to_owned()));
            };
        for (number, (name, node, _)) in self.hosts.iter().enumerate() {
            let others = self.hosts.iter().take(number);
            for (other, ..) in others.filter(|(other, ..)| keys::share_passwords(name, other)) {
                let what = format!("the passwords of the hosts `{name}` and `{other}` have the same keys");
                let hint = "give one of them a name that is not the other's with `_` and more behind it";
                mistakes.push(Mistake::new(node.line, what).hint(hint).of(name));
            }
            for (kind, field) in [("the dashboard's id", "dashboard_id"), ("FOG's name", "fog_name")] {
                if let Some((node, text)) = node.get(field).and_then(|n| Some((n, n.text()?))) {
                    take(kind, text.to_owned(), node.line, name, &mut mistakes);
                }
            }
            for interface in interface_nodes(node) {
                let text = |field: &str| interface.get(field).and_then(Node::text);
                let line = |field: &str| interface.get(field).map_or(interface.line, |n| n.line);
                if let Some(mac) = text("mac") {
                    let mac = mac.to_ascii_lowercase().replace('-', ":");
                    take("the MAC address", mac, line("mac"), name, &mut mistakes);
                }
                let Some((switch, port)) = text("switch").zip(text("port")) else {
                    continue;
                };
                let socket = format!("{port} of {switch}");
                take("the port", socket, line("port"), name, &mut mistakes);
                let known = self.switches.as_ref();
                if known.is_some_and(|known| !known.contains_key(switch)) && unknown.insert(switch) {
                    let what = format!("host `{name}` hangs on the unknown switch `{switch}`");
                    let hint = format!("add the switch, in the datastore as `{SWITCH}{switch}`");
                    mistakes.push(Mistake::new(line("switch"), what).hint(hint).of(name));
                }
            }
            if let Some(bmc) = node.get("bmc")
                && let Some(address) = bmc.get("address")
            {
                let port = bmc.get("port").and_then(Node::text).unwrap_or_default();
                let socket = format!("{}:{port}", address.text().unwrap_or_default());
                let socket = socket.trim_end_matches(':').to_owned();
                take("the BMC's address", socket, address.line, name, &mut mistakes);
            }
            if let Some(key) = node.get("bmc").and_then(|bmc| bmc.get("password_key"))
                && key
                    .text()
                    .is_some_and(|key| self.is_entry(key) || keys::is_record(key))
            {
                let what = format!("the `password_key` of host `{name}` is the key of something else");
                mistakes.push(Mistake::new(key.line, what).of(name));
            }
            let images = ["ubuntu_image", "centos_image", "suse_image"];
            if images
                .iter()
                .all(|image| node.get(image).is_none_or(Node::is_null))
            {
                let what = format!("host `{name}` has no image");
                let hint = "give at least one of `ubuntu_image`, `centos_image` and `suse_image`: FOG's ids";
                mistakes.push(Mistake::new(node.line, what).hint(hint).of(name));
            }
            if node.get("interfaces").is_some() && interface_nodes(node).is_empty() {
                let what = format!("host `{name}` has no interface");
                mistakes.push(Mistake::new(node.line, what).of(name));
            }
        }
        self.mistakes.extend(mistakes);
        self.mistakes.sort_by_key(|mistake| mistake.line);
    }

    /// Whether the inventory has a key of this name that is no mere secret.
    fn is_entry(&self, key: &str) -> bool {
        key == HOSTS || key.starts_with(SWITCH) || self.hosts.iter().any(|(name, ..)| name == key)
    }

    /// The keys of the datastore, with the passwords apart; and the names of those that are to be set by hand.
    pub fn entries(&self) -> (Vec<Entry>, Vec<String>) {
        let mut secrets = self.secrets.clone();
        let mut wanted = BTreeSet::from(["lab_auth_token".to_owned()]);
        let mut entries = Vec::new();
        for (name, _, value) in &self.hosts {
            let mut value = value.clone();
            if let Some(bmc) = value.get_mut("bmc").and_then(Value::as_object_mut) {
                let default = || json!(format!("bmc_admin_{name}"));
                let key = bmc.entry("password_key").or_insert_with(default);
                let key = key.as_str().unwrap_or_default().to_owned();
                if let Some(Value::String(password)) = bmc.shift_remove("password") {
                    secrets.insert(key.clone(), Secret::new(password));
                }
                wanted.insert(key);
            }
            entries.push(Entry::new(name, Secret::new(value.to_string()), false));
        }
        let mut switches: BTreeSet<&str> = BTreeSet::new();
        for (_, node, _) in &self.hosts {
            switches.extend(
                interface_nodes(node)
                    .iter()
                    .filter_map(|i| i.get("switch")?.text()),
            );
        }
        for (address, value) in self.switches.iter().flatten() {
            if value.get("password").is_some() {
                let key = format!("{SWITCH}{address}");
                secrets.insert(key, Secret::new(value.to_string()));
            }
        }
        wanted.extend(switches.iter().map(|address| format!("{SWITCH}{address}")));
        wanted.retain(|key| !secrets.contains_key(key));
        entries.extend(
            secrets
                .into_iter()
                .map(|(name, value)| Entry::new(&name, value, true)),
        );
        // Last, so that no host is listed before it has an entry.
        let names: Vec<_> = self.hosts.iter().map(|(name, ..)| name).collect();
        entries.push(Entry::new(HOSTS, Secret::new(json!(names).to_string()), false));
        (entries, wanted.into_iter().collect())
    }

    /// The file that a person would have written.
    pub fn yaml(&self) -> Value {
        let mut secrets = self.secrets.clone();
        let mut hosts = Map::new();
        for (name, _, value) in &self.hosts {
            let mut value = value.clone();
            if let Some(interfaces) = value.get_mut("interfaces") {
                let list = interfaces.as_object().map(|map| map.values().cloned().collect());
                *interfaces = Value::Array(list.unwrap_or_default());
            }
            if let Some(bmc) = value.get_mut("bmc").and_then(Value::as_object_mut) {
                let key = bmc
                    .get("password_key")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if let Some(password) = secrets.remove(key) {
                    bmc.insert("password".to_owned(), json!(password.expose()));
                }
            }
            hosts.insert(name.clone(), value);
        }
        let mut root = Map::new();
        if let Some(switches) = &self.switches {
            root.insert("switches".to_owned(), json!(switches));
        }
        root.insert("hosts".to_owned(), Value::Object(hosts));
        if !secrets.is_empty() {
            let texts: Map<_, _> = secrets
                .iter()
                .map(|(name, value)| (name.clone(), json!(value.expose())))
                .collect();
            root.insert("secrets".to_owned(), Value::Object(texts));
        }
        Value::Object(root)
    }
}

impl Entry {
    fn new(name: &str, value: Secret, secret: bool) -> Self {
        Self {
            name: name.to_owned(),
            value,
            secret,
            line: 0,
        }
    }
}

/// What stands in an entry's string, all of it on the entry's line.
fn tree_of(entry: &Entry) -> Result<Node, Mistake> {
    let text = entry.value.expose();
    let malformed = |column: usize| {
        let what = format!("the value of `{}` is no JSON, at its column {column}", entry.name);
        Mistake::new(entry.line, what).hint("compare it with `hosts.json.example` of the pack")
    };
    // YAML takes more than JSON. The parser's own words could quote a password.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|e| malformed(e.column()))?;
    let mut twice = Vec::new();
    let node = tree::parse(&super::files::spaced(text), &mut twice).map_err(|_| malformed(1))?;
    match twice.into_iter().next() {
        Some(Mistake { .. }) => {
            let what = format!("the value of `{}` has a key twice", entry.name);
            Err(Mistake::new(entry.line, what))
        }
        None => Ok(node.on_line(entry.line)),
    }
}

fn is_listed(entries: &[Entry], name: &str) -> bool {
    let list = entries.iter().find(|entry| entry.name == HOSTS);
    let names = list.and_then(|entry| serde_json::from_str::<Vec<String>>(entry.value.expose()).ok());
    names.is_some_and(|names| names.iter().any(|n| n == name))
}
