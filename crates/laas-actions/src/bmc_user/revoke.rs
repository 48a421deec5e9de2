//! Takes the tenants' account from a host's BMC. What is known of it is forgotten only when it is proven shut.

use super::{PASSWORD_LENGTHS, Record, Revoked, key, random};
use crate::bmcs::{self, Held};
use laas_bmc::account::Wish;
use laas_bmc::revocation::{is_shut_out, of_tenants, prove, shut_out};
use laas_bmc::{Login, User};
use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::names::AccountName;
use laas_core::{Failure, HostName};

pub fn run(context: &Context, host: HostName, name: AccountName, dry_run: bool) -> Result<Revoked, Failure> {
    let held = bmcs::hold(context, &host)?;
    let stored = Record::load(context, &host)?;
    let taken = take(&held, &name, stored.as_ref(), dry_run);
    let (before, after) = taken.at_peer(bmcs::PEER).of_host(&host)?;
    if stored.is_some() && !dry_run {
        let forgotten = context.datastore()?.delete(&key(&host));
        forgotten.at_peer("datastore").of_host(&host)?;
    }
    let had_one = before.iter().any(|user| !is_shut_out(user));
    Ok(Revoked {
        changed: had_one || stored.is_some(),
        host,
        user: name,
        before,
        after,
    })
}

/// The tenants' accounts as they were and as they are. A record without an account, or an account without a record, is
/// what a run leaves that was killed.
fn take(
    held: &Held,
    name: &AccountName,
    stored: Option<&Record>,
    dry_run: bool,
) -> Result<(Vec<User>, Vec<User>), Failure> {
    let bmc = held.bmc.as_ref();
    let wish = Wish {
        user: name.as_str(),
        last: stored.map(|record| record.user.as_str()),
        lab_user: &held.entry.user,
        configured: held.entry.user_slot.as_ref(),
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for user in of_tenants(&bmc.users()?, &wish) {
        let user = bmc.user(&user.slot)?;
        let now = if is_shut_out(&user) || dry_run {
            user.clone()
        } else {
            shut_out(bmc, &user)?
        };
        before.push(user);
        after.push(now);
    }
    let login = match (stored, before.first()) {
        (Some(record), _) => Some(record.login()),
        // What password the tenant has nobody knows. That it was another one is left to the BMC's word.
        (None, Some(user)) => Some(Login {
            user: user.name.clone(),
            password: random(PASSWORD_LENGTHS[1])?,
        }),
        (None, None) => None,
    };
    if let Some(login) = login.filter(|_| !dry_run) {
        prove(bmc, &login)?;
    }
    Ok((before, after))
}
