//! Gives a host the name that its tenant asked for.

use crate::bookings::Guard;
use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::names::SystemHostname;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName};
use laas_host::system::{Hostnames, hostnames, set_hostname};
use serde::Serialize;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The name that the system gets, e.g. jump.
    #[arg(long, value_name = "NAME")]
    hostname: SystemHostname,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    before: Hostnames,
    after: Hostnames,
}

impl Action for Args {
    const NAME: &'static str = "set_hostname";
    const ABOUT: &'static str =
        "Give a host the name that its tenant asked for, now and for every later boot";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--hostname=web-1"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, None)?;
        }
        let host = hosts::load(context, &self.host)?;
        let deadline = Deadline::seconds(context.config()?.timing.call);
        let session = hosts::connect(context, &host, &deadline)?;
        let look = || hostnames(&session).at_peer(hosts::PEER).of_host(&self.host);
        let before = look()?;
        let wanted = self.hostname.as_str();
        let same = |names: &Hostnames| names.running == wanted && names.stored == wanted;
        if same(&before) {
            return Ok(Output {
                changed: false,
                after: before.clone(),
                before,
            });
        }
        if self.dry_run {
            let after = Hostnames {
                running: wanted.to_owned(),
                stored: wanted.to_owned(),
            };
            return Ok(Output {
                changed: true,
                before,
                after,
            });
        }
        set_hostname(&session, &self.hostname)
            .at_peer(hosts::PEER)
            .of_host(&self.host)?;
        let after = look()?;
        if !same(&after) {
            return Err(Failure::refused(format!(
                "`{}` was told to be `{wanted}` and calls itself `{}` (stored: `{}`)",
                self.host, after.running, after.stored
            ))
            .peer(hosts::PEER)
            .host(&self.host));
        }
        Ok(Output {
            changed: true,
            before,
            after,
        })
    }
}
