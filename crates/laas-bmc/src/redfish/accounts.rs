//! The accounts of the service. Most BMCs make one when it is asked for and delete it again; Dell's have a fixed
//! number of them from the start, and an empty name makes one free (DSP2046, `ManagerAccount`; Dell, "iDRAC9 Redfish
//! API Guide").

use super::client::Client;
use super::hpe::{self, Flavour};
use super::link::Link;
use super::system::{Collection, Reference};
use crate::{BmcError, Login, Privilege, User};
use laas_core::names::BmcSlot;
use serde::Deserialize;
use serde_json::{Value, json};

const WHAT: &str = "the accounts";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AccountService {
    accounts: Option<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Resource {
    id: String,
    user_name: Option<String>,
    enabled: Option<bool>,
    role_id: Option<String>,
    oem: Value,
}

/// One account and where it is.
struct Account {
    link: Link,
    user: User,
}

/// The accounts as they are now.
pub struct Accounts {
    link: Link,
    flavour: Flavour,
    found: Vec<Account>,
}

impl Accounts {
    /// # Errors
    /// The BMC can't be asked.
    pub fn read(client: &Client, flavour: Flavour) -> Result<Self, BmcError> {
        let service: AccountService = client.get(&Link::root().below(&["AccountService"]), WHAT)?;
        let link = service.accounts.map(|a| a.id);
        let link = link.unwrap_or_else(|| Link::root().below(&["AccountService", "Accounts"]));
        let members: Collection = client.get(&link, WHAT)?;
        let read = |member: Reference| {
            let resource: Resource = client.get(&member.id, "an account")?;
            let slot = resource.id.parse().map_err(|_| BmcError::Garbled {
                address: client.address.clone(),
                what: "an account",
                answer: "an id of unusual letters".to_owned(),
            })?;
            let user = resource.user(slot);
            Ok(Account {
                link: member.id,
                user,
            })
        };
        Ok(Self {
            link,
            flavour,
            found: members.members.into_iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// All of them, and a slot for one that is yet to be made unless there are slots from the start.
    pub fn users(&self) -> Vec<User> {
        let mut users: Vec<User> = self.found.iter().map(|a| a.user.clone()).collect();
        if !users.iter().any(|u| u.name.is_empty()) {
            users.push(nobody(BmcSlot::to_be_made()));
        }
        users
    }

    /// The account of this slot; one that is not there has no name and no access.
    pub fn user(&self, slot: &BmcSlot) -> User {
        self.at(slot)
            .map_or_else(|| nobody(slot.clone()), |a| a.user.clone())
    }

    /// Makes the account of this slot what it shall be, in one request, so that none is ever half made.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses, or there is no such slot.
    pub fn set(
        self,
        client: &Client,
        slot: &BmcSlot,
        login: &Login,
        privilege: Privilege,
    ) -> Result<BmcSlot, BmcError> {
        let mut wanted = json!({
            "UserName": login.user,
            "Password": login.password.expose(),
            "RoleId": role(privilege),
        });
        let is_new = *slot == BmcSlot::to_be_made();
        let named = || self.found.iter().find(|a| a.user.name == login.user);
        match if is_new { named() } else { self.at(slot) } {
            Some(account) => {
                if account.user.name != login.user || account.user.privilege != Some(privilege) {
                    hpe::account::complete(self.flavour, &mut wanted, &login.user, privilege);
                } else if let Some(wanted) = wanted.as_object_mut() {
                    // Some services refuse a name or a role that is there already.
                    wanted.retain(|name, _| name == "Password");
                }
                if account.user.enabled == Some(false) {
                    wanted["Enabled"] = json!(true);
                }
                client.patch(&account.link, &wanted, "a change of an account")?;
                return Ok(account.user.slot.clone());
            }
            None if is_new => {}
            None => return Err(absent(client, slot, &login.user)),
        }
        hpe::account::complete(self.flavour, &mut wanted, &login.user, privilege);
        client.post(&self.link, &wanted, "a new account")?;
        let now = Self::read(client, self.flavour)?;
        let made = now.found.into_iter().find(|a| a.user.name == login.user);
        made.map(|a| a.user.slot)
            .ok_or_else(|| absent(client, slot, &login.user))
    }

    /// Deletes the account. Where accounts are there from the start, it is shut out first and loses its name then.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses, or it is the account that we use ourselves.
    pub fn disable(&self, client: &Client, slot: &BmcSlot, unknown: &Login) -> Result<(), BmcError> {
        let Some(account) = self.at(slot) else {
            return Ok(());
        };
        if account.user.name == client.admin.user {
            return Err(BmcError::Slot {
                address: client.address.clone(),
                user: account.user.name.clone(),
                slot: slot.clone(),
                what: "the lab's own account",
            });
        }
        match client.delete(&account.link, "deleting an account") {
            // Not this account, or none at all: 405, 501, and what makers say instead.
            Err(BmcError::Rejected { status, .. }) if status < 500 || status == 501 => {}
            end => return end,
        }
        // With a password that nobody knows, what the last tenant knows opens nothing even if somebody enables it again.
        let mut shut = json!({"Password": unknown.password.expose()});
        if account.user.enabled.is_some() {
            shut["Enabled"] = json!(false);
        }
        client.patch(&account.link, &shut, "shutting an account out")?;
        match client.patch(
            &account.link,
            &json!({"UserName": ""}),
            "clearing an account's name",
        ) {
            // It stays where it is, shut out.
            Err(error @ BmcError::Rejected { .. }) => {
                tracing::debug!(%error, %slot, "the name stays");
                Ok(())
            }
            end => end,
        }
    }

    fn at(&self, slot: &BmcSlot) -> Option<&Account> {
        self.found.iter().find(|a| a.user.slot == *slot)
    }
}

impl Resource {
    fn user(self, slot: BmcSlot) -> User {
        let role = match self.role_id.as_deref() {
            Some("Administrator") => Some(Privilege::Administrator),
            Some("Operator") => Some(Privilege::Operator),
            Some("ReadOnly") => Some(Privilege::User),
            _ => hpe::account::privilege(&self.oem),
        };
        User {
            slot,
            name: self.user_name.unwrap_or_default(),
            privilege: role,
            enabled: self.enabled,
            access: role.is_some(),
        }
    }
}

fn nobody(slot: BmcSlot) -> User {
    User {
        slot,
        name: String::new(),
        privilege: None,
        enabled: Some(false),
        access: false,
    }
}

/// The roles that every service has (DSP0266, "Privilege model").
fn role(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::User => "ReadOnly",
        Privilege::Operator => "Operator",
        Privilege::Administrator => "Administrator",
    }
}

fn absent(client: &Client, slot: &BmcSlot, user: &str) -> BmcError {
    BmcError::UserStays {
        address: client.address.clone(),
        user: user.to_owned(),
        slot: slot.clone(),
        found: "nothing".to_owned(),
    }
}
