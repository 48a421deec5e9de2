//! Accounts of iLO have a second name for people, `LoginName`, which must be there. Those of iLO 4 have rights one by
//! one instead of a role (HPE, ilo-rest-api-docs, "ManagerAccount"; HPE's redfishdocs, "Managing users").

use super::Flavour;
use crate::Privilege;
use serde_json::{Value, json};

/// Rights beyond reading, as iLO 4 names them, and whether an operator has them.
const RIGHTS: [(&str, bool); 5] = [
    ("RemoteConsolePriv", true),
    ("VirtualMediaPriv", true),
    ("VirtualPowerAndResetPriv", true),
    ("UserConfigPriv", false),
    ("iLOConfigPriv", false),
];

/// Adds what iLO wants to know about an account.
pub fn complete(flavour: Flavour, account: &mut Value, user: &str, privilege: Privilege) {
    let Some(oem) = flavour.oem() else {
        return;
    };
    let mut own = json!({"LoginName": user});
    if flavour == Flavour::Ilo4 {
        let has = |operators| match privilege {
            Privilege::User => false,
            Privilege::Operator => operators,
            Privilege::Administrator => true,
        };
        let rights = RIGHTS
            .iter()
            .map(|(right, operators)| ((*right).to_owned(), json!(has(*operators))));
        own["Privileges"] = Value::Object(rights.collect());
        if let Some(account) = account.as_object_mut() {
            account.remove("RoleId");
        }
    }
    account["Oem"] = json!({oem: own});
}

/// What an account of iLO 4 may do; `None` for a mixture.
pub fn privilege(oem: &Value) -> Option<Privilege> {
    let rights = oem.get("Hp")?.get("Privileges")?;
    let has: Vec<bool> = RIGHTS.iter().map(|(right, _)| rights[*right] == true).collect();
    let operator: Vec<bool> = RIGHTS.iter().map(|(_, operators)| *operators).collect();
    match has {
        has if has.iter().all(|h| *h) => Some(Privilege::Administrator),
        has if has == operator => Some(Privilege::Operator),
        has if has.iter().all(|h| !h) => Some(Privilege::User),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_read_back_as_they_were_given() {
        for given in [Privilege::User, Privilege::Operator, Privilege::Administrator] {
            let mut account = json!({"UserName": "opnfv", "RoleId": "Operator"});
            complete(Flavour::Ilo4, &mut account, "opnfv", given);
            assert_eq!(privilege(&account["Oem"]), Some(given));
            assert!(account.get("RoleId").is_none());
        }
        let mixed = json!({"Hp": {"Privileges": {"UserConfigPriv": true}}});
        assert_eq!(privilege(&mixed), None);
        let mut account = json!({"RoleId": "Operator"});
        complete(Flavour::Ilo5, &mut account, "opnfv", Privilege::Operator);
        assert_eq!(
            account,
            json!({"RoleId": "Operator", "Oem": {"Hpe": {"LoginName": "opnfv"}}})
        );
    }
}
