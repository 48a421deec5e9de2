//! Compares the directory's entries that bear the pack's mark with the datastore's keys.

use crate::vpn_accounts::{Accounts, KEY, PEER};
use laas_core::Failure;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::names::AccountName;
use laas_vpn::Mark;
use serde::Serialize;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// Remove what is left over on either side. An entry without a key may belong to a booking that still runs, if the
    /// datastore has lost the key.
    #[arg(long)]
    remove: bool,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    /// Accounts that are whole: an entry and its key.
    accounts: usize,
    #[serde(flatten)]
    orphans: Orphans,
}

/// What has no counterpart. Without `remove` they are what the failure tells.
#[derive(Default, Serialize)]
struct Orphans {
    /// Entries of the pack in the directory, without a key.
    entries: Vec<Orphan>,
    /// Keys of the datastore without an entry.
    keys: Vec<Orphan>,
    /// Keys that begin like an account's and can't be read; they are left alone.
    unreadable: Vec<String>,
}

#[derive(Clone, Serialize)]
struct Orphan {
    uid: AccountName,
    job: u64,
    user: u64,
}

impl Action for Args {
    const NAME: &'static str = "vpn_audit";
    const ABOUT: &'static str = "Find VPN accounts that only the directory or only the datastore knows";
    const EXAMPLE: &'static [&'static str] = &[];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let mut accounts = Accounts::load(context)?;
        let (whole, found) = compare(&mut accounts)?;
        if found.is_empty() {
            return Ok(Output {
                changed: false,
                accounts: whole,
                orphans: found,
            });
        }
        if !self.remove {
            return Err(left_over(&found));
        }
        let directory = accounts.directory.clone();
        let mut session = directory.connect().at_peer(PEER)?;
        for orphan in found.entries.iter().chain(&found.keys) {
            let mark = Mark {
                job: orphan.job,
                user: orphan.user,
            };
            accounts.remove(&mut session, &orphan.uid, mark)?;
        }
        let (whole, still) = compare(&mut accounts)?;
        if !still.is_empty() {
            return Err(left_over(&still));
        }
        Ok(Output {
            changed: true,
            accounts: whole,
            orphans: found,
        })
    }
}

impl Orphan {
    fn new(uid: AccountName, mark: Mark) -> Self {
        Self {
            uid,
            job: mark.job,
            user: mark.user,
        }
    }
}

impl Orphans {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.keys.is_empty() && self.unreadable.is_empty()
    }
}

/// How many accounts are whole, and what is left over.
fn compare(accounts: &mut Accounts) -> Result<(usize, Orphans), Failure> {
    let directory = accounts.directory.clone();
    let mut session = directory.connect().at_peer(PEER)?;
    let marked = session.marked(None).at_peer(PEER)?;
    let mut orphans = Orphans::default();
    let mut whole = 0;
    for (name, account) in &accounts.stored {
        let (Ok(uid), Some(account)) = (name.parse::<AccountName>(), account) else {
            orphans
                .unreadable
                .push(format!("{KEY}{name}").chars().take(80).collect());
            continue;
        };
        if marked.contains(&(uid.clone(), account.mark())) {
            whole += 1;
        } else {
            // Who is let in is there, whatever the directory shows.
            if session.look(&uid).at_peer(PEER)?.is_none()
                && directory.lets_in(&uid, &account.password).at_peer(PEER)?
            {
                return Err(accounts.unseen(&uid));
            }
            orphans.keys.push(Orphan::new(uid, account.mark()));
        }
    }
    let has_key = |uid: &AccountName, mark: Mark| accounts.known(mark).contains(uid);
    let entries = marked.into_iter().filter(|(uid, mark)| !has_key(uid, *mark));
    orphans.entries = entries.map(|(uid, mark)| Orphan::new(uid, mark)).collect();
    Ok((whole, orphans))
}

fn left_over(found: &Orphans) -> Failure {
    let error = format!(
        "{} entries without a key, {} keys without an entry, {} unreadable keys",
        found.entries.len(),
        found.keys.len(),
        found.unreadable.len()
    );
    let mut failure = Failure::refused(error)
        .hint("`--remove` removes the entries and the keys; what is unreadable stays: look at it with `st2 key get`")
        .peer(PEER);
    failure.done = Some(serde_json::json!(found));
    failure
}
