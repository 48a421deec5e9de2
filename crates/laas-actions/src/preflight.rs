//! Checks everything that a workflow started by hand needs before its first step, and touches nothing.

use crate::settings::Settings;
use crate::{bookings, fog_capture, fog_image, fog_wipe, hosts, ipmi_power, switch_vlan};
use laas_core::action::{Action, Context, dry_run};
use laas_core::{Failure, HostName};
use laas_fog::Snapshot;
use serde::Serialize;

#[derive(clap::Args)]
// The pack's version would have the flag that a snapshot's has.
#[command(rename_all = "snake_case", disable_version_flag = true)]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// An image is to be deployed: the one that image, name, snapshot or os says.
    #[arg(long)]
    deploy: bool,
    /// The image's id in FOG, e.g. 17.
    #[arg(long, value_name = "ID")]
    image: Option<u64>,
    /// The image's exact name in FOG, e.g. ubuntu-22.04.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The snapshot that is to be deployed, e.g. snapshot_5.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// The version of the snapshot, e.g. 3.
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    /// The system whose image the host's entry in the inventory names, e.g. ubuntu.
    #[arg(long, value_name = "SYSTEM")]
    os: Option<String>,
    /// The disk is to be wiped.
    #[arg(long)]
    wipe: bool,
    /// The disk is to be captured as the next version of this snapshot, e.g. snapshot_5.
    #[arg(long, value_name = "NAME")]
    into: Option<Snapshot>,
    /// The image that the captured one takes the place of, e.g. ubuntu-22.04.
    #[arg(long, value_name = "NAME")]
    replace: Option<String>,
    /// The piece of work in a booking: the booking that it is of may have the host, e.g.
    /// aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// The job that gives the host back: its booking must be over, and nobody else's may have the host, e.g. 17.
    #[arg(long, value_name = "ID")]
    job_id: Option<u64>,
    /// Go on although a booking has the host.
    #[arg(long)]
    booked: bool,
}

#[derive(Serialize)]
pub struct Output {
    host: HostName,
    settings: Settings,
}

impl Action for Args {
    const NAME: &'static str = "preflight";
    const ABOUT: &'static str = "Check what a workflow started by hand needs before it touches anything: arguments, \
                                 image, host entry, BMC, ports, booking";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--deploy", "--name=ubuntu-22.04"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let settings = Settings::of(context.config()?);
        self.check(context)?;
        let host = self.host;
        Ok(Output { host, settings })
    }
}

impl Args {
    fn check(&self, context: &Context) -> Result<(), Failure> {
        let host = &self.host;
        hosts::load_alone(context, host)?;
        if !self.booked {
            bookings::check_free(context, host, self.request.as_deref(), self.job_id)?;
        }
        // What gives a host back does what it can, whatever is broken.
        if self.job_id.is_some() {
            return Ok(());
        }
        let of_host = format!("--host={host}");
        let option = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
        if self.deploy {
            let args = [
                Some(of_host.clone()),
                option("image", self.image.map(|id| id.to_string())),
                option("name", self.name.clone()),
                option("snapshot", self.snapshot.clone()),
                option("version", self.version.map(|version| version.to_string())),
                option("os", self.os.clone()),
                option("request", self.request.clone()),
            ];
            dry_run::<fog_image::Args>(context, &args.into_iter().flatten().collect::<Vec<_>>())?;
        } else if let Some(into) = &self.into {
            let args = [
                Some(of_host.clone()),
                option("snapshot", Some(into.to_string())),
                option("replace", self.replace.clone()),
                option("request", self.request.clone()),
            ];
            dry_run::<fog_capture::Args>(context, &args.into_iter().flatten().collect::<Vec<_>>())?;
        } else if self.wipe {
            let args = [
                of_host.clone(),
                format!("--confirm={host}"),
                "--mode=fast".to_owned(),
            ];
            dry_run::<fog_wipe::Args>(context, &args)?;
        }
        dry_run::<ipmi_power::Args>(context, &[of_host, "--command=off".to_owned()])?;
        let hosts = serde_json::json!([host]);
        dry_run::<switch_vlan::Args>(context, &[format!("--hosts={hosts}")])?;
        Ok(())
    }
}
