//! Taking the tenants' account away from a BMC, and the proof that it opens nothing any more.

use crate::account::{self, RESERVED, Wish};
use crate::{Bmc, BmcError, Login, Privilege, User};

/// The accounts that are the tenants': the one in the configured slot, whatever its name, and those that have the name.
/// The lab's own is never among them.
pub fn of_tenants<'a>(users: &'a [User], wish: &Wish<'_>) -> Vec<&'a User> {
    let is_theirs = |user: &&User| {
        let is_named = user.name == wish.user || Some(user.name.as_str()) == wish.last;
        let is_kept_back = user.name == wish.lab_user || user.slot.number() == RESERVED;
        let is_there = !user.name.is_empty();
        is_there && !is_kept_back && (is_named || Some(&user.slot) == wish.configured)
    };
    users.iter().filter(is_theirs).collect()
}

/// Whether the BMC says that nobody gets in by this slot.
pub fn is_shut_out(user: &User) -> bool {
    let has_no_rights = user.privilege.is_none() && !user.access;
    user.name.is_empty() || user.enabled == Some(false) || has_no_rights
}

/// Shuts the account out and reads that back.
///
/// # Errors
/// The BMC can't be asked, refuses, or says yes and does nothing.
pub fn shut_out(bmc: &dyn Bmc, user: &User) -> Result<User, BmcError> {
    tracing::info!(bmc = bmc.address(), slot = %user.slot, user = user.name, "shutting out");
    bmc.disable_user(&user.slot)?;
    let now = bmc.user(&user.slot)?;
    if is_shut_out(&now) {
        Ok(now)
    } else {
        Err(account::stays(bmc, &user.name, &now))
    }
}

/// Proves that the BMC refuses this login. Silence is no refusal. The least of rights is asked for, since one who has
/// lost some may still have the others.
///
/// # Errors
/// The BMC lets it in or can't be asked.
pub fn prove(bmc: &dyn Bmc, login: &Login) -> Result<(), BmcError> {
    match bmc.prove(login, Privilege::User) {
        Err(BmcError::Login { .. }) => Ok(()),
        // A request was refused, so a session was open.
        Ok(()) | Err(BmcError::Refused { .. }) => Err(BmcError::StillOpens {
            address: bmc.address().to_owned(),
            user: login.user.clone(),
        }),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use laas_core::Secret;

    fn user(slot: u8, name: &str) -> User {
        User {
            slot: slot.into(),
            name: name.to_owned(),
            privilege: Some(Privilege::Operator),
            enabled: None,
            access: true,
        }
    }

    #[test]
    fn the_labs_own_account_is_never_a_tenants() {
        let users = [
            user(1, "opnfv"),
            user(2, "ADMIN"),
            user(3, "backup"),
            user(4, "opnfv"),
            user(5, ""),
            user(6, "before"),
        ];
        for (name, last, configured, expected) in [
            ("opnfv", None, None, &[4][..]),
            ("opnfv", Some("before"), None, &[4, 6]),
            ("opnfv", None, Some(3), &[3, 4]),
            ("opnfv", None, Some(5), &[4]),
            ("opnfv", None, Some(2), &[4]),
            ("opnfv", None, Some(1), &[4]),
            ("ADMIN", Some("ADMIN"), Some(2), &[]),
            ("nobody", None, None, &[]),
        ] {
            let configured = configured.map(u8::into);
            let wish = Wish {
                user: name,
                last,
                lab_user: "ADMIN",
                configured: configured.as_ref(),
            };
            let found = of_tenants(&users, &wish);
            let slots: Vec<_> = found.iter().filter_map(|u| u.slot.number()).collect();
            assert_eq!(slots, expected, "{name} {last:?} {configured:?}");
        }
    }

    #[test]
    fn an_account_is_gone_when_the_bmc_says_so() {
        let keeps_the_name = |user: &mut User| {
            user.enabled = Some(false);
        };
        let takes_the_rights = |user: &mut User| {
            (user.privilege, user.access) = (None, false);
        };
        let empties = |user: &mut User| {
            user.name.clear();
        };
        type Disables = fn(&mut User);
        let cases: [(Disables, bool); 4] = [
            (keeps_the_name, true),
            (takes_the_rights, true),
            (empties, true),
            (|_| (), false),
        ];
        for (case, (disables, is_gone)) in cases.into_iter().enumerate() {
            let bmc = Fake {
                users: vec![user(4, "opnfv")].into(),
                disables: Some(disables),
                ..Fake::default()
            };
            let end = shut_out(&bmc, &user(4, "opnfv"));
            assert_eq!(end.is_ok(), is_gone, "{case}: {end:?}");
            if let Err(error) = end {
                assert!(matches!(error, BmcError::UserStays { .. }), "{error}");
            }
        }
    }

    #[test]
    fn only_a_refusal_is_a_proof() {
        let login = |password: &str| Login {
            user: "opnfv".to_owned(),
            password: Secret::new(password),
        };
        let bmc = Fake {
            password: "right".to_owned(),
            ..Fake::default()
        };
        prove(&bmc, &login("wrong")).unwrap();
        let opens = prove(&bmc, &login("right")).unwrap_err();
        assert!(matches!(opens, BmcError::StillOpens { .. }), "{opens}");
        let silent = Fake { is_mute: true, ..bmc };
        let error = prove(&silent, &login("wrong")).unwrap_err();
        assert!(matches!(error, BmcError::Silent { .. }), "{error}");
    }
}
