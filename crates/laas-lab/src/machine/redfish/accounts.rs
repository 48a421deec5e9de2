//! The accounts of the service, and what they may do.

use serde_json::{Value, json};

use super::Problem;
use crate::inventory::BmcKind;

/// Slots of an iDRAC.
const SLOTS: u32 = 16;
/// iLO takes passwords of 8 to 39 characters.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=39;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    ReadOnly,
    Operator,
    Administrator,
}

#[derive(Debug, Clone)]
pub struct Account {
    pub id: u32,
    pub name: String,
    pub password: String,
    pub role: Role,
    pub enabled: bool,
}

#[derive(Debug)]
pub struct Accounts {
    kind: BmcKind,
    all: Vec<Account>,
    next: u32,
}

impl Accounts {
    /// The administrator alone; an iDRAC keeps its first slot empty.
    pub fn new(kind: BmcKind, user: &str, password: &str) -> Self {
        let account = |id, name: &str, password: &str| Account {
            id,
            name: name.to_owned(),
            password: password.to_owned(),
            role: match name.is_empty() {
                true => Role::ReadOnly,
                false => Role::Administrator,
            },
            enabled: !name.is_empty(),
        };
        let all = match kind {
            BmcKind::Idrac => (1..=SLOTS)
                .map(|id| match id {
                    2 => account(id, user, password),
                    _ => account(id, "", ""),
                })
                .collect(),
            _ => vec![account(1, user, password)],
        };
        Self { kind, all, next: 2 }
    }

    /// Whose name and password these are.
    pub fn login(&self, name: &str, password: &str) -> Option<Role> {
        let found = self.all.iter().find(|a| a.enabled && a.name == name)?;
        (!name.is_empty() && found.password == password).then_some(found.role)
    }

    pub fn names(&self) -> Vec<String> {
        let names = self.all.iter().filter(|a| !a.name.is_empty() && a.enabled);
        names.map(|a| a.name.clone()).collect()
    }

    pub fn members(&self) -> Vec<Value> {
        let link =
            |a: &Account| json!({"@odata.id": format!("/redfish/v1/AccountService/Accounts/{}/", a.id)});
        self.all.iter().map(link).collect()
    }

    pub fn show(&self, id: u32) -> Result<Value, Problem> {
        let account = self.all.iter().find(|a| a.id == id).ok_or(Problem::NotFound)?;
        let mut shown = json!({
            "@odata.id": format!("/redfish/v1/AccountService/Accounts/{id}/"),
            "Id": id.to_string(),
            "UserName": account.name,
            "Password": null,
        });
        match self.kind {
            BmcKind::Ilo4 | BmcKind::Ilo4WithoutBoot => {
                shown["Oem"] =
                    json!({"Hp": {"LoginName": account.name, "Privileges": privileges(account.role)}});
            }
            BmcKind::Idrac => {
                shown["Enabled"] = json!(account.enabled);
                shown["RoleId"] = json!(role_name(account.role));
                shown["Locked"] = json!(false);
            }
            _ => {
                shown["RoleId"] = json!(role_name(account.role));
                shown["Oem"] = json!({"Hpe": {"LoginName": account.name}});
            }
        }
        Ok(shown)
    }

    /// Makes an account, as only iLO does.
    pub fn make(&mut self, body: &Value) -> Result<Value, Problem> {
        if self.kind == BmcKind::Idrac {
            return Err(Problem::NotAllowed);
        }
        let mut account = Account {
            id: self.next,
            name: String::new(),
            password: String::new(),
            role: Role::ReadOnly,
            enabled: true,
        };
        let has_login_name = self
            .oem()
            .is_some_and(|oem| body["Oem"][oem]["LoginName"].is_string());
        if body["UserName"].as_str().is_none_or(str::is_empty)
            || !body["Password"].is_string()
            || !has_login_name
        {
            return Err(Problem::Bad("PropertyMissing"));
        }
        self.apply(&mut account, body)?;
        self.next += 1;
        let id = account.id;
        self.all.push(account);
        self.show(id)
    }

    pub fn change(&mut self, id: u32, body: &Value) -> Result<(), Problem> {
        let place = self
            .all
            .iter()
            .position(|a| a.id == id)
            .ok_or(Problem::NotFound)?;
        let mut account = self.all[place].clone();
        self.apply(&mut account, body)?;
        if account.name.is_empty() && account.enabled {
            return Err(Problem::Bad("PropertyValueConflict"));
        }
        self.all[place] = account;
        Ok(())
    }

    pub fn delete(&mut self, id: u32) -> Result<(), Problem> {
        if self.kind == BmcKind::Idrac {
            return Err(Problem::NotAllowed);
        }
        let place = self
            .all
            .iter()
            .position(|a| a.id == id)
            .ok_or(Problem::NotFound)?;
        self.all.remove(place);
        Ok(())
    }

    fn apply(&self, account: &mut Account, body: &Value) -> Result<(), Problem> {
        for (name, value) in body.as_object().ok_or(Problem::Bad("MalformedJSON"))? {
            match (name.as_str(), value) {
                ("UserName", Value::String(name)) => {
                    let taken = self.all.iter().any(|a| a.id != account.id && a.name == *name);
                    if taken && !name.is_empty() {
                        return Err(Problem::Bad("UserAlreadyExist"));
                    }
                    account.name.clone_from(name);
                }
                ("Password", Value::String(password)) if PASSWORD.contains(&password.len()) => {
                    account.password.clone_from(password);
                }
                ("Password", _) => return Err(Problem::Bad("InvalidPasswordLength")),
                ("RoleId", Value::String(role)) if self.has_roles() => {
                    account.role = role_of(role).ok_or(Problem::Bad("PropertyValueNotInList"))?;
                }
                ("Enabled", Value::Bool(enabled)) if self.kind == BmcKind::Idrac => {
                    account.enabled = *enabled
                }
                ("Oem", oem) => self.apply_oem(account, oem)?,
                _ => return Err(Problem::Bad("PropertyUnknown")),
            }
        }
        Ok(())
    }

    fn apply_oem(&self, account: &mut Account, oem: &Value) -> Result<(), Problem> {
        let own = self
            .oem()
            .and_then(|name| oem.get(name))
            .ok_or(Problem::Bad("PropertyUnknown"))?;
        if let Some(wanted) = own.get("Privileges").filter(|_| !self.has_roles()) {
            let roles = [Role::ReadOnly, Role::Operator, Role::Administrator];
            let role = roles.into_iter().find(|r| privileges(*r) == *wanted);
            account.role = role.ok_or(Problem::Bad("PropertyValueNotInList"))?;
        }
        Ok(())
    }

    fn has_roles(&self) -> bool {
        !matches!(self.kind, BmcKind::Ilo4 | BmcKind::Ilo4WithoutBoot)
    }

    fn oem(&self) -> Option<&'static str> {
        match self.kind {
            BmcKind::Ilo5 => Some("Hpe"),
            BmcKind::Ilo4 | BmcKind::Ilo4WithoutBoot => Some("Hp"),
            BmcKind::Idrac | BmcKind::Ipmi => None,
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::ReadOnly => "ReadOnly",
        Role::Operator => "Operator",
        Role::Administrator => "Administrator",
    }
}

fn role_of(name: &str) -> Option<Role> {
    let roles = [Role::ReadOnly, Role::Operator, Role::Administrator];
    roles.into_iter().find(|r| role_name(*r) == name)
}

/// iLO 4 has rights instead of roles.
fn privileges(role: Role) -> Value {
    let operates = role != Role::ReadOnly;
    let administers = role == Role::Administrator;
    json!({
        "RemoteConsolePriv": operates, "VirtualMediaPriv": operates, "VirtualPowerAndResetPriv": operates,
        "UserConfigPriv": administers, "iLOConfigPriv": administers,
    })
}
