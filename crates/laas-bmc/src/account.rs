//! The tenants' account on a BMC: which slot it takes, and the proof that it works.

use crate::{Bmc, BmcError, Login, Privilege, User};
use laas_core::names::BmcSlot;

/// What tenants get: power, boot device and console. An administrator could change the lab's own password, and
/// would keep the BMC after the end of the booking.
pub const TENANT: Privilege = Privilege::Operator;

/// The nameless user of IPMI, whatever its name says; in Redfish iDRAC keeps this one back, too, and iLO's first account
/// is the factory's administrator.
pub(crate) const RESERVED: Option<u8> = Some(1);

/// What is asked of a slot.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The tenants' account.
    pub user: &'a str,
    /// What it was called when it was last given out, if that was another name.
    pub last: Option<&'a str>,
    /// The account that the lab itself uses.
    pub lab_user: &'a str,
    /// The slot that the inventory sets aside for tenants.
    pub configured: Option<&'a BmcSlot>,
}

/// The slot for the tenants' account: the configured one, else the one that has its name, else a free one.
///
/// # Errors
/// The slot or the name is the lab's own, another slot has it already, or none is free.
pub fn slot(users: &[User], wish: &Wish<'_>, address: &str) -> Result<BmcSlot, BmcError> {
    let refuse = |slot: &BmcSlot, what| {
        Err(BmcError::Slot {
            address: address.to_owned(),
            user: wish.user.to_owned(),
            slot: slot.clone(),
            what,
        })
    };
    let called = |name: &str| users.iter().find(|u| u.name == name);
    let named = called(wish.user).or_else(|| called(wish.last?));
    let slot = match (wish.configured, named) {
        // The BMC would let the first one log in, whose password nobody knows or the last tenant does.
        (Some(slot), Some(other)) if other.slot != *slot => {
            return refuse(&other.slot, "another account of tenants");
        }
        (Some(slot), _) => slot,
        (None, Some(user)) => &user.slot,
        (None, None) => {
            let free = users
                .iter()
                .find(|u| u.slot.number() != RESERVED && u.name.is_empty());
            let full = || BmcError::Full {
                address: address.to_owned(),
                user: wish.user.to_owned(),
            };
            &free.ok_or_else(full)?.slot
        }
    };
    let now = users.iter().find(|u| u.slot == *slot);
    match now {
        None => refuse(slot, "none that the BMC has"),
        Some(user) if slot.number() == RESERVED || user.name == wish.lab_user => {
            refuse(slot, "the lab's own account")
        }
        Some(_) if wish.user == wish.lab_user => refuse(slot, "for tenants, and the name is the lab's own"),
        Some(_) => Ok(slot.clone()),
    }
}

/// Gives `slot` to the tenants' account and proves that it can log in. Says which slot the account has.
///
/// # Errors
/// The BMC can't be asked, refuses, or says yes and does nothing.
pub fn establish(bmc: &dyn Bmc, slot: &BmcSlot, login: &Login) -> Result<BmcSlot, BmcError> {
    let slot = bmc.set_user(slot, login, TENANT)?;
    let now = bmc.user(&slot)?;
    let stands = now.name == login.user && now.privilege == Some(TENANT) && now.enabled != Some(false);
    if !(stands && now.access) {
        return Err(stays(bmc, &login.user, &now));
    }
    bmc.prove(login, TENANT)?;
    Ok(slot)
}

pub(crate) fn stays(bmc: &dyn Bmc, user: &str, now: &User) -> BmcError {
    let privilege = match now.privilege {
        Some(privilege) => format!("{privilege:?}"),
        None => "no privilege".to_owned(),
    };
    let flag = |is, name| if is { name } else { "" };
    BmcError::UserStays {
        address: bmc.address().to_owned(),
        user: user.to_owned(),
        slot: now.slot.clone(),
        found: format!(
            "`{}`, {privilege}{}{}",
            now.name,
            flag(now.enabled == Some(false), ", disabled"),
            flag(!now.access, ", no access over LAN"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use laas_core::Secret;

    fn users(names: &[(u8, &str)]) -> Vec<User> {
        let user = |(slot, name): &(u8, &str)| User {
            slot: (*slot).into(),
            name: (*name).to_owned(),
            privilege: None,
            enabled: None,
            access: false,
        };
        names.iter().map(user).collect()
    }

    #[test]
    fn a_slot_is_never_the_labs_own() {
        let usual = [(1, ""), (2, "ADMIN"), (3, "backup"), (4, ""), (5, "")];
        let again = [(1, ""), (2, "ADMIN"), (3, ""), (4, "opnfv")];
        let renamed = [(1, ""), (2, "ADMIN"), (3, ""), (4, "renamed")];
        let twins = [(1, ""), (2, "opnfv"), (3, "opnfv")];
        let full = [(1, ""), (2, "ADMIN"), (3, "backup")];
        for (present, user, configured, expected) in [
            (&usual[..], "opnfv", None, Ok(4)),
            (&usual, "opnfv", Some(5), Ok(5)),
            (&usual, "opnfv", Some(3), Ok(3)),
            (&again, "opnfv", None, Ok(4)),
            (&again, "opnfv", Some(4), Ok(4)),
            (&again, "opnfv", Some(3), Err("another account")),
            (&renamed, "opnfv", None, Ok(4)),
            (&renamed, "opnfv", Some(3), Err("another account")),
            (&twins, "opnfv", Some(3), Err("another account")),
            (&usual, "opnfv", Some(2), Err("the lab's own")),
            (&usual, "opnfv", Some(1), Err("the lab's own")),
            (&usual, "opnfv", Some(9), Err("none that the BMC has")),
            (&usual, "ADMIN", None, Err("the lab's own")),
            (&usual, "ADMIN", Some(4), Err("another account")),
            (&full, "opnfv", None, Err("no free slot")),
            (&[], "opnfv", None, Err("no free slot")),
        ] {
            let configured: Option<BmcSlot> = configured.map(u8::into);
            let wish = Wish {
                user,
                last: Some("renamed"),
                lab_user: "ADMIN",
                configured: configured.as_ref(),
            };
            let found = slot(&users(present), &wish, "bmc");
            match (found, expected) {
                (Ok(found), Ok(slot)) => {
                    assert_eq!(found.number(), Some(slot), "{present:?} {user} {configured:?}")
                }
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error} / {word}"),
                other => panic!("{other:?} for {present:?} {user} {configured:?}"),
            }
        }
    }

    #[test]
    fn an_account_counts_when_it_reads_back_and_logs_in() {
        let user = |name: &str, privilege| User {
            slot: 4.into(),
            name: name.to_owned(),
            privilege,
            enabled: None,
            access: true,
        };
        let disabled = User {
            enabled: Some(false),
            ..user("opnfv", Some(TENANT))
        };
        let shut_out = User {
            access: false,
            ..user("opnfv", Some(TENANT))
        };
        for (present, password, expected) in [
            (vec![user("opnfv", Some(TENANT))], "right", Ok(())),
            (
                vec![user("opnfv", Some(TENANT))],
                "wrong",
                Err("refuses the login of `opnfv`"),
            ),
            (vec![user("", Some(TENANT))], "right", Err("says otherwise: ``")),
            (
                vec![user("opnfv", Some(Privilege::Administrator))],
                "right",
                Err("Administrator"),
            ),
            (vec![user("opnfv", None)], "right", Err("says otherwise")),
            (vec![disabled], "right", Err("disabled")),
            (vec![shut_out], "right", Err("no access")),
            (vec![], "right", Err("says otherwise: ``, no privilege")),
        ] {
            let bmc = Fake {
                users: present.into(),
                password: "right".to_owned(),
                ..Fake::default()
            };
            let login = Login {
                user: "opnfv".to_owned(),
                password: Secret::new(password),
            };
            let end = establish(&bmc, &4.into(), &login).map_err(|e| e.to_string());
            match expected {
                Ok(()) => assert_eq!(end, Ok(4.into())),
                Err(word) => assert!(end.clone().unwrap_err().contains(word), "{end:?} / {word}"),
            }
        }
    }
}
