//! Jobs and tasks, as `jobs/new` and `jobs/current` hand them out.
//!
//! They are foreign text in several dialects, so one bad task must not hide its neighbours: it is kept, with what is
//! wrong with it, and its user can be told.

use crate::software::Opnfv;
use laas_core::names::{AccountName, SystemHostname, TaskId};
use laas_core::{HostName, Mac, VlanId, ledger, ssh_key};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// The longest key of a user, in bytes. Keys travel in an action's arguments, of which Linux takes 128 KiB each
/// (`MAX_ARG_STRLEN`); RSA with 16384 bits needs 3 KB.
const LONGEST_KEY: usize = 16 << 10;
/// The most hosts of a user, and VLANs of a host on all of its interfaces together: they travel in one variable of
/// the environment, to which the same limit applies.
const MOST: usize = 400;
/// What is quoted of a text that nothing else limits, in characters.
const LONGEST_QUOTE: usize = 100;
/// A dashboard of 2022 asks by this group who uses the VPN. No lab can answer: the task can't be read, stays new, and
/// has nothing to do with the booking of the job that it is shown with.
const UNANSWERABLE: &str = "active users task";

/// A booking's job with those of its tasks that are in the list it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: u64,
    pub tasks: Vec<Task>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: TaskId,
    /// Its group in the payload: `hardware`, `network`, `access`, `software`, `snapshot`.
    kind: String,
    /// The task's configuration as it came.
    pub delta: Value,
    pub work: Work,
}

/// What a task asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    Hardware {
        host: HostName,
        /// Off when the booking is over; then the rest may be missing or that of another booking.
        power: bool,
        /// FOG's id.
        image: Option<u64>,
        hostname: Option<SystemHostname>,
        ipmi: bool,
    },
    /// Exactly what each interface shall carry, not an increment. The VLANs go when the booking is over.
    Network {
        host: HostName,
        interfaces: BTreeMap<Mac, Vec<Vlan>>,
    },
    /// SSH access of one user.
    Key {
        user: u64,
        /// What the user has uploaded, several lines perhaps, see [`ssh_key::read_upload`].
        key: String,
        hosts: Vec<HostName>,
        revoke: bool,
    },
    Vpn {
        user: u64,
        revoke: bool,
        /// The account's name, which the lab has left on the task.
        account: Option<AccountName>,
    },
    /// An OPNFV installation; without an installer when the booking is over.
    Software(Option<Opnfv>),
    Snapshot {
        host: HostName,
        /// The dashboard's number of the image to be, which names it.
        dashboard_id: u64,
    },
    /// A kind of task that this pack has never heard of.
    Unknown { kind: String },
    /// A known kind in a shape that can't be worked on.
    Malformed { kind: String, why: String },
}

/// A part of a host that a task makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Hardware,
    Network,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::Hardware, Self::Network];
}

/// A VLAN on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Vlan {
    pub vlan_id: VlanId,
    /// With an 802.1Q tag on the wire.
    pub tagged: bool,
}

impl Job {
    /// The hosts that the job has to give back, since its booking is over.
    pub fn returned_hosts(&self) -> BTreeSet<HostName> {
        let powered = powered(&self.tasks);
        let returned = self.tasks.iter().filter(|task| task.work.is_release(&powered));
        let host = |task: &Task| match &task.work {
            Work::Hardware { host, .. } | Work::Network { host, .. } => Some(host.clone()),
            _ => None,
        };
        returned.filter_map(host).collect()
    }

    /// The jobs in a list. A job without a number, or a task without an id, can't be answered and is left out.
    pub fn read_list(list: &[Value]) -> Vec<Self> {
        list.iter().filter_map(Self::read).collect()
    }

    /// As [`Job::read_list`], if nothing had to be left out and every network task can be understood.
    ///
    /// # Errors
    /// What is missing.
    pub fn read_whole_list(list: &[Value]) -> Result<Vec<Self>, String> {
        let jobs = Self::read_list(list);
        if jobs.len() != list.len() {
            return Err("a job can't be read".to_owned());
        }
        for (job, value) in jobs.iter().zip(list) {
            let groups = value["payload"].as_object().into_iter().flatten();
            let groups = groups.filter(|(kind, _)| *kind != UNANSWERABLE);
            let sizes: Option<Vec<usize>> = groups.map(|(_, group)| Some(group.as_object()?.len())).collect();
            if sizes.is_none_or(|sizes| sizes.iter().sum::<usize>() != job.tasks.len()) {
                return Err(format!("a task of job {} can't be read", job.id));
            }
            for task in &job.tasks {
                match &task.work {
                    Work::Malformed { kind, why } if kind == "network" => {
                        return Err(format!("the network task `{}` of job {}: {why}", task.id, job.id));
                    }
                    _ => {}
                }
            }
        }
        Ok(jobs)
    }

    fn read(job: &Value) -> Option<Self> {
        let Some(id) = job.get("id").and_then(Value::as_u64) else {
            tracing::warn!("a job of the dashboard has no number");
            return None;
        };
        let Some(payload) = job.get("payload").and_then(Value::as_object) else {
            tracing::warn!(job = id, "the job has no payload");
            return None;
        };
        let mut tasks = Vec::new();
        for (kind, group) in payload.iter().filter(|(kind, _)| *kind != UNANSWERABLE) {
            let Some(group) = group.as_object() else {
                tracing::warn!(
                    job = id,
                    kind = quote(kind),
                    "the tasks of this kind can't be read"
                );
                continue;
            };
            for (task, delta) in group {
                match task.parse() {
                    Ok(task) => tasks.push(Task::new(task, kind, delta.clone())),
                    Err(error) => {
                        tracing::warn!(job = id, kind = quote(kind), %error, "a task can't be addressed");
                    }
                }
            }
        }
        Some(Self { id, tasks })
    }
}

impl Task {
    /// The same task as another look at it shows it.
    #[must_use]
    pub fn with_delta(&self, delta: Value) -> Self {
        Self::new(self.id.clone(), &self.kind, delta)
    }

    /// `kind` is the task's group in the payload: `hardware`, `network`, `access`, `software`, `snapshot`.
    pub fn new(id: TaskId, kind: &str, delta: Value) -> Self {
        let work = read_work(kind, &delta).unwrap_or_else(|why| Work::Malformed {
            kind: quote(kind),
            why,
        });
        Self {
            id,
            kind: kind.to_owned(),
            delta,
            work,
        }
    }

    /// Which part of which hosts the task makes, also if it can't be worked on; nothing if it is no such task.
    pub fn makes(&self) -> Option<(Part, Vec<HostName>)> {
        let map = self.delta.as_object()?;
        match self.kind.as_str() {
            "hardware" => Some((Part::Hardware, name(map, "id").into_iter().collect())),
            "network" => {
                let hosts = map.iter().filter(|(_, value)| !value.is_string());
                let hosts = hosts.filter_map(|(host, _)| host.parse().ok());
                Some((Part::Network, hosts.collect()))
            }
            _ => None,
        }
    }

    /// See [`digest`].
    pub fn digest(&self) -> String {
        digest(&self.delta)
    }
}

impl Work {
    /// The host that it is done on; what is done for a user or on several hosts has none.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Hardware { host, .. } | Self::Network { host, .. } | Self::Snapshot { host, .. } => {
                Some(host)
            }
            _ => None,
        }
    }

    /// Whether it takes something back. Nothing in a job says that its booking is over; only the shape of its tasks
    /// does. A host that is to be powered on, see [`powered`], and has no network is just that.
    pub fn is_release(&self, powered: &BTreeSet<HostName>) -> bool {
        match self {
            Self::Hardware { power, .. } => !power,
            Self::Network { host, interfaces } => {
                interfaces.values().all(Vec::is_empty) && !powered.contains(host)
            }
            Self::Key { revoke, .. } | Self::Vpn { revoke, .. } => *revoke,
            Self::Software(opnfv) => opnfv.is_none(),
            Self::Snapshot { .. } | Self::Unknown { .. } | Self::Malformed { .. } => false,
        }
    }
}

/// Whether these are tasks of a job whose booking is over.
pub fn is_over<'a>(tasks: impl IntoIterator<Item = &'a Task, IntoIter: Clone>) -> bool {
    let mut tasks = tasks.into_iter();
    let powered = powered(tasks.clone());
    tasks.any(|task| task.work.is_release(&powered))
}

/// The hosts that are to be on: all whose hardware task does not say `off`, also one that can't be worked on, such as
/// for an image that FOG does not have.
pub fn powered<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> BTreeSet<HostName> {
    let powered = |task: &Task| {
        let map = task.delta.as_object().filter(|_| task.kind == "hardware")?;
        (read_power(map) != Some(false)).then(|| name(map, "id").ok())?
    };
    tasks.into_iter().filter_map(powered).collect()
}

/// A fingerprint of what a delta asks for. The lab's own token is no part of that: it comes back in the delta as soon
/// as it is posted, which makes no other work of it.
pub fn digest(delta: &Value) -> String {
    match delta {
        Value::Object(map) => {
            let mut map = map.clone();
            map.shift_remove("lab_token");
            ledger::digest(&Value::Object(map))
        }
        other => ledger::digest(other),
    }
}

fn read_work(kind: &str, delta: &Value) -> Result<Work, String> {
    let map = delta.as_object().ok_or("its configuration is no object")?;
    match kind {
        "hardware" => read_hardware(map),
        "network" => read_network(map),
        "access" => read_access(map),
        "software" => read_software(map),
        "snapshot" => Ok(Work::Snapshot {
            host: name(map, "host")?,
            dashboard_id: number(map.get("dashboard_id")).ok_or("`dashboard_id` is not a number")?,
        }),
        other => Ok(Work::Unknown { kind: quote(other) }),
    }
}

fn read_hardware(map: &Map<String, Value>) -> Result<Work, String> {
    let host = name(map, "id")?;
    let power = read_power(map).ok_or("`power` is neither `on` nor `off`")?;
    if !power {
        return Ok(Work::Hardware {
            host,
            power,
            image: None,
            hostname: None,
            ipmi: false,
        });
    }
    let image = number(map.get("image")).ok_or_else(|| no_image(map.get("image")))?;
    Ok(Work::Hardware {
        host,
        power,
        image: Some(image),
        hostname: Some(name(map, "hostname")?),
        ipmi: is_set(map, "ipmi_create")?,
    })
}

/// What is wrong with an image that is no number of FOG's, and who can mend it.
fn no_image(image: Option<&Value>) -> String {
    let text = match image {
        None | Some(Value::Null) => return "it names no image".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    // What the dashboard sends as long as nobody has told it the number of a snapshot's image.
    if text.trim() == "-1" {
        return "its image is a snapshot that the lab has not entered on the dashboard yet".to_owned();
    }
    format!(
        "its image is `{}` on the dashboard, where the lab has to enter FOG's number of the image, e.g. 17",
        quote(&text)
    )
}

fn read_power(map: &Map<String, Value>) -> Option<bool> {
    match map.get("power")?.as_str()? {
        power if power.eq_ignore_ascii_case("off") => Some(false),
        power if power.eq_ignore_ascii_case("on") => Some(true),
        _ => None,
    }
}

fn read_network(map: &Map<String, Value>) -> Result<Work, String> {
    let mut hosts = map.iter().filter(|(_, value)| value.is_object());
    let (Some((host, ports)), None) = (hosts.next(), hosts.next()) else {
        return Err("it does not name exactly one host".to_owned());
    };
    let host = host.parse().map_err(text)?;
    let mut interfaces = BTreeMap::new();
    for (mac, vlans) in ports.as_object().into_iter().flatten() {
        let mac: Mac = mac.parse().map_err(text)?;
        let vlans = vlans
            .as_array()
            .ok_or_else(|| format!("the VLANs of `{mac}` are no list"))?;
        let vlans: Vec<Vlan> = vlans.iter().map(read_vlan).collect::<Result<_, _>>()?;
        if interfaces.insert(mac.clone(), vlans).is_some() {
            return Err(format!("`{mac}` stands there twice"));
        }
        let total: usize = interfaces.values().map(|vlans| vlans.len().max(1)).sum();
        if total > MOST {
            return Err(format!("it asks for more than {MOST} VLANs on one host"));
        }
    }
    Ok(Work::Network { host, interfaces })
}

fn read_vlan(vlan: &Value) -> Result<Vlan, String> {
    let id = number(vlan.get("vlan_id")).ok_or("a `vlan_id` is not a number")?;
    Ok(Vlan {
        vlan_id: id.try_into().map_err(text)?,
        tagged: flag(vlan.get("tagged")).ok_or("`tagged` is neither true nor false")?,
    })
}

fn read_access(map: &Map<String, Value>) -> Result<Work, String> {
    let user = || number(map.get("user")).ok_or("`user` is not a number");
    let revoke = is_set(map, "revoke")?;
    match map.get("access_type").and_then(Value::as_str) {
        Some("vpn") => Ok(Work::Vpn {
            user: user()?,
            revoke,
            // A task that the lab has left nothing on says the four letters `null`.
            account: lab_token(map).and_then(|token| token.parse().ok()),
        }),
        Some("ssh") => {
            let context = map.get("context").and_then(Value::as_object);
            let context = context.ok_or("`context` is missing")?;
            let key = context.get("key").and_then(Value::as_str).unwrap_or_default();
            let key = key.trim();
            if key.is_empty() {
                return Err("the key is empty".to_owned());
            }
            if key.len() > LONGEST_KEY {
                return Err(format!(
                    "the key is longer than {} KiB, so it is no SSH public key",
                    LONGEST_KEY >> 10
                ));
            }
            let hosts = context.get("hosts").and_then(Value::as_array);
            let hosts = hosts.ok_or("`hosts` is no list")?;
            if hosts.len() > MOST {
                return Err(format!("it names more than {MOST} hosts"));
            }
            let hosts = hosts.iter().map(|host| {
                let host = host.as_str().ok_or("a host is no text")?;
                host.parse().map_err(text)
            });
            Ok(Work::Key {
                user: user()?,
                key: ssh_key::without_secrets(key),
                hosts: hosts.collect::<Result<_, String>>()?,
                revoke,
            })
        }
        other => Ok(Work::Unknown {
            kind: format!("access {}", quote(other.unwrap_or("without a type"))),
        }),
    }
}

fn lab_token(map: &Map<String, Value>) -> Option<&str> {
    let token = map.get("lab_token")?.as_str()?;
    (!token.is_empty() && token != "null").then_some(token)
}

fn read_software(map: &Map<String, Value>) -> Result<Work, String> {
    let opnfv = map.get("opnfv").and_then(Value::as_object);
    Ok(Work::Software(Opnfv::read(opnfv.ok_or("`opnfv` is no object")?)?))
}

fn name<T: std::str::FromStr<Err: Display>>(map: &Map<String, Value>, key: &str) -> Result<T, String> {
    let text = map.get(key).and_then(Value::as_str);
    text.ok_or_else(|| format!("`{key}` is missing"))?
        .parse()
        .map_err(|error| format!("`{key}`: {error}"))
}

/// The dashboard of 2022 sends as text what that of 2019 sends as a number or as a truth value.
fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}

/// False if nothing is said.
fn is_set(map: &Map<String, Value>, key: &str) -> Result<bool, String> {
    let value = map.get(key).or(Some(&Value::Bool(false)));
    flag(value).ok_or_else(|| format!("`{key}` is neither true nor false"))
}

fn flag(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn quote(text: &str) -> String {
    text.escape_debug().take(LONGEST_QUOTE).collect()
}

fn text(error: impl Display) -> String {
    error.to_string()
}
