//! Says what a host's BMC knows about itself and the machine around it.

use crate::bmcs;
use laas_bmc::Info;
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
}

#[derive(Serialize)]
pub struct Output {
    host: HostName,
    #[serde(flatten)]
    info: Info,
}

impl Action for Args {
    const NAME: &'static str = "bmc_info";
    const ABOUT: &'static str =
        "Say the model of a host, its BMC's firmware and MAC, and what its sensors read";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let held = bmcs::hold(context, &self.host)?;
        let info = held.bmc.info().at_peer(bmcs::PEER).of_host(&self.host)?;
        Ok(Output {
            host: self.host,
            info,
        })
    }
}
