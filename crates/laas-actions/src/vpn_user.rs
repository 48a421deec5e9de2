//! Makes the VPN account of a booking's user, and takes it away. The password goes to the dashboard's page from here,
//! and nowhere else.

use crate::messages;
use crate::posting::{self, Posted};
use crate::vpn_accounts::{Account, Accounts, DATASTORE, KEY, PEER};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::names::{AccountName, TaskId};
use laas_core::secret::RandomError;
use laas_core::{Failure, Secret};
use laas_dashboard::TaskRef;
use laas_vpn::{Added, Mark, Session, Whose, candidate};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;

/// A guess takes 5.8 bits times this.
const PASSWORD_LENGTH: usize = 16;
/// Even a directory full of people has a name left before that; otherwise it says "exists" to everything.
const MOST_NAMES: u32 = 200;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The booking's job on the dashboard, e.g. 1.
    #[arg(long, value_name = "ID")]
    job_id: u64,
    /// The access task, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da.
    #[arg(long, value_name = "ID", required_unless_present = "revoke")]
    task: Option<TaskId>,
    /// The digest of the task's delta as `plan_job` read it, e.g. 0a1b2c3d4e5f6071.
    #[arg(long, value_name = "DIGEST", required_unless_present = "revoke")]
    digest: Option<String>,
    /// The piece of work, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0.
    #[arg(long, value_name = "REQUEST", required_unless_present = "revoke")]
    request: Option<String>,
    /// The user's id on the dashboard, e.g. 3.
    #[arg(long, value_name = "ID")]
    user: u64,
    /// Take the account away and prove that it lets nobody in; the user is not told.
    #[arg(long)]
    revoke: bool,
    /// With `revoke`: the user name that the task's `lab_token` holds, e.g. ada-berg.
    #[arg(long = "lab_token", value_name = "NAME")]
    lab_token: Option<String>,
    /// Show what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    /// Whether the account was made, mended or taken away, or the user was told.
    changed: bool,
    uid: Option<AccountName>,
    /// The dashboard has given the task out anew, or its booking was deleted: nobody was told.
    superseded: bool,
}

impl Action for Args {
    const NAME: &'static str = "vpn_user";
    const ABOUT: &'static str = "Make the VPN account of a booking's user and tell the user, or take it away";
    const EXAMPLE: &'static [&'static str] = &["--job_id=17", "--user=3", "--revoke"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let mark = Mark {
            job: self.job_id,
            user: self.user,
        };
        if self.revoke {
            return revoke(context, mark, self.lab_token.as_deref(), self.dry_run);
        }
        let (Some(task), Some(digest), Some(request)) = (self.task, self.digest, self.request) else {
            return Err(Failure::input("`--task`, `--digest` and `--request` are missing"));
        };
        let task = TaskRef {
            job: self.job_id,
            task,
            digest,
            request,
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
        let accounts = Accounts::load(context)?;
        if self.dry_run {
            let uid = accounts.known(mark).into_iter().next();
            return Ok(Output {
                changed: uid.is_none(),
                uid,
                superseded: false,
            });
        }
        let provider = Provider {
            accounts,
            mark,
            task: &task.task,
        };
        let (uid, password, made) = provider.provide()?;
        let message = messages::render(
            context,
            "vpn",
            &json!({"uid": uid, "password": password.expose()}),
        )?;
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

/// Takes away every account of the user: those that the datastore knows, those that the directory has marked, and the
/// one that the dashboard's token names.
fn revoke(context: &Context, mark: Mark, lab_token: Option<&str>, dry_run: bool) -> Result<Output, Failure> {
    let mut accounts = Accounts::load(context)?;
    let directory = accounts.directory.clone();
    let mut session = directory.connect().at_peer(PEER)?;
    let mut names: BTreeSet<AccountName> = accounts.known(mark).into_iter().collect();
    let marked = session.marked(Some(mark)).at_peer(PEER)?;
    names.extend(marked.into_iter().map(|(uid, _)| uid));
    // The dashboard's own word for "none" is `null`; what is no user name can't be an account of ours.
    let token = lab_token
        .filter(|token| *token != "null")
        .and_then(|token| token.parse().ok());
    names.extend(token);
    let uid = names.first().cloned();
    let mut changed = false;
    for name in &names {
        changed |= if dry_run {
            session.look(name).at_peer(PEER)? == Some(Whose::Ours(mark))
                || accounts.known(mark).contains(name)
        } else {
            accounts.remove(&mut session, name, mark)?
        };
    }
    Ok(Output {
        changed,
        uid,
        superseded: false,
    })
}

/// Makes one user's account.
struct Provider<'a> {
    accounts: Accounts<'a>,
    mark: Mark,
    task: &'a TaskId,
}

impl Provider<'_> {
    /// The user name, the password, and whether anything had to be done for them.
    fn provide(mut self) -> Result<(AccountName, Secret, bool), Failure> {
        let directory = self.accounts.directory.clone();
        let known = self.accounts.known(self.mark).into_iter().next();
        if let Some(uid) = &known
            && let Some(password) = self.accounts.password(uid)
            && directory.lets_in(uid, &password).at_peer(PEER)?
        {
            return Ok((uid.clone(), password, false));
        }
        let mut session = directory.connect().at_peer(PEER)?;
        // An entry whose key was lost is gone on with.
        let mut next = match known {
            Some(uid) => Some(uid),
            None => session
                .marked(Some(self.mark))
                .at_peer(PEER)?
                .into_iter()
                .next()
                .map(|(uid, _)| uid),
        };
        let mut attempt = 0;
        while attempt < MOST_NAMES {
            let uid = match next.take() {
                Some(uid) => uid,
                None => candidate(attempt).map_err(no_random)?,
            };
            attempt += 1;
            let password = match self.accounts.stored.get(uid.as_str()) {
                None => self.reserve(&uid)?,
                Some(Some(account)) if account.mark() == self.mark => account.password.clone(),
                // Another user's, or unreadable.
                Some(_) => continue,
            };
            if self.make(&mut session, &uid, &password)? {
                tracing::info!(uid = uid.as_str(), "the directory lets the user in");
                return Ok((uid, password, true));
            }
            // Somebody else is called so.
            self.accounts.forget(&uid)?;
        }
        let error = format!("the directory has an entry for each of {MOST_NAMES} user names");
        Err(Failure::refused(error).peer(PEER))
    }

    /// Remembers a new password under this name before the directory hears of either.
    fn reserve(&mut self, uid: &AccountName) -> Result<Secret, Failure> {
        let password = Secret::random(PASSWORD_LENGTH).map_err(no_random)?;
        let Mark { job, user } = self.mark;
        let value = json!({"job": job, "user": user, "task": self.task, "password": password.expose()});
        let datastore = self.accounts.context.datastore()?;
        datastore
            .put_secret(&format!("{KEY}{uid}"), &Secret::new(value.to_string()))
            .at_peer(DATASTORE)?;
        let account = Account {
            job,
            user,
            password: password.clone(),
        };
        self.accounts.stored.insert(uid.to_string(), Some(account));
        Ok(password)
    }

    /// Whether the directory now lets the user in; false if the name is somebody else's.
    fn make(&self, session: &mut Session, uid: &AccountName, password: &Secret) -> Result<bool, Failure> {
        let added = session.add(uid, &self.mark.to_string()).at_peer(PEER)?;
        if added == Added::Exists && session.look(uid).at_peer(PEER)? != Some(Whose::Ours(self.mark)) {
            return Ok(false);
        }
        session.set_password(uid, password).at_peer(PEER)?;
        if !self.accounts.directory.lets_in(uid, password).at_peer(PEER)? {
            let error =
                format!("the directory took a password for `{uid}` and does not let the user in with it");
            let hint = "look at the directory's password policy and access rules";
            return Err(Failure::refused(error).hint(hint).peer(PEER));
        }
        Ok(true)
    }
}

fn no_random(error: RandomError) -> Failure {
    Failure::input(format!("the operating system gives no random numbers: {error}"))
}
