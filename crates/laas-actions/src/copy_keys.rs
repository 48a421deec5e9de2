//! Lets a booking's users log in to its hosts, and ends that.

use crate::hosts::{self, Failed};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::json_arg::JsonArg;
use laas_core::names::AccountName;
use laas_core::ssh_key::{self, PublicKey};
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Kind, lock, parallel};
use laas_host::Session;
use laas_host::authorized_keys::{self, Lines, Mark};
use laas_host::openssh::accepts_key;
use laas_host::probe::{Probe, Trial};
use serde::{Deserialize, Serialize};

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The booking's job on the dashboard, e.g. 1.
    #[arg(long = "job_id", value_name = "ID")]
    job_id: u64,
    /// The user's id on the dashboard; without one, all users of the job lose their keys, e.g. 3.
    #[arg(long, value_name = "ID")]
    user: Option<u64>,
    /// The user's public key as one line, or several in as many lines, e.g. ssh-ed25519 AAAA….
    #[arg(long, value_name = "KEY", requires = "user")]
    key: Option<String>,
    /// Several users at once, each with a key, e.g. [{"user": 3, "key": "ssh-ed25519 AAAA…"}].
    #[arg(
        long,
        env = "LAAS_USERS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    users: JsonArg<Option<Vec<UserKey>>>,
    /// The hosts that the users may log in to, e.g. ["pod1", "pod2"].
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
    /// Take the keys of the job's users away, and prove that each host refuses them; keys that are given are tried even
    /// if they are gone already.
    #[arg(long)]
    revoke: bool,
}

/// A user and the key that the dashboard has of it.
#[derive(Clone, Debug, Deserialize)]
struct UserKey {
    user: u64,
    key: String,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    account: AccountName,
    port: u16,
    hosts: Vec<Served>,
    /// Keys that the users have beside those that work.
    unusable: Vec<Unusable>,
}

/// A key that its user can do something about.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Unusable {
    user: u64,
    why: String,
}

/// A host that was asked and lets the keys in, or refuses them.
#[derive(Serialize)]
pub struct Served {
    host: HostName,
    address: String,
    changed: bool,
    /// How many keys were tried.
    keys: usize,
}

impl Action for Args {
    const NAME: &'static str = "copy_keys";
    const ABOUT: &'static str = "Let a booking's users log in to its hosts or end that, and prove that each lets them in or refuses them";
    const EXAMPLE: &'static [&'static str] = &[
        "--job_id=17",
        "--user=3",
        "--key=ssh-ed25519 AAAAC3Nz… kati",
        r#"--hosts=["pod1"]"#,
    ];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let mut given = self.users.get("users")?.unwrap_or_default();
        if let (Some(user), Some(key)) = (self.user, self.key) {
            given.push(UserKey { user, key });
        }
        let asked = self.hosts.get("hosts")?;
        let unavailable = self.unavailable.get("unavailable")?.unwrap_or_default();
        let (missing, names): (Vec<_>, Vec<_>) = asked.into_iter().partition(|h| unavailable.contains(h));
        let Uploaded { keys, mut unusable } = parse(self.job_id, &given, self.revoke)?;
        let work = Work {
            context,
            job: self.job_id,
            user: self.user,
            keys,
            revoke: self.revoke,
        };
        let config = context.config()?;
        context.datastore()?;
        let results = parallel::map(&names, config.timing.concurrency, |name| {
            work.serve(name).map_err(|failure| Failed::one(name, failure))
        });
        let mut served = Vec::new();
        let mut failed: Vec<Failed> = missing.iter().map(|host| work.unusable(host)).collect();
        for result in results {
            match result {
                Ok((host, refused)) => {
                    served.push(host);
                    unusable.extend(refused);
                }
                Err(host) => failed.push(host),
            }
        }
        match hosts::merged(failed) {
            Some(mut failure) => {
                failure.done = Some(serde_json::json!({ "hosts": served }));
                Err(failure)
            }
            None => Ok(Output {
                changed: served.iter().any(|h: &Served| h.changed),
                account: config.access.user.clone(),
                port: config.ssh.port,
                hosts: served,
                unusable,
            }),
        }
    }
}

/// What the users' uploads hold.
struct Uploaded {
    keys: Vec<(PublicKey, Mark)>,
    unusable: Vec<Unusable>,
}

/// The keys, checked before any host is asked, and those that can't be used. One that can't be used can't have been
/// given to a host either. A user who has no key that works is an error.
fn parse(job: u64, given: &[UserKey], revoke: bool) -> Result<Uploaded, Failure> {
    let (mut keys, mut unusable) = (Vec::new(), Vec::new());
    for UserKey { user, key } in given {
        let mark = Mark { job, user: *user };
        let (good, bad): (Vec<_>, Vec<_>) = ssh_key::read_upload(key).into_iter().partition(Result::is_ok);
        let why = bad
            .into_iter()
            .filter_map(Result::err)
            .map(|error| error.to_string());
        if good.is_empty() && !revoke {
            return Err(unusable_key(*user, &why.collect::<Vec<_>>().join("; ")));
        }
        unusable.extend(why.map(|why| Unusable { user: *user, why }));
        keys.extend(good.into_iter().flatten().map(|key| (key, mark)));
    }
    if keys.is_empty() && !revoke {
        return Err(
            Failure::input("no user and key is given").hint("give `--user` and `--key`, or `--users`")
        );
    }
    Ok(Uploaded { keys, unusable })
}

/// The peer that a user's own key is.
pub const KEY_PEER: &str = "key";

fn unusable_key(user: u64, why: &str) -> Failure {
    Failure::input(format!("the key of user {user} can't be used: {why}")).peer(KEY_PEER)
}

/// What was done to a host's file, and how it went.
struct Written {
    changed: bool,
    /// The keys that must be refused now.
    refused: Vec<PublicKey>,
    trial: Option<Trial>,
}

/// What is to be done on each host.
struct Work<'a> {
    context: &'a Context,
    job: u64,
    user: Option<u64>,
    keys: Vec<(PublicKey, Mark)>,
    revoke: bool,
}

impl Work<'_> {
    fn unusable(&self, host: &HostName) -> Failed {
        let text = if self.revoke {
            format!("`{host}` could not be asked, so it may still accept the keys")
        } else {
            format!("`{host}` could not be set up, so it has not got the keys")
        };
        Failed::one(host, Failure::refused(text).peer(hosts::PEER))
    }

    /// The host, and the keys that it does not take although it lets their user in.
    fn serve(&self, name: &HostName) -> Result<(Served, Vec<Unusable>), Failure> {
        let host = hosts::load(self.context, name)?;
        let config = self.context.config()?;
        let deadline = Deadline::seconds(2 * config.timing.call);
        let session = hosts::connect(self.context, &host, &Deadline::seconds(config.timing.call))?;
        // The file is read, changed and written: two users' keys side by side would lose one of them.
        let lock = lock::acquire(&format!("keys_{name}"), &deadline)
            .at_peer(hosts::PEER)
            .of_host(name)?;
        let written = if self.revoke {
            self.remove(&session)
        } else {
            self.add(&session, &deadline)
        };
        let Written {
            changed,
            refused,
            trial,
        } = written
            .map_err(|failure| match failure.kind {
                Kind::Refused if failure.hint.is_none() => failure.hint(format!(
                    "`~{}/.ssh` and what is in it must belong to the account, and be no link to elsewhere",
                    config.access.user
                )),
                _ => failure,
            })
            .at_peer(hosts::PEER)
            .of_host(name)?;
        drop(lock);
        let accepts = |key: &PublicKey| {
            let line = key.line();
            let accepted = accepts_key(&session, config.ssh.port, &config.access.user, &line, &deadline);
            accepted.at_peer(hosts::PEER).of_host(name)
        };
        for key in &refused {
            if accepts(key)? {
                return Err(self.still_accepted(name).peer(hosts::PEER).host(name));
            }
        }
        if let Some(Trial::Refused { error, hint }) = trial {
            return Err(Failure::refused(error).hint(hint).peer(hosts::PEER).host(name));
        }
        let mut unusable = Vec::new();
        let mut keys = refused.len();
        if !self.revoke {
            keys = 0;
            for (key, Mark { user, .. }) in &self.keys {
                if accepts(key)? {
                    keys += 1;
                } else {
                    unusable.push(Unusable {
                        user: *user,
                        why: format!(
                            "the SSH server of `{name}` takes other keys and not this one of the type `{}`, which is \
                             too weak or too new for it: make one with `ssh-keygen -t ed25519`",
                            key.kind()
                        ),
                    });
                }
            }
            let of_user = |user: u64| {
                self.keys
                    .iter()
                    .filter(move |(_, mark)| mark.user == user)
                    .count()
            };
            let shut_out = |one: &&Unusable| {
                unusable.iter().filter(|other| other.user == one.user).count() == of_user(one.user)
            };
            if let Some(Unusable { user, why }) = unusable.iter().find(shut_out) {
                return Err(Failure {
                    kind: Kind::Refused,
                    ..unusable_key(*user, why)
                }
                .host(name));
            }
        }
        let served = Served {
            host: name.clone(),
            address: session.address,
            changed,
            keys,
        };
        Ok((served, unusable))
    }

    /// Beside the keys a pair of the pack's own opens a session, for nobody has the private half of a user's key: what
    /// shuts that out shuts the users out.
    fn add(&self, session: &Session, deadline: &Deadline) -> Result<Written, Failure> {
        let config = self.context.config()?;
        let account = &config.access.user;
        let changed = authorized_keys::add(session, account, &self.keys)?;
        let probe = Probe::new(deadline)?;
        authorized_keys::set_trial(session, account, Some(probe.line(session)?))?;
        let trial = probe.try_login(session, config.ssh.port, account, config.timing.call(), deadline);
        authorized_keys::set_trial(session, account, None)?;
        Ok(Written {
            changed,
            refused: vec![probe.public().clone()],
            trial: Some(trial?),
        })
    }

    fn remove(&self, session: &Session) -> Result<Written, Failure> {
        let account = &self.context.config()?.access.user;
        let job = self.job;
        let lines = self
            .user
            .map_or(Lines::OfJob(job), |user| Lines::Of(Mark { job, user }));
        let removed = authorized_keys::remove(session, account, lines)?;
        let mut keys = removed.keys;
        let of_user = |mark: &Mark| self.user.is_none_or(|user| user == mark.user);
        for (key, _) in self.keys.iter().filter(|(_, mark)| of_user(mark)) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys.retain(|key| !removed.others.contains(key));
        Ok(Written {
            changed: removed.changed,
            refused: keys,
            trial: None,
        })
    }

    fn still_accepted(&self, name: &HostName) -> Failure {
        let error = format!(
            "`{name}` still accepts a key of job {} that the pack has taken away",
            self.job
        );
        Failure::refused(error)
            .hint("somebody has put it there a second time: look at the account's `authorized_keys`")
    }
}
