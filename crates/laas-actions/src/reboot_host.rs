//! Reboots a host from within and waits until it is back.

use crate::bookings::Guard;
use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::wait::{Backoff, Deadline, Ended};
use laas_core::{Classify, Failure, HostName, Kind};
use laas_host::SshError;
use laas_host::system::{boot_id, reboot};
use serde::Serialize;
use std::time::Duration;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// Reboot only if the host still runs on this boot, as `update_host` gives it, so that a second run does not reboot
    /// again, e.g. 1b4e28ba-2fa1-41d2-883f-0016d3cca427.
    #[arg(long = "boot_id", value_name = "ID")]
    boot_id: Option<String>,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    /// The kernel's number of the boot.
    before: String,
    after: String,
    address: String,
}

impl Action for Args {
    const NAME: &'static str = "reboot_host";
    const ABOUT: &'static str = "Reboot a host from within, and prove by its boot id that it did";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        self.guard.check(context, &self.host, None)?;
        let host = hosts::load(context, &self.host)?;
        let deadline = Deadline::seconds(context.config()?.timing.boot);
        let session = hosts::connect(context, &host, &deadline)?;
        let before = boot_id(&session).at_peer(hosts::PEER).of_host(&self.host)?;
        if self.boot_id.is_some_and(|asked| asked != before) {
            return Ok(Output {
                changed: false,
                after: before.clone(),
                before,
                address: session.address,
            });
        }
        match reboot(&session) {
            // The host may be quicker than its answer.
            Ok(()) | Err(SshError::Lost { .. }) => {}
            Err(error) => return Err(error).at_peer(hosts::PEER).of_host(&self.host),
        }
        drop(session);
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        loop {
            let session = hosts::connect(context, &host, &deadline)?;
            let still = match boot_id(&session) {
                Ok(after) if after != before => {
                    return Ok(Output {
                        changed: true,
                        before,
                        after,
                        address: session.address,
                    });
                }
                Ok(_) => Failure::refused(format!("`{}` was told to reboot and did not", self.host))
                    .hint("something keeps it from going down: look at its console"),
                Err(error) if error.kind() == Kind::Unreachable => error.into(),
                Err(error) => return Err(error).at_peer(hosts::PEER).of_host(&self.host),
            };
            backoff.pause(&deadline).map_err(|ended| {
                let mut failure = still.peer(hosts::PEER).host(&self.host);
                if ended == Ended::Cancelled {
                    failure.kind = Kind::Cancelled;
                }
                failure
            })?;
        }
    }
}
