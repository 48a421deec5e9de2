//! Says where a host answers at the moment.

use crate::hosts::{self, PinnedKey};
use laas_core::action::{Action, Context};
use laas_core::inventory::Host;
use laas_core::json_arg::JsonArg;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Kind, VlanId, parallel};
use laas_host::{HostKeyPolicy, Login, SshError};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs};

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// Look on these VLANs, e.g. [11]; without them wherever the pack reaches hosts.
    #[arg(
        long,
        env = "LAAS_VLANS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    vlans: JsonArg<Option<Vec<VlanId>>>,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    /// Where the host itself was met; none if it is met nowhere.
    address: Option<String>,
    places: Vec<Place>,
}

/// A name or address at which the host may be.
#[derive(Serialize)]
pub struct Place {
    /// The VLAN that the inventory reserves the address for; none for the host's `hostname`.
    vlan: Option<VlanId>,
    name: String,
    /// What the name resolves to at the moment.
    addresses: BTreeSet<IpAddr>,
    answer: Answer,
}

/// Who answers there.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The host: it has the pinned SSH host key and lets the pack in.
    Host,
    /// The pinned host key, and no login.
    HostRefuses,
    /// Somebody whose SSH host key is not the pinned one; also the host itself after a deploy by somebody else.
    Stranger,
    Nobody,
    /// The name does not resolve.
    Unresolved,
}

impl Action for Args {
    const NAME: &'static str = "resolve_host";
    const ABOUT: &'static str = "Say which addresses a host has, and at which of them it answers now";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--vlans=[11]"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let host = hosts::load(context, &self.host)?;
        let config = context.config()?;
        let vlans = self.vlans.get("vlans")?.filter(|vlans| !vlans.is_empty());
        let vlans = vlans.unwrap_or_else(|| {
            let networks = &config.networks;
            let public = networks.public.iter().copied();
            std::iter::once(networks.management).chain(public).collect()
        });
        let pinned = PinnedKey::load(context, &self.host)?;
        // Without a key nobody can be told from the host, and nobody is logged in to.
        let policy = pinned.as_ref().map(PinnedKey::policy);
        let places = places(&host, &vlans);
        let results = parallel::map(&places, config.timing.concurrency, |(vlan, name)| {
            let login = Login {
                addresses: vec![name.clone()],
                ..hosts::login_on(context, &host, &vlans)?
            };
            Ok(Place {
                vlan: *vlan,
                name: name.clone(),
                addresses: resolve(name, login.port),
                answer: ask(&login, policy.as_ref(), config.timing.call),
            })
        });
        let places: Vec<Place> = results.into_iter().collect::<Result<_, Failure>>()?;
        let met = places.iter().find(|place| place.answer == Answer::Host);
        Ok(Output {
            changed: false,
            address: met.map(|place| place.name.clone()),
            places,
        })
    }
}

/// The reserved addresses on these VLANs, and the host's own name.
fn places(host: &Host, vlans: &[VlanId]) -> Vec<(Option<VlanId>, String)> {
    let mut places = Vec::new();
    for vlan in vlans {
        if let Some(address) = host.addresses.get(&vlan.to_string()) {
            places.push((Some(*vlan), address.clone()));
        }
    }
    places.push((None, host.hostname.clone()));
    places
}

fn resolve(name: &str, port: u16) -> BTreeSet<IpAddr> {
    let found = (name, port).to_socket_addrs();
    found.into_iter().flatten().map(|address| address.ip()).collect()
}

fn ask(login: &Login, policy: Option<&HostKeyPolicy>, call: u64) -> Answer {
    let deadline = Deadline::seconds(call);
    let Some(policy) = policy else {
        return if login.host_keys(deadline.left()).is_empty() {
            Answer::Nobody
        } else {
            Answer::Stranger
        };
    };
    match login.connect_once(policy, deadline.left(), &deadline) {
        Ok(_) => Answer::Host,
        Err(SshError::Resolve { .. }) => Answer::Unresolved,
        Err(SshError::HostKey { .. }) => Answer::Stranger,
        Err(error) if laas_core::Classify::kind(&error) == Kind::Refused => Answer::HostRefuses,
        Err(_) => Answer::Nobody,
    }
}
