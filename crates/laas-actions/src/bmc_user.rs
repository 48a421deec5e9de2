//! Gives a host's tenant an account on its BMC, and tells the dashboard; or takes it away again.

mod revoke;

use crate::bookings::Guard;
use crate::{bmcs, posting};
use laas_bmc::account::{self, TENANT, Wish};
use laas_bmc::{Bmc, BmcError, Login, Privilege, User};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::names::{AccountName, BmcSlot};
use laas_core::{Classify, Failure, HostName, Kind, Mac, Secret, inventory};
use laas_dashboard::{BmcAccess, DashboardError};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

/// As many as IPMI 2.0 has room for, and as many as every BMC stores. Some take the long one and cut it.
const PASSWORD_LENGTHS: [usize; 2] = [20, 16];

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The piece of work that this is for; another one means another tenant and gets another password,
    /// e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0123456789abcdef:0. Only `revoke` can do without.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// The account's name, e.g. opnfv.
    #[arg(long, value_name = "NAME", default_value = "opnfv")]
    user: AccountName,
    /// Take the account away instead, and prove that its password opens nothing any more.
    #[arg(long)]
    revoke: bool,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Output {
    Given(Given),
    Revoked(Revoked),
}

#[derive(Serialize)]
pub struct Revoked {
    changed: bool,
    host: HostName,
    user: AccountName,
    /// The tenants' accounts that the BMC had, and what became of them; one without a name is gone.
    before: Vec<User>,
    after: Vec<User>,
}

#[derive(Serialize)]
pub struct Given {
    changed: bool,
    host: HostName,
    user: AccountName,
    /// What the account may do; `ipmitool` must be told so (`-L OPERATOR`).
    privilege: Privilege,
    address: Ipv4Addr,
    mac: Mac,
    slot: BmcSlot,
}

/// The value of the (encrypted) key `bmc_user_<host>`. It is written before the BMC is told, so that a password
/// that is on a BMC is always known here.
#[derive(Clone, Deserialize)]
struct Record {
    user: String,
    password: Secret,
    slot: BmcSlot,
    request: String,
    /// Whether the dashboard has it too.
    #[serde(default)]
    posted: bool,
}

impl Action for Args {
    const NAME: &'static str = "bmc_user";
    const ABOUT: &'static str = "Give a host's tenant an account on its BMC with a password of its own, prove it, and tell the dashboard; or take it away";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--revoke"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, self.request.as_deref())?;
        }
        if self.revoke {
            return revoke::run(context, self.host, self.user, self.dry_run).map(Output::Revoked);
        }
        // An engine passes a parameter without a value as an empty one.
        let request = self.request.clone().filter(|request| !request.is_empty());
        let request = request
            .ok_or_else(|| Failure::input("`request` is needed to give an account").host(&self.host))?;
        // What is wrong with the configuration is said before anything is touched.
        let dashboard = posting::connect(context)?;
        let held = bmcs::hold(context, &self.host)?;
        let bmc = held.bmc.as_ref();
        let address = address(&held.entry).at_peer(bmcs::PEER).of_host(&self.host)?;
        let mac = match &held.entry.mac {
            Some(mac) => mac.clone(),
            None => bmc.mac().at_peer(bmcs::PEER).of_host(&self.host)?,
        };

        let stored = Record::load(context, &self.host)?;
        let stands = match &stored {
            // One whose slot is not known was cut off while it was made, and is found again by its name.
            Some(record)
                if record.request == request
                    && record.user == self.user.as_str()
                    && record.slot != BmcSlot::to_be_made() =>
            {
                opens(bmc, record).at_peer(bmcs::PEER).of_host(&self.host)?
            }
            _ => false,
        };
        let mut changed = false;
        let mut record = match stored {
            Some(record) if stands => record,
            stored => {
                changed = true;
                let mut record = self
                    .next(bmc, &held.entry, stored, request)
                    .at_peer(bmcs::PEER)
                    .of_host(&self.host)?;
                if !self.dry_run {
                    record.establish(context, &self.host, bmc)?;
                }
                record
            }
        };
        if !record.posted {
            changed = true;
            if !self.dry_run {
                let access = BmcAccess {
                    address,
                    mac: mac.clone(),
                    user: record.user.clone(),
                    password: record.password.clone(),
                };
                dashboard
                    .post_bmc(&self.host, &access)
                    .map_err(explained)
                    .at_peer("dashboard")
                    .of_host(&self.host)?;
                record.posted = true;
                record.store(context, &self.host)?;
            }
        }
        Ok(Output::Given(Given {
            changed,
            host: self.host,
            user: self.user,
            privilege: TENANT,
            address,
            mac,
            slot: record.slot,
        }))
    }
}

impl Args {
    /// The account as it shall be: with the stored password if it is this request's and the BMC does not have it
    /// (yet, or any more), else with a new one.
    fn next(
        &self,
        bmc: &dyn Bmc,
        entry: &inventory::Bmc,
        stored: Option<Record>,
        request: String,
    ) -> Result<Record, Failure> {
        let wish = Wish {
            user: self.user.as_str(),
            last: stored.as_ref().map(|r| r.user.as_str()),
            lab_user: &entry.user,
            configured: entry.user_slot.as_ref(),
        };
        let slot = account::slot(&bmc.users()?, &wish, bmc.address())?;
        let ours = stored.filter(|r| r.request == request);
        let password = match ours {
            Some(record) => record.password,
            None => random(PASSWORD_LENGTHS[0])?,
        };
        Ok(Record {
            user: self.user.to_string(),
            password,
            slot,
            request,
            posted: false,
        })
    }
}

fn random(length: usize) -> Result<Secret, Failure> {
    Secret::random(length)
        .map_err(|e| Failure::input(format!("the operating system gives no random numbers: {e}")))
}

impl Record {
    /// Makes the account and proves it, with a shorter password if the BMC refuses a long one, or takes it and then
    /// does not know it.
    fn establish(&mut self, context: &Context, host: &HostName, bmc: &dyn Bmc) -> Result<(), Failure> {
        self.store(context, host)?;
        let [_, short] = PASSWORD_LENGTHS;
        let made = match account::establish(bmc, &self.slot, &self.login()) {
            Err(error @ (BmcError::Login { .. } | BmcError::Refused { .. } | BmcError::Rejected { .. }))
                if error.kind() == Kind::Refused && self.password.expose().len() > short =>
            {
                tracing::info!(%host, %error, "trying a password of {short} characters");
                self.password = random(short)?;
                self.store(context, host)?;
                account::establish(bmc, &self.slot, &self.login())
            }
            made => made,
        };
        self.slot = made.at_peer(bmcs::PEER).of_host(host)?;
        Ok(())
    }

    fn login(&self) -> Login {
        Login {
            user: self.user.clone(),
            password: self.password.clone(),
        }
    }

    /// One that can't be read counts as none: the account is made anew.
    fn load(context: &Context, host: &HostName) -> Result<Option<Self>, Failure> {
        let found = context.datastore()?.get_record(&key(host));
        found.at_peer("datastore").of_host(host)
    }

    fn store(&self, context: &Context, host: &HostName) -> Result<(), Failure> {
        let value = serde_json::json!({
            "user": self.user,
            "password": self.password.expose(),
            "slot": self.slot,
            "request": self.request,
            "posted": self.posted,
        });
        let value = Secret::new(value.to_string());
        context
            .datastore()?
            .put_secret(&key(host), &value)
            .at_peer("datastore")
            .of_host(host)
    }
}

fn key(host: &HostName) -> String {
    format!("bmc_user_{host}")
}

/// Whether the tenant can log in as the record says.
fn opens(bmc: &dyn Bmc, record: &Record) -> Result<bool, Failure> {
    match bmc.prove(&record.login(), TENANT) {
        Ok(()) => Ok(true),
        Err(BmcError::Login { .. } | BmcError::Refused { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// HTTP 500 can mean that the booking has ended meanwhile, which nobody would guess.
fn explained(error: DashboardError) -> Failure {
    let broken = matches!(error, DashboardError::Answer { status: 500.., .. });
    let failure = Failure::from(error);
    if broken {
        return failure.hint("the dashboard answers so for a host that is not booked, too");
    }
    failure
}

/// The dashboard stores nothing but an IPv4 address.
fn address(entry: &inventory::Bmc) -> Result<Ipv4Addr, Failure> {
    let name = entry.address.as_str();
    let found = (name, 0).to_socket_addrs().map_err(|e| {
        Failure::new(
            Kind::Unreachable,
            format!("can't resolve the BMC's address `{name}`: {e}"),
        )
    })?;
    let v4 = found.map(|a| a.ip()).find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    v4.ok_or_else(|| {
        Failure::input(format!(
            "the BMC's address `{name}` is no IPv4 address, and the dashboard stores no other"
        ))
    })
}
