//! Waits until a host can be logged in to, and knows an old system from a new one.

use crate::hosts::{self, Before, PinnedKey};
use crate::prepare_capture::Prepared;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::Host;
use laas_core::json_arg::JsonArg;
use laas_core::wait::{Backoff, Deadline};
use laas_core::{Failure, HostName, VlanId};
use laas_host::authorized_keys::{self, Lines};
use laas_host::system::{MARKER, Os, hostnames};
use laas_host::{HostKeyPolicy, Login, Session, SshError};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// A task's id, a digest and a number, and some air.
const LONGEST_REQUEST: usize = 80;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// Look for the host on these VLANs, e.g. [11]; without them wherever the pack reaches hosts.
    #[arg(
        long,
        env = "LAAS_VLANS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    vlans: JsonArg<Option<Vec<VlanId>>>,
    /// The image that has just been deployed, e.g. 17; the system must be the one that the inventory says it holds, and
    /// loses the keys of earlier bookings that the image brings along.
    #[arg(long, value_name = "ID")]
    image: Option<u64>,
    /// The deploy that has just ended, as `fog_image` was given it; only a system written by it will do, and its SSH
    /// host key is pinned, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
}

#[derive(Serialize)]
pub struct Output {
    /// Whether a host key was pinned or a tenant's key taken out.
    changed: bool,
    address: String,
    hostname: String,
    os: Os,
    host_key: String,
}

impl Action for Args {
    const NAME: &'static str = "wait_for_host";
    const ABOUT: &'static str = "Wait until a host lets us in over SSH";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let host = hosts::load(context, &self.host)?;
        let config = context.config()?;
        let vlans = self.vlans.get("vlans")?.filter(|v| !v.is_empty());
        let login = match vlans {
            Some(vlans) => hosts::login_on(context, &host, &vlans)?,
            None => hosts::login_anywhere(context, &host)?,
        };
        let deadline = Deadline::seconds(config.timing.boot);
        let pinned = PinnedKey::load(context, &self.host)?;
        let (session, mut changed) = match (&self.request, pinned) {
            (Some(request), pinned) => {
                let deploy = Deploy::load(context, &host, request, pinned)?;
                deploy.new_system(&login, &deadline)?
            }
            (None, Some(pinned)) => {
                let connected = login.connect(&pinned.policy(), config.timing.call(), &deadline);
                let prepared = match &connected {
                    Err(error) if is_stranger(error) => Prepared::load(context, &self.host)?.request,
                    _ => None,
                };
                match prepared.filter(|request| *request != pinned.request) {
                    // A capture took the pinned key out of the system and did not come to its end.
                    Some(request) => {
                        let deploy = Deploy::load(context, &host, &request, Some(pinned))?;
                        deploy.new_system(&login, &Deadline::seconds(config.timing.boot))?
                    }
                    None => (connected.at_peer(hosts::PEER).of_host(&self.host)?, false),
                }
            }
            (None, None) => {
                return Err(
                    Failure::input(format!("the SSH host key of `{}` is not known", self.host))
                        .hint("give the `request` of the deploy that wrote this system")
                        .peer(hosts::PEER)
                        .host(&self.host),
                );
            }
        };
        if self.image.is_some() && self.request.is_some() {
            let account = &config.access.user;
            let removed = authorized_keys::remove(&session, account, Lines::All);
            let removed = removed.at_peer(hosts::PEER).of_host(&self.host)?;
            changed |= removed.changed;
        }
        let os = Os::read(&session).at_peer(hosts::PEER).of_host(&self.host)?;
        if let Some(expected) = self.image.and_then(|i| host.image_os(i))
            && !os.is(expected)
        {
            let error = format!(
                "`{}` runs `{}` and its image should hold `{expected}`",
                self.host, os.id
            );
            return Err(Failure::refused(error).peer(hosts::PEER).host(&self.host));
        }
        let names = hostnames(&session).at_peer(hosts::PEER).of_host(&self.host)?;
        let host_key = session.host_key.fingerprint();
        Ok(Output {
            changed,
            address: session.address,
            hostname: names.running,
            os,
            host_key,
        })
    }
}

/// The deploy whose system is waited for.
struct Deploy<'a> {
    context: &'a Context,
    host: &'a Host,
    request: &'a str,
    /// The new system's key, if it has been seen already.
    known: Option<PinnedKey>,
    /// The keys of systems that were there before.
    old: BTreeSet<String>,
}

/// What a system that answers says of itself.
enum Seen {
    New,
    /// The deploy that wrote it, if it has its marker.
    Old(Option<String>),
}

impl<'a> Deploy<'a> {
    fn load(
        context: &'a Context,
        host: &'a Host,
        request: &'a str,
        pinned: Option<PinnedKey>,
    ) -> Result<Self, Failure> {
        let (known, older): (Vec<_>, Vec<_>) = pinned.into_iter().partition(|p| p.request == request);
        let before = Before::load(context, &host.name)?.filter(|b| b.request == request);
        let mut old = before.map(|b| b.fingerprints).unwrap_or_default();
        old.extend(older.into_iter().map(|p| p.fingerprint));
        Ok(Self {
            context,
            host,
            request,
            known: known.into_iter().next(),
            old,
        })
    }

    /// A session with the system that the deploy wrote. As long as the host still answers with an older one, whose key
    /// is known or whose marker says so, it is waited for.
    fn new_system(&self, login: &Login, deadline: &Deadline) -> Result<(Session, bool), Failure> {
        let name = &self.host.name;
        let call = self.context.config()?.timing.call();
        // The pinned key may only be dropped after a deploy that the pack saw succeed, which the request names.
        let policy = self.known.as_ref().map_or(HostKeyPolicy::Any, PinnedKey::policy);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let session = login
                .connect(&policy, call, deadline)
                .at_peer(hosts::PEER)
                .of_host(name)?;
            match self.look(&session) {
                Ok(Seen::New) => {
                    let key = PinnedKey::new(&session.host_key, self.request);
                    let changed = self.known.as_ref() != Some(&key);
                    if changed {
                        key.store(self.context, name)?;
                        tracing::info!(host = %name, fingerprint = key.fingerprint, "pinned the host key");
                    }
                    return Ok((session, changed));
                }
                // A reboot may cut us off at any moment.
                Err(error) => {
                    tracing::debug!(error = %laas_core::failure::chain(&error), "lost the host");
                    backoff
                        .pause(deadline)
                        .map_err(|_| Failure::from(error).peer(hosts::PEER).host(name))?;
                }
                Ok(Seen::Old(marker)) => {
                    backoff
                        .pause(deadline)
                        .map_err(|_| self.still_old(&session, marker))?;
                }
            }
        }
    }

    /// Marks a new system, so that it is known as an old one after the next deploy.
    fn look(&self, session: &Session) -> Result<Seen, laas_host::SshError> {
        match session.read_file(MARKER)? {
            Some(marker) if marker.trim() == self.request => Ok(Seen::New),
            Some(marker) => Ok(Seen::Old(Some(marker))),
            None if self.old.contains(&session.host_key.fingerprint()) => Ok(Seen::Old(None)),
            None => {
                session.write_file(MARKER, &format!("{}\n", self.request), "0644", "root:root")?;
                Ok(Seen::New)
            }
        }
    }

    fn still_old(&self, session: &Session, marker: Option<String>) -> Failure {
        let name = &self.host.name;
        let log = "FOG said the deploy is complete: look at the host's disk and FOG's log";
        let failure = match marker {
            Some(marker) => {
                Failure::refused(format!("`{name}` still runs the system of {}", deploy(&marker))).hint(log)
            }
            None => Failure::refused(format!(
                "`{name}` still has the SSH host key {} that it had before the deploy",
                session.host_key.fingerprint()
            ))
            .hint(format!(
                "{log}; an image must not bring `/etc/ssh/ssh_host_*` along, each host makes its own"
            )),
        };
        failure.peer(hosts::PEER).host(name)
    }
}

/// Whether the host answers with another SSH host key than the pinned one.
fn is_stranger(error: &SshError) -> bool {
    match error {
        SshError::HostKey { .. } => true,
        SshError::Deadline { source } => is_stranger(source),
        _ => false,
    }
}

/// What to call the deploy of a marker. The old system's tenant can have written anything there.
fn deploy(marker: &str) -> String {
    let first = marker.lines().next().unwrap_or_default().trim();
    let is_request = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':');
    if first.is_empty() || first.len() > LONGEST_REQUEST || !first.chars().all(is_request) {
        return format!("another deploy, whose marker `{MARKER}` is not the pack's");
    }
    format!("the deploy `{first}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_foreign_text() {
        let request = "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:12";
        for marker in [
            format!("{request}\n"),
            format!("{request}\r\n{{\"error\": \"forged\"}}"),
        ] {
            assert_eq!(deploy(&marker), format!("the deploy `{request}`"));
        }
        for marker in [
            "",
            "\n",
            "{{ st2kv.system.token }}",
            "a b",
            &"x".repeat(LONGEST_REQUEST + 1),
        ] {
            assert!(deploy(marker).contains("is not the pack's"), "{marker}");
        }
    }
}
