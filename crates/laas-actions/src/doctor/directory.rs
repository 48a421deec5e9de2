//! The directory of the VPN's users.

use super::Lab;
use super::rounds::{Check, Report};
use laas_vpn::Directory;
use std::sync::Arc;

const LDAP: &str = "ldap";

pub fn checks(lab: &Arc<Lab>) -> Vec<Check> {
    let lab = lab.clone();
    vec![Check::new(LDAP, None, move |report| {
        if let Err(failure) = look(&lab, report) {
            report.failed(LDAP, failure);
        }
    })]
}

fn look(lab: &Lab, report: &mut Report) -> Result<(), laas_core::Failure> {
    let Ok(config) = lab.config.vpn() else {
        return Ok(());
    };
    let directory = Directory::new(config, lab.call)?;
    let mut session = directory.connect()?;
    let people = directory.people();
    // As those look for accounts who take them back.
    session.marked(None)?;
    // OpenLDAP tells nobody what he may write, and any trial would write.
    let what = format!("that `{}` may write below `{people}`", config.authentication.user);
    let hint = "the first VPN user of a booking will show it; OpenLDAP: `slapacl` on the server tells";
    report.not_proven(LDAP, what, hint);
    Ok(())
}
