//! Installs the updates that a host's operating system has.

use crate::bookings::Guard;
use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::Host;
use laas_core::wait::{Backoff, Deadline, Ended as Waited};
use laas_core::{Classify, Failure, HostName, Kind, lock};
use laas_host::Session;
use laas_host::job::Begun;
use laas_host::system::boot_id;
use laas_host::update::{self, DIRECTORY, Ended, Progress, Tool, UpdateError};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    tool: Tool,
    /// How many packages are new, gone or of another version.
    packages: usize,
    /// Whether something of that runs only after a reboot.
    reboot_needed: bool,
    /// The boot that the host runs on, for `reboot_host`.
    boot_id: String,
}

/// A host that is being updated, and the connection to it while it stands.
struct Updates<'a> {
    context: &'a Context,
    host: &'a Host,
    deadline: Deadline,
    session: Option<Session>,
}

impl Action for Args {
    const NAME: &'static str = "update_host";
    const ABOUT: &'static str = "Install the updates of a host's operating system";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        self.guard.check(context, &self.host, None)?;
        let host = hosts::load(context, &self.host)?;
        let deadline = Deadline::seconds(context.config()?.timing.update);
        // Whoever comes second finds the end of the first's job told and forgotten.
        let _held = lock::acquire(&format!("update_{}", self.host), &deadline)
            .at_peer(hosts::PEER)
            .of_host(&self.host)?;
        let mut updates = Updates {
            context,
            host: &host,
            deadline,
            session: None,
        };
        let tool = updates.ask(Tool::detect)?;
        if updates.ask(|session| update::begin(session, tool))? != Begun::Now {
            tracing::info!(host = %self.host, "an earlier run has begun these updates");
        }
        let ended = updates.wait(tool)?;
        let boot_id = updates.ask(|session| Ok(boot_id(session)?))?;
        updates.ask(|session| update::forget(session, &ended))?;
        if ended.status != 0 {
            return Err(refused(tool, &ended).peer(hosts::PEER).host(&self.host));
        }
        Ok(Output {
            changed: !ended.packages.is_empty(),
            tool,
            packages: ended.packages.len(),
            reboot_needed: ended.reboot_needed,
            boot_id,
        })
    }
}

impl Updates<'_> {
    /// What the host answers, over a new connection if the old one broke: an update may restart its SSH server.
    fn ask<T>(&mut self, question: impl Fn(&Session) -> Result<T, UpdateError>) -> Result<T, Failure> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let session = match self.session.take() {
                Some(session) => session,
                None => hosts::connect(self.context, self.host, &self.deadline)?,
            };
            let error = match question(&session) {
                Ok(answer) => {
                    self.session = Some(session);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let failed = |error| Failure::from(error).peer(hosts::PEER).host(&self.host.name);
            if error.kind() != Kind::Unreachable {
                return Err(failed(error));
            }
            tracing::debug!(host = %self.host.name, error = %laas_core::failure::chain(&error), "lost the host");
            backoff.pause(&self.deadline).map_err(|_| failed(error))?;
        }
    }

    fn wait(&mut self, tool: Tool) -> Result<Ended, Failure> {
        let name = &self.host.name;
        let poll = self.context.config()?.timing.poll();
        let mut backoff = Backoff::new(Duration::from_millis(100).min(poll), poll);
        loop {
            let last = match self.ask(|session| update::look(session, tool))? {
                Progress::Ended(ended) => return Ok(ended),
                Progress::Running(last) => last,
                Progress::Gone => {
                    let error = format!("the updates of `{name}` ended half-way; did it reboot?");
                    let hint = format!("the next run goes on with them; the log is `{DIRECTORY}/log` there");
                    return Err(Failure::new(Kind::Unreachable, error)
                        .hint(hint)
                        .peer(hosts::PEER)
                        .host(name));
                }
            };
            tracing::debug!(host = %name, last, "updates are being installed");
            backoff.pause(&self.deadline).map_err(|ended| {
                let (kind, why) = match ended {
                    Waited::Cancelled => (Kind::Cancelled, "were not waited for"),
                    Waited::Deadline => (Kind::Unreachable, "are not done in time"),
                };
                Failure::new(
                    kind,
                    format!("the updates of `{name}` {why}; the last was `{last}`"),
                )
                .hint("they go on on the host, and the next run finds them")
                .peer(hosts::PEER)
                .host(name)
            })?;
        }
    }
}

fn refused(tool: Tool, ended: &Ended) -> Failure {
    let last = ended.log.last().map_or("", String::as_str);
    let error = format!(
        "`{}` ended with exit status {}: {last}",
        tool.name(),
        ended.status
    );
    let mut failure = Failure::refused(error).hint(format!("the whole log is `{DIRECTORY}/log` on the host"));
    failure.done = Some(json!({"packages": ended.packages.len(), "log": ended.log}));
    failure
}
