//! Gives an account of a host a password.

use crate::bookings::Guard;
use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::names::AccountName;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Secret, inventory, keys, lock};
use laas_host::password;
use serde::Serialize;

const DATASTORE: &str = "datastore";
/// A guess takes 5.8 bits times this.
const LENGTH: usize = 16;
/// What login programs take.
const LONGEST: usize = 200;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The account, which the system must have, e.g. root.
    #[arg(long, value_name = "ACCOUNT")]
    account: AccountName,
    /// The encrypted datastore key that holds the password; without one a random password is kept in
    /// `password_<host>_<account>`, e.g. `console_password`.
    #[arg(long = "password_key", value_name = "KEY")]
    password_key: Option<String>,
    /// Say whether the account has this password already, and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    /// The encrypted datastore key that holds the password.
    password_key: String,
}

impl Action for Args {
    const NAME: &'static str = "set_password";
    const ABOUT: &'static str = "Give an account of a host a password, which stays in the datastore";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--account=root"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, None)?;
        }
        let name = &self.host;
        let host = hosts::load(context, name)?;
        let call = context.config()?.timing.call;
        let lock_name = format!("password_{name}_{}", self.account);
        let _held = lock::acquire(&lock_name, &Deadline::seconds(2 * call))
            .at_peer(hosts::PEER)
            .of_host(name)?;
        let (key, known) = self.password(context)?;
        let session = hosts::connect(context, &host, &Deadline::seconds(call))?;
        let look = || {
            password::hash(&session, &self.account)
                .at_peer(hosts::PEER)
                .of_host(name)
        };
        let before = look()?;
        let changed = !known
            .as_ref()
            .is_some_and(|known| password::is_of(&before, known));
        if changed && !self.dry_run {
            // Stored before the host hears of it, so that it can't be lost.
            let wanted = known.map_or_else(|| random(context, &key), Ok)?;
            password::set_password(&session, &self.account, &wanted)
                .at_peer(hosts::PEER)
                .of_host(name)?;
            if !password::is_of(&look()?, &wanted) {
                let error = format!(
                    "`{name}` took a password for `{}` and keeps another one",
                    self.account
                );
                return Err(Failure::refused(error).peer(hosts::PEER).host(name));
            }
        }
        Ok(Output {
            changed,
            password_key: key,
        })
    }
}

impl Args {
    /// The datastore's key and the password in it, if it has one already.
    fn password(&self, context: &Context) -> Result<(String, Option<Secret>), Failure> {
        let datastore = context.datastore()?;
        if let Some(key) = &self.password_key {
            let password = inventory::read(datastore, key).at_peer(DATASTORE)?;
            check(key, &password)?;
            return Ok((key.clone(), Some(password)));
        }
        for other in inventory::names(datastore).at_peer(DATASTORE)? {
            if keys::share_passwords(self.host.as_str(), other.as_str()) {
                let error = format!("a password of `{}` would be one of `{other}` as well", self.host);
                return Err(Failure::input(error)
                    .hint("give `password_key`, or give one of the hosts another name")
                    .host(&self.host));
            }
        }
        let key = keys::password(&self.host, &self.account);
        let known = datastore.get(&key).at_peer(DATASTORE)?;
        Ok((key, known.filter(|password| !password.is_empty())))
    }
}

/// Nobody could type it otherwise.
fn check(key: &str, password: &Secret) -> Result<(), Failure> {
    let text = password.expose();
    if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
        let error =
            format!("the datastore's key `{key}` holds no password (1 to {LONGEST} bytes on one line)");
        return Err(Failure::input(error).peer(DATASTORE));
    }
    Ok(())
}

fn random(context: &Context, key: &str) -> Result<Secret, Failure> {
    let password = Secret::random(LENGTH)
        .map_err(|e| Failure::input(format!("the operating system gives no random numbers: {e}")))?;
    context
        .datastore()?
        .put_secret(key, &password)
        .at_peer(DATASTORE)?;
    Ok(password)
}
