//! Installs what a booking's software task asks for, on its jumphost, and proves that it runs.

mod deployment;
mod watch;

use crate::bookings::Guard;
use crate::software::descriptor::{self, Document};
use crate::software::installer::{Descriptor, Installer, Mode, Source, Version};
use crate::software::scenario::Scenario;
use crate::software::{self, Found};
use crate::{hosts, posting};
use deployment::{DIRECTORY, Deployment};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::json_arg::JsonArg;
use laas_core::{Failure, HostName, Kind};
use laas_dashboard::TaskRef;
use laas_dashboard::software::{DocumentPath, Role};
use laas_host::job::{Look, State};
use serde::Serialize;
use watch::Watch;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The jumphost; without it the one whose role says so, or the only host, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// The hosts and their roles, e.g. [{"host": "pod1", "role": "Jumphost"}, {"host": "pod2", "role": "Compute"}].
    #[arg(
        long,
        env = "LAAS_ROLES",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    roles: JsonArg<Option<Vec<Role>>>,
    /// Hosts that failed: nothing is installed on a jumphost among them, e.g. ["pod2"].
    #[arg(
        long,
        env = "LAAS_UNAVAILABLE",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    unavailable: JsonArg<Option<Vec<HostName>>>,
    /// What is to be installed: fuel, apex, compass, joid, script, or what the lab has added, e.g. fuel.
    #[arg(long, value_name = "NAME")]
    installer: Option<String>,
    /// The scenario, e.g. os-nosdn-nofeature-noha.
    #[arg(long, value_name = "SCENARIO")]
    scenario: Option<String>,
    /// The installer's version; without it the first one of its installer.yaml, e.g. gambia.
    #[arg(long = "software_version", value_name = "VERSION")]
    software_version: Option<String>,
    /// Install on the booking's other hosts instead of on virtual machines of the jumphost.
    #[arg(long)]
    baremetal: bool,
    /// Where the dashboard has the pod's descriptor file, e.g. /api/labs/UNH_IOL/booking/1/pdf.
    #[arg(long, value_name = "PATH")]
    pdf: Option<DocumentPath>,
    /// Where the dashboard has the installer's descriptor file, e.g. /api/labs/UNH_IOL/booking/1/idf.
    #[arg(long, value_name = "PATH")]
    idf: Option<DocumentPath>,
    /// The task that this is done for: when the dashboard asks it for something else, the deployment is stopped, e.g. {"job": 1, "task": "aebe085c-…", "digest": "…", "request": "…"}.
    #[arg(
        long,
        env = "LAAS_TASK",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    task: JsonArg<Option<TaskRef>>,
    /// Only show how far the deployment on the host is, with the end of its log.
    #[arg(long, conflicts_with = "stop")]
    show: bool,
    /// Only end the deployment on the host, with all that it has started.
    #[arg(long)]
    stop: bool,
    /// Check everything, show what would be done, and touch nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    host: HostName,
    /// Installer, version, scenario, mode and request of the deployment on the host; empty if there is none.
    deployment: String,
    state: &'static str,
    /// What it was or is at: clean, fetch, deploy, verify.
    #[serde(skip_serializing_if = "String::is_empty")]
    phase: String,
    /// What the verification found running.
    found: Vec<String>,
    /// What is wrong with the descriptor files.
    faults: Vec<String>,
    /// The end of the log.
    log: Vec<String>,
    /// The whole log: on the host, and where a copy is kept.
    log_files: Vec<String>,
}

/// What is asked for, checked against what the installer can do.
struct Order {
    found: Found,
    version: Version,
    scenario: Scenario,
    mode: Mode,
    source: Source,
}

impl Action for Args {
    const NAME: &'static str = "opnfv_deploy";
    const ABOUT: &'static str =
        "Install OPNFV on a booking's jumphost, as a job that outlives this action, and prove that it runs";
    const EXAMPLE: &'static [&'static str] = &[
        "--host=pod1",
        "--installer=fuel",
        "--scenario=os-nosdn-nofeature-noha",
    ];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let roles = self.roles.get("roles")?.unwrap_or_default();
        let task = self.task.get("task")?;
        let unavailable = self.unavailable.get("unavailable")?.unwrap_or_default();
        let name = jumphost(self.host, &roles)?;
        if unavailable.contains(&name) {
            let error = format!("`{name}` could not be set up, so nothing was installed on it");
            return Err(Failure::refused(error).peer(hosts::PEER).host(&name));
        }
        if !self.show && !self.dry_run {
            let request = task.as_ref().map(|task| task.request.as_str());
            self.guard.check(context, &name, request)?;
        }
        if self.show || self.stop {
            return look_or_stop(context, name, self.stop);
        }
        let (Some(installer), Some(scenario)) = (&self.installer, &self.scenario) else {
            return Err(Failure::input("`installer` and `scenario` are missing"));
        };
        let mode = if self.baremetal {
            Mode::Baremetal
        } else {
            Mode::Virtual
        };
        let order = order(
            context,
            installer,
            self.software_version.as_deref(),
            scenario,
            mode,
        )?;
        let documents = documents(context, &order, self.pdf.as_ref(), self.idf.as_ref())?;
        let request = task.as_ref().map_or("by-hand", |task| task.request.as_str());
        let deployment = Deployment {
            identity: format!(
                "{} {} {} {} {request}",
                order.installer().name,
                order.version.name,
                order.scenario,
                mode.name()
            ),
            order,
            documents,
        };
        let host = hosts::load(context, &name)?;
        let watched = match task {
            Some(task) => Some((posting::connect(context)?, task)),
            None => None,
        };
        Watch::new(context, &host, &deployment, watched)?.run(self.dry_run)
    }
}

/// The host on which the installer runs.
fn jumphost(given: Option<HostName>, roles: &[Role]) -> Result<HostName, Failure> {
    if let Some(host) = given {
        return Ok(host);
    }
    let mut named = roles
        .iter()
        .filter(|role| role.role.eq_ignore_ascii_case("jumphost"));
    match (named.next(), named.next(), roles) {
        (Some(jumphost), None, _) => Ok(jumphost.host.clone()),
        (Some(_), Some(_), _) => Err(Failure::input("more than one host has the role `Jumphost`")),
        (None, _, [only]) => Ok(only.host.clone()),
        (None, _, []) => Err(Failure::input("`host` is missing, and no `roles` are given")),
        (None, _, _) => Err(Failure::input("none of the hosts has the role `Jumphost`")),
    }
    .map_err(|failure| failure.hint("give the jumphost in `host`, or correct the roles in the booking"))
}

fn order(
    context: &Context,
    installer: &str,
    version: Option<&str>,
    scenario: &str,
    mode: Mode,
) -> Result<Order, Failure> {
    let config = &context.config()?.software;
    let found = software::find(config, installer)?;
    let version = found.installer.version(version)?.clone();
    let scenario: Scenario = scenario
        .parse()
        .map_err(|error: software::scenario::ScenarioError| Failure::input(error.to_string()))?;
    found.installer.check_scenario(&scenario, mode)?;
    let name = &found.installer.name;
    let configured = config.sources.get(name).map(|text| {
        text.parse::<Source>().map_err(|why| {
            Failure::input(format!(
                "`software.sources.{name}` of the pack's configuration: {why}"
            ))
        })
    });
    let source = configured
        .transpose()?
        .or_else(|| version.source.clone())
        .or_else(|| found.installer.source.clone());
    let source = source.ok_or_else(|| {
        Failure::input(format!("nobody says where `{name}` comes from")).hint(format!(
            "set `software.sources.{name}` in the pack's configuration"
        ))
    })?;
    Ok(Order {
        found,
        version,
        scenario,
        mode,
        source,
    })
}

/// The descriptor files, as far as the installer takes them.
fn documents(
    context: &Context,
    order: &Order,
    pdf: Option<&DocumentPath>,
    idf: Option<&DocumentPath>,
) -> Result<Vec<(Descriptor, Document)>, Failure> {
    let installer = order.installer();
    let mut documents = Vec::new();
    for (kind, path, wanted) in [
        (Descriptor::Pdf, pdf, installer.files.pdf.is_some()),
        (Descriptor::Idf, idf, installer.files.idf.is_some()),
    ] {
        let needed = installer.needs.of(order.mode).contains(&kind);
        let name = kind.name();
        let Some(path) = path.filter(|_| wanted) else {
            if needed {
                return Err(Failure::input(format!(
                    "{} needs a {name}, and none is given",
                    installer.title
                )));
            }
            continue;
        };
        let text = posting::connect(context)?.document(path).at_peer("dashboard")?;
        let document = descriptor::read(kind, &text);
        if needed && !document.usable {
            let error = format!(
                "{} needs the {name} at `{path}`, and it can't be used: {}",
                installer.title,
                document.faults.join("; ")
            );
            return Err(Failure::new(Kind::Refused, error)
                .hint("`laas.bmc_user` makes the dashboard write it anew; see the booking's page")
                .peer("dashboard"));
        }
        documents.push((kind, document));
    }
    Ok(documents)
}

fn look_or_stop(context: &Context, name: HostName, stop: bool) -> Result<Output, Failure> {
    let host = hosts::load(context, &name)?;
    let deadline = laas_core::wait::Deadline::after(2 * context.config()?.timing.call());
    let session = hosts::connect(context, &host, &deadline)?;
    let look = || -> Result<(bool, Look, String), deployment::DeploymentError> {
        let changed = stop && deployment::stop(&session)?;
        let (look, phase) = deployment::look(&session)?;
        Ok((changed, look, phase))
    };
    let (changed, look, phase) = look().at_peer(hosts::PEER).of_host(&name)?;
    Ok(Output {
        changed,
        host: name,
        deployment: look.identity,
        state: state_name(look.state),
        phase,
        found: Vec::new(),
        faults: Vec::new(),
        log: look.log,
        log_files: vec![format!("{DIRECTORY}/log")],
    })
}

fn state_name(state: State) -> &'static str {
    match state {
        State::None => "none",
        State::Running => "running",
        State::Ended => "ended",
        State::Stopped => "stopped",
        State::Died => "died",
        State::Rebooted => "rebooted",
    }
}

impl Order {
    fn installer(&self) -> &Installer {
        &self.found.installer
    }
}
