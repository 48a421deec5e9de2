//! Takes out of a running system what no other host may have, before its disk becomes an image.

use crate::bookings::Guard;
use crate::fog_capture;
use crate::{hosts, jenkins_agent};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, Kind};
use laas_host::{Session, network, system};
use serde::{Deserialize, Serialize};

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The capture that this is for, as `fog_capture` is given it; once that is queued there is nothing left to do here,
    /// e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// Show what would be taken out and leave it there.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    host: HostName,
    /// The files that were deleted, emptied or put back as the image had them; of an agent its unit and processes, too.
    files: Vec<String>,
}

impl Action for Args {
    const NAME: &'static str = "prepare_capture";
    const ABOUT: &'static str = "Take out of a host's system what no other host may have (Jenkins agent, SSH host keys, machine id, its booking's network configuration), so that its disk can become an image";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--dry_run"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, self.request.as_deref())?;
        }
        let request = self.request.as_deref().filter(|request| !request.is_empty());
        let mut files = Vec::new();
        // From then on the host may be off, or have keys of its own again.
        let is_queued = match request {
            Some(request) => fog_capture::has_begun(context, &self.host, request)?,
            None => false,
        };
        if !is_queued {
            let host = hosts::load(context, &self.host)?;
            let deadline = Deadline::seconds(context.config()?.timing.call);
            match hosts::connect(context, &host, &deadline) {
                Ok(session) => files = self.prepare(context, request, &session)?,
                // sshd lets nobody in any more once its keys are gone.
                Err(failure)
                    if failure.kind == Kind::Unreachable
                        && request.is_some()
                        && Prepared::load(context, &self.host)?.request.as_deref() == request => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Output {
            changed: !files.is_empty(),
            host: self.host,
            files,
        })
    }
}

impl Args {
    /// Gives the files that are, or with `dry_run` would be, no longer what they were.
    fn prepare(
        &self,
        context: &Context,
        request: Option<&str>,
        session: &Session,
    ) -> Result<Vec<String>, Failure> {
        let mut files = jenkins_agent::take_away(session, &self.host, self.dry_run)?;
        let restored = network::restore(session, self.dry_run);
        files.extend(restored.at_peer(hosts::PEER).of_host(&self.host)?);
        let look = || system::identity(session).at_peer(hosts::PEER).of_host(&self.host);
        let identity = look()?;
        if !self.dry_run && !identity.is_empty() {
            if let Some(request) = request {
                let request = Some(request.to_owned());
                Prepared { request }.store(context, &self.host)?;
            }
            // The same session goes on without the keys.
            system::forget_identity(session)
                .at_peer(hosts::PEER)
                .of_host(&self.host)?;
            let left = look()?;
            if !left.is_empty() {
                let error = format!("`{}` still has `{}`", self.host, left.join("`, `"));
                return Err(Failure::refused(error).peer(hosts::PEER).host(&self.host));
            }
        }
        files.extend(identity);
        Ok(files)
    }
}

/// The value of the key `prepared_<host>`: the capture that the host was last prepared for. It is written before the
/// host is touched.
#[derive(Default, Serialize, Deserialize)]
pub struct Prepared {
    pub request: Option<String>,
}

impl Prepared {
    /// # Errors
    /// The datastore can't be read.
    pub fn load(context: &Context, host: &HostName) -> Result<Self, Failure> {
        let found: Option<Self> = context
            .datastore()?
            .get_record(&format!("prepared_{host}"))
            .at_peer("datastore")
            .of_host(host)?;
        Ok(found.unwrap_or_default())
    }

    fn store(&self, context: &Context, host: &HostName) -> Result<(), Failure> {
        let stored = context.datastore()?.put_record(&format!("prepared_{host}"), self);
        stored.at_peer("datastore").of_host(host)
    }

    /// The host gets another system.
    ///
    /// # Errors
    /// The datastore can't be written.
    pub fn forget(context: &Context, host: &HostName) -> Result<(), Failure> {
        let deleted = context.datastore()?.delete(&format!("prepared_{host}"));
        deleted.at_peer("datastore").of_host(host)
    }
}
