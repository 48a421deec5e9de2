//! The accounts of the service. Most BMCs make one when it is asked for and delete it again; Dell's have a fixed
//! number of them from the start, and an empty name makes one free (DSP2046, `ManagerAccount`; Dell, "iDRAC9 Redfish
//! API Guide").

use super::client::Client;
use super::hpe::{self, Flavour};
use super::link::Link;
use super::system::{Collection, Reference};
use crate::{BmcError, Login, Privilege, User};
use laas_core::Secret;
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

/// Where the accounts are. One is told by the last word of its link, which is its id.
pub struct Accounts<'a> {
    client: &'a Client,
    flavour: Flavour,
    link: Link,
    members: Vec<Link>,
}

impl<'a> Accounts<'a> {
    /// # Errors
    /// The BMC can't be asked.
    pub fn find(client: &'a Client, flavour: Flavour) -> Result<Self, BmcError> {
        let service: AccountService = client.get(&Link::root().below(&["AccountService"]), WHAT)?;
        let link = service.accounts.map(|a| a.id);
        let link = link.unwrap_or_else(|| Link::root().below(&["AccountService", "Accounts"]));
        let collection: Collection = client.get(&link, WHAT)?;
        Ok(Self {
            client,
            flavour,
            link,
            members: collection.members.into_iter().map(|m| m.id).collect(),
        })
    }

    /// All of them, and a slot for one that is yet to be made unless there are slots from the start.
    ///
    /// # Errors
    /// The BMC can't be asked.
    pub fn users(&self) -> Result<Vec<User>, BmcError> {
        let mut users: Vec<User> = self.all()?.into_iter().map(|a| a.user).collect();
        if !users.iter().any(|u| u.name.is_empty()) {
            users.push(nobody(BmcSlot::to_be_made()));
        }
        Ok(users)
    }

    /// The account of this slot; one that is not there has no name and no access.
    ///
    /// # Errors
    /// The BMC can't be asked.
    pub fn user(&self, slot: &BmcSlot) -> Result<User, BmcError> {
        let account = self.at(slot)?;
        Ok(account.map_or_else(|| nobody(slot.clone()), |a| a.user))
    }

    /// Makes the account of this slot what it shall be, in one request, so that none is ever half made.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses, or there is no such slot.
    pub fn set(&self, slot: &BmcSlot, login: &Login, privilege: Privilege) -> Result<BmcSlot, BmcError> {
        let mut wanted = json!({
            "UserName": login.user,
            "Password": login.password.expose(),
            "RoleId": role(privilege),
        });
        let is_new = *slot == BmcSlot::to_be_made();
        match if is_new {
            self.named(&login.user)?
        } else {
            self.at(slot)?
        } {
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
                self.client
                    .patch(&account.link, &wanted, "a change of an account")?;
                return Ok(account.user.slot);
            }
            None if is_new => {}
            None => return Err(self.absent(slot, &login.user)),
        }
        hpe::account::complete(self.flavour, &mut wanted, &login.user, privilege);
        self.client.post(&self.link, &wanted, "a new account")?;
        let now = Self::find(self.client, self.flavour)?;
        let made = now.named(&login.user)?;
        made.map(|a| a.user.slot)
            .ok_or_else(|| self.absent(slot, &login.user))
    }

    /// Deletes the account. Where accounts are there from the start, it is shut out first and loses its name then.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses, or it is the account that we use ourselves.
    pub fn disable(&self, slot: &BmcSlot, unknown: &Secret) -> Result<(), BmcError> {
        let Some(account) = self.at(slot)? else {
            return Ok(());
        };
        if account.user.name == self.client.admin.user {
            return Err(BmcError::Slot {
                address: self.client.address.clone(),
                user: account.user.name,
                slot: slot.clone(),
                what: "the lab's own account",
            });
        }
        match self.client.delete(&account.link, "deleting an account") {
            // Not this account, or none at all: 405, 501, and what makers say instead.
            Err(BmcError::Rejected { status, .. }) if status < 500 || status == 501 => {}
            end => return end,
        }
        // With a password that nobody knows, what the last tenant knows opens nothing even if somebody enables it again.
        let mut shut = json!({"Password": unknown.expose()});
        if account.user.enabled.is_some() {
            shut["Enabled"] = json!(false);
        }
        self.client
            .patch(&account.link, &shut, "shutting an account out")?;
        match self.client.patch(
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

    fn at(&self, slot: &BmcSlot) -> Result<Option<Account>, BmcError> {
        let link = self.members.iter().find(|m| m.name() == slot.as_str());
        link.map(|link| self.read(link)).transpose()
    }

    fn named(&self, name: &str) -> Result<Option<Account>, BmcError> {
        Ok(self.all()?.into_iter().find(|a| a.user.name == name))
    }

    fn all(&self) -> Result<Vec<Account>, BmcError> {
        self.members.iter().map(|link| self.read(link)).collect()
    }

    fn read(&self, link: &Link) -> Result<Account, BmcError> {
        let slot = link.name().parse().map_err(|_| BmcError::Garbled {
            address: self.client.address.clone(),
            what: "the accounts",
            answer: link.to_string(),
        })?;
        let resource: Resource = self.client.get(link, "an account")?;
        Ok(Account {
            link: link.clone(),
            user: resource.user(slot),
        })
    }

    fn absent(&self, slot: &BmcSlot, user: &str) -> BmcError {
        BmcError::UserStays {
            address: self.client.address.clone(),
            user: user.to_owned(),
            slot: slot.clone(),
            found: "nothing".to_owned(),
        }
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
