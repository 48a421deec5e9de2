//! The users' entries: made, found, given a password, proven.

use crate::VpnError;
use crate::error::Doing;
use crate::mark::{self, Mark};
use crate::names::real_name;
use crate::server::Server;
use laas_core::Secret;
use laas_core::config;
use laas_core::names::AccountName;
use ldap3::exop::PasswordModify;
use ldap3::{LdapConn, LdapResult, ResultEntry, Scope, SearchEntry, dn_escape, ldap_escape};
use std::collections::HashSet;
use std::time::Duration;

/// Result codes of RFC 4511 that are answers rather than failures.
const SUCCESS: u32 = 0;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_CREDENTIALS: u32 = 49;
const ENTRY_ALREADY_EXISTS: u32 = 68;

/// One directory, as the pack's configuration describes it.
#[derive(Clone, Debug)]
pub struct Directory {
    server: Server,
    bind_dn: String,
    bind_password: Secret,
    /// The DN below which the users are.
    people: String,
    objects: Vec<String>,
    timeout: Duration,
}

/// A connection that is bound as the one who may write.
#[derive(Debug)]
pub struct Session<'a> {
    directory: &'a Directory,
    connection: LdapConn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    /// There is an entry of this name already; it was not touched.
    Exists,
}

/// Whose an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Ours(Mark),
    /// It bears no mark of the pack.
    Foreign,
}

impl Directory {
    /// `timeout` is for each step: the connection, and each exchange on it.
    ///
    /// # Errors
    /// The configuration is unusable. Nothing is sent.
    pub fn new(config: &config::Vpn, timeout: Duration) -> Result<Self, VpnError> {
        let parts = [config.directory.user.as_str(), config.directory.root.as_str()];
        let people: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        Ok(Self {
            server: Server::new(&config.server, &config.tls, timeout)?,
            bind_dn: config.authentication.user.clone(),
            bind_password: config.authentication.pass.clone(),
            people: people.join(","),
            objects: config.user.objects.clone(),
            timeout,
        })
    }

    /// The DN below which the users are.
    pub fn people(&self) -> &str {
        &self.people
    }

    /// # Errors
    /// The server can't be reached, its certificate is not trusted, or it refuses the configured password.
    pub fn connect(&self) -> Result<Session<'_>, VpnError> {
        let mut connection = self.server.connect()?;
        let result = self.bind(&mut connection, &self.bind_dn, &self.bind_password)?;
        refused(Doing::BindAsConfigured, &self.bind_dn, result)?;
        Ok(Session {
            directory: self,
            connection,
        })
    }

    /// Whether the directory lets the user in with this password, tried on a connection of its own.
    ///
    /// # Errors
    /// The server can't be asked, or refuses for another reason than the password.
    pub fn lets_in(&self, uid: &AccountName, password: &Secret) -> Result<bool, VpnError> {
        let dn = self.dn(uid);
        let mut connection = self.server.connect()?;
        let result = self.bind(&mut connection, &dn, password)?;
        // Only politeness; the answer is there.
        let _ = connection.unbind();
        match result.rc {
            INVALID_CREDENTIALS | NO_SUCH_OBJECT => Ok(false),
            _ => refused(Doing::BindAsUser, &dn, result).map(|()| true),
        }
    }

    fn bind(&self, connection: &mut LdapConn, dn: &str, password: &Secret) -> Result<LdapResult, VpnError> {
        // A server may take an empty password for an anonymous bind and say yes.
        if password.is_empty() {
            return Err(VpnError::EmptyPassword { dn: dn.to_owned() });
        }
        connection.with_timeout(self.timeout);
        self.server
            .answered(connection.simple_bind(dn, password.expose()))
    }

    fn dn(&self, uid: &AccountName) -> String {
        format!("uid={},{}", dn_escape(uid.as_str()), self.people)
    }
}

impl Session<'_> {
    /// Whether the directory has the entry below which the users are to be.
    ///
    /// # Errors
    /// The server can't be asked, or refuses.
    pub fn has_people(&mut self) -> Result<bool, VpnError> {
        let people = self.directory.people.clone();
        let found = self.search(&people, Scope::Base, "(objectClass=*)")?;
        Ok(found.is_some_and(|entries| !entries.is_empty()))
    }

    /// Adds a user without a password. `description` says whose entry it is.
    ///
    /// # Errors
    /// The server can't be asked, or refuses the entry.
    pub fn add(&mut self, uid: &AccountName, description: &str) -> Result<Added, VpnError> {
        let dn = self.directory.dn(uid);
        let (common_name, surname) = real_name(uid);
        let one = |value: &str| HashSet::from([value.to_owned()]);
        let attributes = vec![
            (
                "objectClass".to_owned(),
                self.directory.objects.iter().cloned().collect(),
            ),
            ("uid".to_owned(), one(uid.as_str())),
            ("cn".to_owned(), one(&common_name)),
            ("sn".to_owned(), one(&surname)),
            ("description".to_owned(), one(description)),
        ];
        self.connection.with_timeout(self.directory.timeout);
        let result = self
            .directory
            .server
            .answered(self.connection.add(&dn, attributes))?;
        match result.rc {
            ENTRY_ALREADY_EXISTS => Ok(Added::Exists),
            _ => refused(Doing::Add, &dn, result).map(|()| Added::New),
        }
    }

    /// Whose the user's entry is; `None` if there is none.
    ///
    /// # Errors
    /// The server can't be asked, or refuses.
    pub fn look(&mut self, uid: &AccountName) -> Result<Option<Whose>, VpnError> {
        let dn = self.directory.dn(uid);
        let found = self.search(&dn, Scope::Base, "(objectClass=*)")?;
        Ok(found.map(|entries| {
            let mark = entries.iter().find_map(|entry| marks(entry).next());
            mark.map_or(Whose::Foreign, Whose::Ours)
        }))
    }

    /// All entries that are marked as the pack's, or as one user's.
    ///
    /// # Errors
    /// The server can't be asked or refuses, also if there are more entries than it wants to show.
    pub fn marked(&mut self, of: Option<Mark>) -> Result<Vec<(AccountName, Mark)>, VpnError> {
        let people = self.directory.people.clone();
        let filter = match of {
            Some(mark) => format!("(description={})", ldap_escape(mark.to_string())),
            None => format!("(description={}*)", ldap_escape(mark::BEGIN)),
        };
        let entries = self
            .search(&people, Scope::OneLevel, &filter)?
            .unwrap_or_default();
        let mut found = Vec::new();
        for entry in &entries {
            let Some(mark) = marks(entry).find(|mark| of.is_none_or(|of| of == *mark)) else {
                continue;
            };
            let names = entry.attrs.get("uid").into_iter().flatten();
            // Only an entry that is named by its `uid` is where the pack would look for it.
            let own = names
                .filter_map(|name| name.parse::<AccountName>().ok())
                .find(|uid| self.directory.dn(uid).eq_ignore_ascii_case(&entry.dn));
            match own {
                Some(uid) => found.push((uid, mark)),
                None => tracing::warn!(
                    dn = entry.dn,
                    "marked as the pack's, and not named as its entries are"
                ),
            }
        }
        found.sort();
        Ok(found)
    }

    /// Deletes the user's entry, which must be marked as this user's; whether there was one.
    ///
    /// # Errors
    /// The server can't be asked or refuses, or the entry is somebody else's.
    pub fn delete(&mut self, uid: &AccountName, mark: Mark) -> Result<bool, VpnError> {
        let dn = self.directory.dn(uid);
        match self.look(uid)? {
            None => return Ok(false),
            Some(Whose::Ours(found)) if found == mark => {}
            Some(_) => return Err(VpnError::Foreign { dn }),
        }
        self.connection.with_timeout(self.directory.timeout);
        let result = self.directory.server.answered(self.connection.delete(&dn))?;
        match result.rc {
            NO_SUCH_OBJECT => Ok(false),
            _ => refused(Doing::Delete, &dn, result).map(|()| true),
        }
    }

    /// `None` if there is nothing at `base`.
    fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
    ) -> Result<Option<Vec<SearchEntry>>, VpnError> {
        self.connection.with_timeout(self.directory.timeout);
        let found = self
            .connection
            .search(base, scope, filter, vec!["uid", "description"]);
        let found = self.directory.server.answered(found)?;
        if found.1.rc == NO_SUCH_OBJECT {
            return Ok(None);
        }
        refused(Doing::Search, base, found.1)?;
        let is_entry = |entry: &ResultEntry| !entry.is_ref() && !entry.is_intermediate();
        let entries = found.0.into_iter().filter(is_entry);
        Ok(Some(entries.map(SearchEntry::construct).collect()))
    }

    /// Sets the password by the extended operation of RFC 3062, so that the server stores it as it sees fit.
    ///
    /// # Errors
    /// The server can't be asked, or refuses the password.
    pub fn set_password(&mut self, uid: &AccountName, password: &Secret) -> Result<(), VpnError> {
        let dn = self.directory.dn(uid);
        if password.is_empty() {
            return Err(VpnError::EmptyPassword { dn });
        }
        let change = PasswordModify {
            user_id: Some(&dn),
            old_pass: None,
            new_pass: Some(password.expose()),
        };
        self.connection.with_timeout(self.directory.timeout);
        let result = self.directory.server.answered(self.connection.extended(change))?;
        refused(Doing::SetPassword, &dn, result.1)
    }
}

/// What an entry says of whose it is.
fn marks(entry: &SearchEntry) -> impl Iterator<Item = Mark> {
    let of = |(name, _): &(&String, &Vec<String>)| name.eq_ignore_ascii_case("description");
    let values = entry.attrs.iter().filter(of).flat_map(|(_, values)| values);
    values.filter_map(|value| value.parse().ok())
}

fn refused(doing: Doing, dn: &str, result: LdapResult) -> Result<(), VpnError> {
    if result.rc == SUCCESS {
        return Ok(());
    }
    Err(VpnError::Refused {
        doing,
        dn: dn.to_owned(),
        code: result.rc,
        said: result.text.chars().take(200).collect(),
    })
}
