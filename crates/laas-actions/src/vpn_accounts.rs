//! The accounts that the lab has in the directory, and what the datastore knows of them.
//!
//! The key `vpn_<uid>` is there before the directory hears of the account, and until the directory has confirmed that it
//! is gone: whatever is killed, the key or the mark in the entry says whose the account is.

use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::lock::{self, Lock};
use laas_core::names::AccountName;
use laas_core::wait::Deadline;
use laas_core::{Failure, Secret};
use laas_vpn::{Directory, Mark, Session, Whose};
use serde::Deserialize;
use std::collections::BTreeMap;

pub const PEER: &str = "ldap";
pub const DATASTORE: &str = "datastore";
/// The accounts' keys in the datastore are this and the user name.
pub const KEY: &str = "vpn_";

/// The value of the key `vpn_<uid>`: whose the account is, and its password, known before the directory knows it.
#[derive(Clone, Deserialize)]
pub struct Account {
    pub job: u64,
    pub user: u64,
    pub password: Secret,
}

impl Account {
    pub fn mark(&self) -> Mark {
        Mark {
            job: self.job,
            user: self.user,
        }
    }
}

/// A directory and the accounts that the datastore knows. One process at a time has them.
pub struct Accounts<'a> {
    pub context: &'a Context,
    pub directory: Directory,
    /// By user name; `None` for what can't be read, which is not ours to touch.
    pub stored: BTreeMap<String, Option<Account>>,
    _held: Lock,
}

impl<'a> Accounts<'a> {
    /// # Errors
    /// The configuration is unusable, the datastore can't be read, or another process has the accounts.
    pub fn load(context: &'a Context) -> Result<Self, Failure> {
        let config = context.config()?;
        let directory = Directory::new(config.vpn()?, config.timing.call()).at_peer(PEER)?;
        // Two bookings must not take the same name at the same time.
        let held = lock::acquire("vpn_users", &Deadline::after(4 * config.timing.call()))?;
        let entries = context.datastore()?.list(KEY).at_peer(DATASTORE)?;
        let stored = entries.into_iter().filter_map(|entry| {
            let uid = entry.name.strip_prefix(KEY)?.to_owned();
            Some((uid, serde_json::from_str(entry.value.expose()).ok()))
        });
        Ok(Self {
            context,
            directory,
            stored: stored.collect(),
            _held: held,
        })
    }

    /// The user names that the datastore has for this user.
    pub fn known(&self, mark: Mark) -> Vec<AccountName> {
        let ours = |account: &Option<Account>| account.as_ref().is_some_and(|a| a.mark() == mark);
        let names = self.stored.iter().filter(|(_, account)| ours(account));
        names.filter_map(|(uid, _)| uid.parse().ok()).collect()
    }

    pub fn password(&self, uid: &AccountName) -> Option<Secret> {
        let account = self.stored.get(uid.as_str())?.as_ref()?;
        Some(account.password.clone())
    }

    /// Removes the key of an account.
    ///
    /// # Errors
    /// The datastore can't be written.
    pub fn forget(&mut self, uid: &AccountName) -> Result<(), Failure> {
        let datastore = self.context.datastore()?;
        datastore.delete(&format!("{KEY}{uid}")).at_peer(DATASTORE)?;
        self.stored.remove(uid.as_str());
        Ok(())
    }

    /// Deletes the account's entry, if there is one of this user, and then its key; whether there was either. That the
    /// user is locked out is proven by a bind where the password is known, and by the directory's word where it is not.
    ///
    /// # Errors
    /// The directory or the datastore can't be reached or refuses, or the user is still let in.
    pub fn remove(&mut self, session: &mut Session, uid: &AccountName, mark: Mark) -> Result<bool, Failure> {
        let has_key = self.known(mark).contains(uid);
        let password = self.password(uid).filter(|_| has_key);
        let deleted = match session.look(uid).at_peer(PEER)? {
            // A run that was killed had reserved a name that turned out to be somebody else's.
            Some(Whose::Foreign) if has_key => false,
            Some(Whose::Ours(found)) if has_key && found != mark => false,
            _ => session.delete(uid, mark).at_peer(PEER)?,
        };
        let left = session.look(uid).at_peer(PEER)?;
        let mut still = left == Some(Whose::Ours(mark));
        if let Some(password) = password {
            still |= self.directory.lets_in(uid, &password).at_peer(PEER)?;
        }
        if still && left.is_none() && !deleted {
            return Err(self.unseen(uid));
        }
        if still {
            let error = format!("the directory took the deletion of `{uid}` and still lets the user in");
            let hint = "if there is more than one server, look at their replication";
            return Err(Failure::refused(error).hint(hint).peer(PEER));
        }
        if has_key {
            self.forget(uid)?;
        }
        if deleted {
            tracing::info!(uid = uid.as_str(), "the directory lets the user in no more");
        }
        Ok(deleted || has_key)
    }

    /// That the directory shows no entry of somebody whom it lets in.
    pub fn unseen(&self, uid: &AccountName) -> Failure {
        let people = self.directory.people();
        let error = format!("the directory lets `{uid}` in and shows no entry of that name below `{people}`");
        let hint = format!(
            "give the DN in `vpn.authentication.user` read access to the entries below `{people}` and to their `description`"
        );
        Failure::refused(error).hint(hint).peer(PEER)
    }
}
