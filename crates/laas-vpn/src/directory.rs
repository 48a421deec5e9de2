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
use ldap3::{LdapConn, LdapResult, Scope, SearchEntry, SearchOptions, dn_escape, ldap_escape};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Result codes of RFC 4511 that are answers rather than failures.
const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const REFERRAL: u32 = 10;
const NO_SUCH_ATTRIBUTE: u32 = 16;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_CREDENTIALS: u32 = 49;
const ENTRY_ALREADY_EXISTS: u32 = 68;

/// So many entries tell whether the directory shows who is whose.
const SAMPLE: i32 = 20;

const EVERY: &str = "(objectClass=*)";
const DESCRIPTION: &str = "description";
/// What the pack reads of a user's entry.
const SHOWN: [&str; 2] = ["uid", DESCRIPTION];

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
    /// That the directory has the entry below which the users are to be, and shows what marks them: a server leaves
    /// out what one may not read, as if it were not there. What it shows is a few of the entries.
    ///
    /// # Errors
    /// The server can't be asked or refuses, or does not show enough to tell whose an entry is.
    pub fn sees_marks(&mut self) -> Result<Vec<SearchEntry>, VpnError> {
        let people = self.directory.people.clone();
        let bind_dn = self.directory.bind_dn.clone();
        let found = self.search(&people, Scope::Base, EVERY, &["hasSubordinates"], 0)?;
        let Some(base) = found.and_then(|entries| entries.into_iter().next()) else {
            return Err(VpnError::NoPeople { people, bind_dn });
        };
        let shown = self
            .search(&people, Scope::OneLevel, EVERY, &SHOWN, SAMPLE)?
            .unwrap_or_default();
        let has_entries = values(&base, "hasSubordinates").any(|value| value == "TRUE");
        if shown.is_empty() && has_entries {
            return Err(VpnError::Hidden { people, bind_dn });
        }
        for entry in &shown {
            self.judge(&entry.dn, Some(entry))?;
        }
        Ok(shown)
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
        let Some(entries) = self.search(&dn, Scope::Base, EVERY, &SHOWN, 0)? else {
            return Ok(None);
        };
        self.judge(&dn, entries.first()).map(Some)
    }

    /// Whose an entry is of which the directory shows this much.
    fn judge(&mut self, dn: &str, shown: Option<&SearchEntry>) -> Result<Whose, VpnError> {
        if let Some(mark) = shown.and_then(|entry| marks(entry).next()) {
            return Ok(Whose::Ours(mark));
        }
        if shown.is_some_and(|entry| values(entry, DESCRIPTION).next().is_some()) {
            return Ok(Whose::Foreign);
        }
        // An attribute that one may not read and one that is not there look alike in a search, and not here. Access
        // rules can be about values, too.
        let mark = Mark { job: 0, user: 0 }.to_string();
        self.connection.with_timeout(self.directory.timeout);
        let compared = self.connection.compare(dn, DESCRIPTION, mark);
        match self.directory.server.answered(compared)?.0.rc {
            NO_SUCH_ATTRIBUTE => Ok(Whose::Foreign),
            _ => Err(self.unreadable(dn)),
        }
    }

    fn unreadable(&self, dn: &str) -> VpnError {
        VpnError::Unreadable {
            dn: dn.to_owned(),
            people: self.directory.people.clone(),
            bind_dn: self.directory.bind_dn.clone(),
        }
    }

    /// All entries that are marked as the pack's, or as one user's.
    ///
    /// # Errors
    /// The server can't be asked or refuses, also if there are more entries than it wants to show, or if it does not
    /// show whose they are.
    pub fn marked(&mut self, of: Option<Mark>) -> Result<Vec<(AccountName, Mark)>, VpnError> {
        let sample = self.sees_marks()?;
        let people = self.directory.people.clone();
        let filter = match of {
            Some(mark) => format!("(description={})", ldap_escape(mark.to_string())),
            None => format!("(description={}*)", ldap_escape(mark::BEGIN)),
        };
        let entries = self
            .search(&people, Scope::OneLevel, &filter, &SHOWN, 0)?
            .unwrap_or_default();
        let wanted = |entry: &SearchEntry| marks(entry).any(|mark| of.is_none_or(|of| of == mark));
        // One may be let read what one may not search for, and the other way round.
        let missed = sample
            .iter()
            .find(|seen| wanted(seen) && entries.iter().all(|entry| entry.dn != seen.dn));
        let blank = entries
            .iter()
            .find(|entry| values(entry, DESCRIPTION).next().is_none());
        if let Some(entry) = missed.or(blank) {
            return Err(self.unreadable(&entry.dn));
        }
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

    /// `None` if there is nothing at `base`. A `limit` is how many entries are enough, 0 for all.
    fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
        limit: i32,
    ) -> Result<Option<Vec<SearchEntry>>, VpnError> {
        let Directory { server, timeout, .. } = self.directory;
        let ends = Instant::now() + *timeout;
        self.connection
            .with_timeout(*timeout)
            .with_search_options(SearchOptions::new().sizelimit(limit));
        let stream = self.connection.streaming_search(base, scope, filter, attributes);
        let mut stream = server.answered(stream)?;
        let mut entries = Vec::new();
        let mut refers = false;
        while let Some(entry) = server.answered(stream.next())? {
            // The library's limit is one of each entry.
            if Instant::now() > ends {
                return Err(server.timeout());
            }
            if entry.is_ref() {
                refers = true;
            } else if !entry.is_intermediate() {
                entries.push(SearchEntry::construct(entry));
            }
        }
        let mut result = stream.result();
        match result.rc {
            NO_SUCH_OBJECT => return Ok(None),
            SIZE_LIMIT_EXCEEDED if limit > 0 => result.rc = SUCCESS,
            // Some of the entries are on another server.
            SUCCESS if refers => result.rc = REFERRAL,
            _ => {}
        }
        refused(Doing::Search, base, result)?;
        Ok(Some(entries))
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
    values(entry, DESCRIPTION).filter_map(|value| value.parse().ok())
}

fn values<'a>(entry: &'a SearchEntry, attribute: &'a str) -> impl Iterator<Item = &'a String> {
    let of = move |(name, _): &(&String, &Vec<String>)| name.eq_ignore_ascii_case(attribute);
    entry.attrs.iter().filter(of).flat_map(|(_, values)| values)
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
