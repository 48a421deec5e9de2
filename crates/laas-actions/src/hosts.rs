//! How every action that works inside a host gets there: its addresses, its pinned key, its lock.

use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::inventory::Host;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Kind, VlanId};
use laas_host::{HostKey, HostKeyPolicy, Login, Session};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub const PEER: &str = "host";

/// The value of the key `ssh_host_key_<host>`: who the host is since its last deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedKey {
    #[serde(rename = "type")]
    pub kind: String,
    pub key: String,
    pub fingerprint: String,
    /// The deploy after which it was pinned.
    pub request: String,
}

impl PinnedKey {
    pub fn new(key: &HostKey, request: &str) -> Self {
        Self {
            kind: key.kind.clone(),
            key: key.base64.clone(),
            fingerprint: key.fingerprint(),
            request: request.to_owned(),
        }
    }

    /// # Errors
    /// The datastore can't be read.
    pub fn load(context: &Context, host: &HostName) -> Result<Option<Self>, Failure> {
        let found = context.datastore()?.get_record(&key(host));
        found.at_peer("datastore").of_host(host)
    }

    /// # Errors
    /// The datastore can't be written.
    pub fn store(&self, context: &Context, host: &HostName) -> Result<(), Failure> {
        let stored = context.datastore()?.put_record(&key(host), self);
        stored.at_peer("datastore").of_host(host)
    }

    pub fn policy(&self) -> HostKeyPolicy {
        HostKeyPolicy::Pinned(HostKey {
            kind: self.kind.clone(),
            base64: self.key.clone(),
        })
    }
}

fn key(host: &HostName) -> String {
    format!("ssh_host_key_{host}")
}

/// The value of the key `before_<host>`: who answered at the host's addresses before a deploy, and so is not what it
/// wrote.
#[derive(Debug, Serialize, Deserialize)]
pub struct Before {
    pub request: String,
    /// Of the SSH host keys.
    pub fingerprints: BTreeSet<String>,
}

impl Before {
    /// # Errors
    /// The datastore can't be read.
    pub fn load(context: &Context, host: &HostName) -> Result<Option<Self>, Failure> {
        let found = context.datastore()?.get_record(&format!("before_{host}"));
        found.at_peer("datastore").of_host(host)
    }

    /// # Errors
    /// The datastore can't be written.
    pub fn store(&self, context: &Context, host: &HostName) -> Result<(), Failure> {
        let stored = context.datastore()?.put_record(&format!("before_{host}"), self);
        stored.at_peer("datastore").of_host(host)
    }
}

/// The host's entry in the inventory.
///
/// # Errors
/// It is unlisted or malformed, or the datastore can't be read.
pub fn load(context: &Context, name: &HostName) -> Result<Host, Failure> {
    Host::load(context.datastore()?, name)
        .at_peer("datastore")
        .of_host(name)
}

/// As [`load`], for what changes the host's disk: it must not be another host's, see [`Host::load_alone`].
///
/// # Errors
/// As [`load`], or the entry can be confused with another one.
pub fn load_alone(context: &Context, name: &HostName) -> Result<Host, Failure> {
    Host::load_alone(context.datastore()?, name)
        .at_peer("datastore")
        .of_host(name)
}

/// How to log in where the host answers when it is on one of `vlans`.
///
/// # Errors
/// There is no configuration.
pub fn login_on(context: &Context, host: &Host, vlans: &[VlanId]) -> Result<Login, Failure> {
    let ssh = &context.config()?.ssh;
    Ok(Login {
        addresses: host.addresses_on(vlans),
        port: ssh.port,
        user: ssh.user.clone(),
        key_file: ssh.key_file.clone(),
    })
}

/// How to log in wherever the host is at the moment, provisioned or in use.
///
/// # Errors
/// There is no configuration.
pub fn login_anywhere(context: &Context, host: &Host) -> Result<Login, Failure> {
    let networks = &context.config()?.networks;
    let mut vlans = vec![networks.management];
    vlans.extend(&networks.public);
    login_on(context, host, &vlans)
}

/// A session with the host wherever it is. Its key must be the pinned one.
///
/// # Errors
/// No key is pinned, or the host lets us in nowhere before the deadline.
pub fn connect(context: &Context, host: &Host, deadline: &Deadline) -> Result<Session, Failure> {
    let config = context.config()?;
    let pinned = PinnedKey::load(context, &host.name)?.ok_or_else(|| {
        Failure::input(format!("the SSH host key of `{}` is not known", host.name))
            .hint(
                "it is pinned when the host is deployed: `st2 run laas.wait_for_host` after `laas.fog_image`",
            )
            .peer(PEER)
            .host(&host.name)
    })?;
    login_anywhere(context, host)?
        .connect(&pinned.policy(), config.timing.call(), deadline)
        .at_peer(PEER)
        .of_host(&host.name)
}

/// Hosts that were not served, and why.
pub struct Failed {
    pub hosts: BTreeSet<HostName>,
    pub failure: Failure,
}

impl Failed {
    pub fn one(host: &HostName, failure: Failure) -> Self {
        Self {
            hosts: BTreeSet::from([host.clone()]),
            failure,
        }
    }
}

/// One failure for all that failed, which names all their hosts; worth a retry if any of them is, since the retry does
/// the others again anyway. Nothing if none has failed.
pub fn merged(mut failed: Vec<Failed>) -> Option<Failure> {
    failed.sort_by_key(|f| f.failure.kind != Kind::Unreachable);
    let mut failed = failed.into_iter();
    let Failed {
        mut hosts,
        mut failure,
    } = failed.next()?;
    for other in failed {
        hosts.extend(other.hosts);
        failure.error.push_str("; ");
        failure.error.push_str(&other.failure.error);
    }
    failure.host = (!hosts.is_empty()).then(|| names(&hosts));
    Some(failure)
}

pub fn names(hosts: &BTreeSet<HostName>) -> String {
    let names: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    names.join(", ")
}
