//! Tells a host's BMC what to boot from.

use crate::bmcs;
use crate::bookings::Guard;
use laas_bmc::{BmcError, Boot, BootState, Device};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::{Failure, HostName};
use serde::Serialize;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// What the next boot is from, e.g. pxe; none gives the choice back to the firmware.
    #[arg(long, value_enum, value_name = "DEVICE")]
    device: Device,
    /// For every boot instead of the next one only.
    #[arg(long)]
    persistent: bool,
    /// Boot by UEFI instead of the legacy BIOS.
    #[arg(long)]
    uefi: bool,
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
    before: BootState,
    after: BootState,
}

impl Action for Args {
    const NAME: &'static str = "ipmi_boot_device";
    const ABOUT: &'static str = "Tell a host's BMC what the host boots from next, and read it back";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--device=pxe"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, None)?;
        }
        let boot = Boot {
            device: self.device,
            persistent: self.persistent,
            uefi: self.uefi,
        };
        let held = bmcs::hold(context, &self.host)?;
        let bmc = held.bmc.as_ref();
        let work = || {
            let before = bmc.boot()?;
            if self.dry_run {
                let after = if before.obeys(&boot) { before } else { boot.into() };
                return Ok((before, after));
            }
            // Told every time: an order that has expired can look like one that stands.
            bmc.set_boot(&boot)?;
            let after = bmc.boot()?;
            if after.obeys(&boot) {
                Ok((before, after))
            } else {
                Err(BmcError::BootStays {
                    address: bmc.address().to_owned(),
                    found: after,
                })
            }
        };
        let (before, after) = work().at_peer(bmcs::PEER).of_host(&self.host)?;
        Ok(Output {
            changed: before != after,
            host: self.host,
            before,
            after,
        })
    }
}
