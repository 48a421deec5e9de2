//! Switches a host on or off by its BMC.

use crate::bmcs;
use crate::bookings::Guard;
use laas_bmc::Power;
use laas_bmc::power::{self, Command, Patience};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::{Failure, HostName};
use serde::Serialize;
use std::time::Duration;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// What to do, e.g. on; cycle is off and on, and leaves a host on that was off.
    #[arg(long, value_enum, value_name = "COMMAND")]
    command: Command,
    /// With soft, switch off hard what has not shut down in time.
    #[arg(long)]
    force: bool,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    host: HostName,
    before: Power,
    after: Power,
}

impl Action for Args {
    const NAME: &'static str = "ipmi_power";
    const ABOUT: &'static str =
        "Switch a host on or off by its BMC, and wait until the BMC reports the state that was asked for";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--command=status"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if self.force && self.command != Command::Soft {
            return Err(Failure::input("`force` goes with the command `soft` only"));
        }
        // Who switches a host on takes nothing from its tenant.
        if !self.dry_run && !matches!(self.command, Command::Status | Command::On) {
            self.guard.check(context, &self.host, None)?;
        }
        let timing = &context.config()?.timing;
        let held = bmcs::hold(context, &self.host)?;
        let bmc = held.bmc.as_ref();
        let work = || {
            let before = bmc.power()?;
            let patience = Patience {
                limit: Duration::from_secs(timing.power),
                poll: timing.poll(),
                force: self.force,
            };
            let after = match self.dry_run {
                true => power::aim(self.command, before, bmc.address())?,
                false => power::run(bmc, self.command, before, &patience)?,
            };
            Ok::<_, laas_bmc::BmcError>((before, after))
        };
        let (before, after) = work().at_peer(bmcs::PEER).of_host(&self.host)?;
        Ok(Output {
            changed: power::acts(self.command, before),
            host: self.host,
            before,
            after,
        })
    }
}
