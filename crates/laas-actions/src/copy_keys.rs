//! Lets a booking's user log in to its hosts.

use crate::hosts::{self, Failed};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::json_arg::JsonArg;
use laas_core::names::AccountName;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, lock, parallel};
use laas_host::authorized_keys::{self, Mark, PublicKey};
use laas_host::openssh::accepts_key;
use serde::Serialize;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The booking's job on the dashboard, e.g. 1.
    #[arg(long = "job_id", value_name = "ID")]
    job_id: u64,
    /// The user's id on the dashboard, e.g. 3.
    #[arg(long, value_name = "ID")]
    user: u64,
    /// The user's public key as one line, e.g. ssh-ed25519 AAAA….
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The hosts that the user may log in to, e.g. ["pod1", "pod2"].
    #[arg(
        long,
        env = "LAAS_HOSTS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    hosts: JsonArg<Vec<HostName>>,
    /// Hosts that failed and get no key: the others do, and then this fails, e.g. ["pod2"].
    #[arg(
        long,
        env = "LAAS_UNAVAILABLE",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    unavailable: JsonArg<Option<Vec<HostName>>>,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    account: AccountName,
    port: u16,
    hosts: Vec<Granted>,
}

/// A host that was asked and accepts the key.
#[derive(Serialize)]
pub struct Granted {
    host: HostName,
    address: String,
    changed: bool,
}

impl Action for Args {
    const NAME: &'static str = "copy_keys";
    const ABOUT: &'static str =
        "Let a booking's user log in to its hosts, and prove that each accepts the key";
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let key: PublicKey = self.key.parse().map_err(|e| {
            let failure: Failure = authorized_keys::KeyError::into(e);
            Failure {
                error: format!("the key of user {} can't be used: {}", self.user, failure.error),
                ..failure
            }
        })?;
        let asked = self.hosts.get("hosts")?;
        let unavailable = self.unavailable.get("unavailable")?.unwrap_or_default();
        let (missing, names): (Vec<_>, Vec<_>) = asked.into_iter().partition(|h| unavailable.contains(h));
        let mark = Mark {
            job: self.job_id,
            user: self.user,
        };
        let config = context.config()?;
        context.datastore()?;
        let results = parallel::map(&names, config.timing.concurrency, |name| {
            grant(context, name, &key, mark).map_err(|failure| Failed::one(name, failure))
        });
        let mut granted = Vec::new();
        let mut failed: Vec<Failed> = missing.iter().map(unusable).collect();
        for result in results {
            match result {
                Ok(host) => granted.push(host),
                Err(host) => failed.push(host),
            }
        }
        match hosts::merged(failed) {
            Some(mut failure) => {
                failure.done = Some(serde_json::json!({ "hosts": granted }));
                Err(failure)
            }
            None => Ok(Output {
                changed: granted.iter().any(|h: &Granted| h.changed),
                account: config.access.user.clone(),
                port: config.ssh.port,
                hosts: granted,
            }),
        }
    }
}

fn unusable(host: &HostName) -> Failed {
    let text = format!("`{host}` could not be set up, so it has not got the key");
    Failed::one(host, Failure::refused(text).peer(hosts::PEER))
}

fn grant(context: &Context, name: &HostName, key: &PublicKey, mark: Mark) -> Result<Granted, Failure> {
    let host = hosts::load(context, name)?;
    let config = context.config()?;
    let deadline = Deadline::seconds(2 * config.timing.call);
    let session = hosts::connect(context, &host, &Deadline::seconds(config.timing.call))?;
    let account = &config.access.user;
    // The file is read, changed and written: two users' keys side by side would lose one of them.
    let lock = lock::acquire(&format!("keys_{name}"), &deadline)
        .at_peer(hosts::PEER)
        .of_host(name)?;
    let changed = authorized_keys::add(&session, account, key, mark)
        .at_peer(hosts::PEER)
        .of_host(name)?;
    drop(lock);
    let accepted = accepts_key(&session, config.ssh.port, account, &key.line(), &deadline);
    if !accepted.at_peer(hosts::PEER).of_host(name)? {
        return Err(Failure::refused(format!(
            "`{name}` has the key in its file and refuses a login with it"
        ))
        .hint(format!("look at the SSH server's log on `{name}`"))
        .peer(hosts::PEER)
        .host(name));
    }
    Ok(Granted {
        host: name.clone(),
        address: session.address,
        changed,
    })
}
