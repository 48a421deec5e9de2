//! Makes the VPN account of a booking's user. The password goes to the dashboard's page from here, and nowhere else.

use crate::messages;
use crate::posting::{self, Posted};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::names::{AccountName, TaskId};
use laas_core::wait::Deadline;
use laas_core::{Failure, Secret, lock};
use laas_dashboard::TaskRef;
use laas_vpn::{Added, Directory, Session, candidates};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

const PEER: &str = "ldap";
const DATASTORE: &str = "datastore";
/// The accounts' keys in the datastore are this and the user name.
const KEY: &str = "vpn_";
/// A guess takes 5.8 bits times this.
const PASSWORD_LENGTH: usize = 16;
/// Even a directory full of people has a name left before that; otherwise it says "exists" to everything.
const MOST_NAMES: usize = 200;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The booking's job on the dashboard, e.g. 1.
    #[arg(long, value_name = "ID")]
    job_id: u64,
    /// The access task, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da.
    #[arg(long, value_name = "ID")]
    task: TaskId,
    /// The digest of the task's delta as `plan_job` read it, e.g. 0a1b2c3d4e5f6071.
    #[arg(long, value_name = "DIGEST")]
    digest: String,
    /// The piece of work, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0.
    #[arg(long, value_name = "REQUEST")]
    request: String,
    /// The user's id on the dashboard, e.g. 3.
    #[arg(long, value_name = "ID")]
    user: u64,
    /// Show the user name that would be used and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    /// Whether the account was made or mended, or the user was told.
    changed: bool,
    uid: Option<AccountName>,
    /// The dashboard has given the task out anew, or its booking was deleted: nobody was told.
    superseded: bool,
}

/// The value of the key `vpn_<uid>`: whose the account is, and its password, known before the directory knows it.
#[derive(Deserialize)]
struct Account {
    job: u64,
    user: u64,
    password: Secret,
}

/// A directory and the accounts that the lab has there.
struct Accounts<'a> {
    context: &'a Context,
    directory: Directory,
    args: &'a Args,
    /// What the datastore has, by user name; `None` for what can't be read, which is not ours to touch.
    stored: BTreeMap<String, Option<Account>>,
}

impl Action for Args {
    const NAME: &'static str = "vpn_user";
    const ABOUT: &'static str = "Make the VPN account of a booking's user and tell the user";
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let config = context.config()?;
        let task = TaskRef {
            job: self.job_id,
            task: self.task.clone(),
            digest: self.digest.clone(),
            request: self.request.clone(),
        };
        let now = posting::connect(context)?.task(task.job, &task.task);
        // Trouble with the task is left to the post, which knows how to deal with it.
        if now.is_ok_and(|delta| laas_dashboard::digest(&delta) != task.digest) {
            return Ok(Output {
                changed: false,
                uid: None,
                superseded: true,
            });
        }
        // Two bookings must not take the same name at the same time.
        let held = lock::acquire("vpn_users", &Deadline::after(4 * config.timing.call()))?;
        let accounts = Accounts::load(context, &self)?;
        if self.dry_run {
            let (uid, known) = accounts.next_name()?;
            return Ok(Output {
                changed: !known,
                uid: Some(uid),
                superseded: false,
            });
        }
        let (uid, password, made) = accounts.provide()?;
        drop(held);
        let message = messages::render("vpn", &json!({"uid": uid, "password": password.expose()}))?;
        let posted = posting::finish(context, &task, 200, &message, Some(uid.as_str()))?;
        let superseded = matches!(posted, Posted::Superseded | Posted::Gone);
        if superseded {
            tracing::warn!(
                uid = uid.as_str(),
                "nobody was told of this account: its task is no longer wanted"
            );
        }
        Ok(Output {
            changed: made || posted == Posted::Posted,
            uid: Some(uid),
            superseded,
        })
    }
}

impl<'a> Accounts<'a> {
    fn load(context: &'a Context, args: &'a Args) -> Result<Self, Failure> {
        let config = context.config()?;
        let directory = Directory::new(config.vpn()?, config.timing.call()).at_peer(PEER)?;
        let entries = context.datastore()?.list(KEY).at_peer(DATASTORE)?;
        let stored = entries.into_iter().filter_map(|entry| {
            let uid = entry.name.strip_prefix(KEY)?.to_owned();
            Some((uid, serde_json::from_str(entry.value.expose()).ok()))
        });
        Ok(Self {
            context,
            directory,
            args,
            stored: stored.collect(),
        })
    }

    /// The user name, the password, and whether anything had to be done for them.
    fn provide(mut self) -> Result<(AccountName, Secret, bool), Failure> {
        if let (uid, true) = self.next_name()?
            && let Some(password) = self.password(&uid)
            && self.directory.lets_in(&uid, &password).at_peer(PEER)?
        {
            return Ok((uid, password, false));
        }
        let directory = self.directory.clone();
        let mut session = directory.connect().at_peer(PEER)?;
        for _ in 0..MOST_NAMES {
            let (uid, _) = self.next_name()?;
            let password = match self.password(&uid) {
                Some(password) => password,
                None => self.reserve(&uid)?,
            };
            if self.make(&mut session, &uid, &password)? {
                tracing::info!(uid = uid.as_str(), "the directory lets the user in");
                return Ok((uid, password, true));
            }
            // Somebody else is called so.
            let key = format!("{KEY}{uid}");
            self.context.datastore()?.delete(&key).at_peer(DATASTORE)?;
            self.stored.insert(uid.to_string(), None);
        }
        let error = format!("the directory has an entry for each of {MOST_NAMES} user names");
        Err(Failure::refused(error).peer(PEER))
    }

    /// The user name to go on with, and whether it is known already to be this user's: an earlier run may have been
    /// killed after any step.
    fn next_name(&self) -> Result<(AccountName, bool), Failure> {
        let ours = |account: &Account| account.job == self.args.job_id && account.user == self.args.user;
        let kept = self
            .stored
            .iter()
            .find(|(_, account)| account.as_ref().is_some_and(ours));
        if let Some(uid) = kept.and_then(|(uid, _)| uid.parse().ok()) {
            return Ok((uid, true));
        }
        candidates(self.args.job_id, self.args.user)
            .find(|uid| !self.stored.contains_key(uid.as_str()))
            .map(|uid| (uid, false))
            .ok_or_else(|| Failure::refused("there is no user name left").peer(PEER))
    }

    fn password(&self, uid: &AccountName) -> Option<Secret> {
        let account = self.stored.get(uid.as_str())?.as_ref()?;
        Some(account.password.clone())
    }

    /// Remembers a new password under this name before the directory hears of either.
    fn reserve(&mut self, uid: &AccountName) -> Result<Secret, Failure> {
        let password = Secret::random(PASSWORD_LENGTH)
            .map_err(|e| Failure::input(format!("the operating system gives no random numbers: {e}")))?;
        let Args {
            job_id: job,
            user,
            task,
            ..
        } = self.args;
        let value = json!({"job": job, "user": user, "task": task, "password": password.expose()});
        let key = format!("{KEY}{uid}");
        let datastore = self.context.datastore()?;
        datastore
            .put_secret(&key, &Secret::new(value.to_string()))
            .at_peer(DATASTORE)?;
        let account = Account {
            job: *job,
            user: *user,
            password: password.clone(),
        };
        self.stored.insert(uid.to_string(), Some(account));
        Ok(password)
    }

    /// Whether the directory now lets the user in; false if the name is somebody else's.
    fn make(&self, session: &mut Session, uid: &AccountName, password: &Secret) -> Result<bool, Failure> {
        let description = format!("laas job {} user {}", self.args.job_id, self.args.user);
        let added = session.add(uid, &description).at_peer(PEER)?;
        if added == Added::Exists && !session.is_described(uid, &description).at_peer(PEER)? {
            return Ok(false);
        }
        session.set_password(uid, password).at_peer(PEER)?;
        if !self.directory.lets_in(uid, password).at_peer(PEER)? {
            let error =
                format!("the directory took a password for `{uid}` and does not let the user in with it");
            let hint = "look at the directory's password policy and access rules";
            return Err(Failure::refused(error).hint(hint).peer(PEER));
        }
        Ok(true)
    }
}
