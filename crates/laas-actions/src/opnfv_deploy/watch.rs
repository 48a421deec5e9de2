//! Begins a deployment or finds it, and stays with it until it ends, whatever happens to the connection and the host.

use super::deployment::{self, DIRECTORY, Deployment, DeploymentError, Ended};
use super::{Output, state_name};
use crate::hosts;
use crate::software::Scripts;
use crate::software::installer::AfterReboot;
use laas_core::action::Context;
use laas_core::failure::{Context as _, chain};
use laas_core::inventory::Host;
use laas_core::wait::{self, Backoff, Deadline, Ended as Waited, Stop};
use laas_core::{Failure, Kind, lock};
use laas_dashboard::{Dashboard, TaskRef, digest};
use laas_host::Session;
use laas_host::job::{Begun, State};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// So often a deployment begins again after a reboot; an installer that reboots its host each time never ends.
const MOST_RESTARTS: u32 = 3;

pub struct Watch<'a> {
    context: &'a Context,
    host: &'a Host,
    deployment: &'a Deployment,
    scripts: Scripts,
    /// The task that this is done for, and where it is looked up.
    task: Option<(Dashboard, TaskRef)>,
    task_seen: Instant,
    deadline: Deadline,
    session: Option<Session>,
    /// What was logged last.
    shown: String,
}

/// How a run met the deployment.
enum Met {
    /// Nothing of it is there, or what is there is over and told of.
    Nothing,
    AtWork,
    BrokenOff,
    Over(Ended),
}

impl<'a> Watch<'a> {
    /// # Errors
    /// A template of the installer fails.
    pub fn new(
        context: &'a Context,
        host: &'a Host,
        deployment: &'a Deployment,
        task: Option<(Dashboard, TaskRef)>,
    ) -> Result<Self, Failure> {
        let order = &deployment.order;
        let patience = 2 * context.config()?.timing.boot;
        Ok(Self {
            context,
            host,
            deployment,
            scripts: order
                .found
                .scripts(DIRECTORY, &order.version, &order.scenario, order.mode)?,
            task,
            task_seen: Instant::now(),
            deadline: Deadline::seconds(order.installer().timeout + patience),
            session: None,
            shown: String::new(),
        })
    }

    /// # Errors
    /// The deployment failed, was stopped, or is not done in time; or the host can't be asked.
    pub fn run(mut self, dry_run: bool) -> Result<Output, Failure> {
        let host = self.host;
        // Whoever comes second finds the end of the first's job told.
        let _held = lock::acquire(&format!("software_{}", host.name), &self.deadline)
            .at_peer(hosts::PEER)
            .of_host(&host.name)?;
        let deployment = self.deployment;
        self.ask(|session| deployment.check_system(session))?
            .at_peer(hosts::PEER)
            .of_host(&host.name)?;
        let met = self.meet()?;
        if dry_run {
            return self.output(None, matches!(met, Met::Nothing | Met::BrokenOff));
        }
        let ended = match met {
            Met::Over(ended) => ended,
            met => {
                match met {
                    Met::AtWork => {
                        tracing::info!(host = %host.name, "an earlier run has begun this deployment")
                    }
                    Met::BrokenOff => self.begin_again()?,
                    _ => self.begin(false)?,
                }
                self.wait()?
            }
        };
        self.finish(ended)
    }

    fn meet(&mut self) -> Result<Met, Failure> {
        let (look, _) = self.ask(deployment::look)?;
        let same = look.identity == self.deployment.identity;
        match look.state {
            State::Running if same => Ok(Met::AtWork),
            State::Running => Err(self.failure(
                Kind::Refused,
                format!(
                    "`{}` is at work on another deployment: `{}`",
                    self.host.name, look.identity
                ),
                format!(
                    "wait for it, or end it: `st2 run laas.opnfv_deploy host={} stop=true`",
                    self.host.name
                ),
            )),
            State::Ended if same => {
                let ended = self.ask(deployment::ended)?;
                // One that failed and is known to have failed is tried again.
                Ok(if ended.told && ended.status != 0 {
                    Met::Nothing
                } else {
                    Met::Over(ended)
                })
            }
            State::Rebooted if same => Ok(Met::BrokenOff),
            _ => Ok(Met::Nothing),
        }
    }

    fn begin(&mut self, again: bool) -> Result<(), Failure> {
        let (deployment, scripts) = (self.deployment, self.scripts.clone());
        for (_, document) in &deployment.documents {
            for fault in &document.faults {
                tracing::warn!(host = %self.host.name, fault, "a descriptor file is not sound");
            }
        }
        let begun = self.ask(|session| deployment.begin(session, &scripts, again))?;
        match begun {
            Begun::Now => Ok(()),
            // The connection broke after it had begun.
            Begun::Before(identity) | Begun::Ended(identity) if identity == deployment.identity => Ok(()),
            Begun::Before(identity) | Begun::Ended(identity) => Err(self.failure(
                Kind::Refused,
                format!(
                    "somebody has begun another deployment on `{}`: `{identity}`",
                    self.host.name
                ),
                "look who works on the host".to_owned(),
            )),
        }
    }

    fn begin_again(&mut self) -> Result<(), Failure> {
        let installer = self.deployment.order.installer();
        let rebooted = format!(
            "`{}` started anew in the middle of the deployment",
            self.host.name
        );
        if installer.after_reboot == AfterReboot::Fail {
            let hint = format!(
                "{} can't go on after that: reset the host and deploy again",
                installer.title
            );
            return Err(self.failure(Kind::Refused, rebooted, hint));
        }
        if self.ask(deployment::count_restart)? > MOST_RESTARTS {
            return Err(self.failure(
                Kind::Refused,
                format!("{rebooted}, more than {MOST_RESTARTS} times"),
                "find out what reboots it: its own log is in `journalctl -b -1`".to_owned(),
            ));
        }
        tracing::warn!(host = %self.host.name, "{rebooted}; it begins again");
        self.begin(true)
    }

    fn wait(&mut self) -> Result<Ended, Failure> {
        let poll = self.context.config()?.timing.poll();
        let mut backoff = Backoff::new(Duration::from_millis(100).min(poll), poll);
        loop {
            self.check_task()?;
            let (look, phase) = self.ask(deployment::look)?;
            let name = &self.host.name;
            if look.identity != self.deployment.identity {
                return Err(self.failure(
                    Kind::Refused,
                    format!("the deployment is no longer the one on `{name}`"),
                    "was the host deployed anew?".to_owned(),
                ));
            }
            match look.state {
                State::Ended => return self.ask(deployment::ended),
                State::Rebooted => self.begin_again()?,
                State::Stopped => {
                    let error = format!("the deployment on `{name}` was stopped in `{phase}`");
                    let hint = "run it again to begin anew".to_owned();
                    return Err(self.failure(Kind::Cancelled, error, hint));
                }
                State::Died | State::None => {
                    let error = format!("the deployment on `{name}` was killed in `{phase}`");
                    let hint =
                        format!("the log is `{DIRECTORY}/log` on the host; run it again to begin anew");
                    return Err(self.failure(Kind::Refused, error, hint));
                }
                State::Running => {
                    let last = look.log.last().map_or("", String::as_str);
                    let last = self.masked(last);
                    if self.shown != last {
                        tracing::info!(host = %name, phase, last, "the deployment is at work");
                        self.shown = last;
                    }
                }
            }
            if let Err(ended) = backoff.pause(&self.deadline) {
                return Err(self.interrupted(ended));
            }
        }
    }

    /// Nobody waits any more: a cancel ends the deployment, everything else leaves it at work.
    fn interrupted(&mut self, ended: Waited) -> Failure {
        let name = self.host.name.clone();
        let goes_on = "it goes on on the host, and the next run finds it".to_owned();
        match (ended, wait::stopped()) {
            (Waited::Deadline, _) => {
                let error = format!(
                    "the deployment on `{name}` is not done in time; the last was `{}`",
                    self.shown
                );
                self.failure(Kind::Unreachable, error, goes_on)
            }
            (Waited::Cancelled, Some(Stop::Cancelled)) => self.stopped("cancelled"),
            (Waited::Cancelled, _) => {
                let error = format!("the deployment on `{name}` was not waited for");
                self.failure(Kind::Cancelled, error, goes_on)
            }
        }
    }

    /// The deployment is ended, for this reason.
    fn stopped(&mut self, why: &str) -> Failure {
        let name = &self.host.name;
        let stopped = self.session.as_ref().map(deployment::stop);
        let (error, hint) = match stopped {
            Some(Ok(_)) => (
                format!("the deployment on `{name}` was {why} and is stopped"),
                "run it again to begin anew".to_owned(),
            ),
            other => {
                let said = other
                    .and_then(Result::err)
                    .map_or(String::new(), |error| format!(": {}", chain(&error)));
                (
                    format!("the deployment on `{name}` was {why}, and the host can't be told{said}"),
                    format!("it may go on there: `st2 run laas.opnfv_deploy host={name} stop=true`"),
                )
            }
        };
        self.failure(Kind::Cancelled, error, hint)
    }

    /// Whether the task still asks for this; looked up as often as the sensor looks.
    fn check_task(&mut self) -> Result<(), Failure> {
        let Some((dashboard, task)) = &self.task else {
            return Ok(());
        };
        let pause = Duration::from_millis(self.context.config()?.dashboard()?.poll_ms);
        if self.task_seen.elapsed() < pause {
            return Ok(());
        }
        self.task_seen = Instant::now();
        match dashboard.task(task.job, &task.task) {
            Ok(delta) if digest(&delta) != task.digest => Err(self.stopped("taken back by the dashboard")),
            Ok(_) => Ok(()),
            // It is looked up again.
            Err(error) => {
                tracing::debug!(error = %chain(&error), "can't look the task up");
                Ok(())
            }
        }
    }

    /// What the host answers, over a new connection if the old one broke.
    fn ask<T>(&mut self, question: impl Fn(&Session) -> Result<T, DeploymentError>) -> Result<T, Failure> {
        let timing = &self.context.config()?.timing;
        let patience = Deadline::after(self.deadline.cap(Duration::from_secs(2 * timing.boot)));
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let connected = match self.session.take() {
                Some(session) => Ok(session),
                None => {
                    let call = Deadline::after(patience.cap(timing.call()));
                    hosts::connect(self.context, self.host, &call)
                }
            };
            let failure = match connected {
                Err(failure) => failure,
                Ok(session) => match question(&session) {
                    Ok(answer) => {
                        self.session = Some(session);
                        return Ok(answer);
                    }
                    Err(error) => Failure::from(error).peer(hosts::PEER).host(&self.host.name),
                },
            };
            if failure.kind != Kind::Unreachable {
                return Err(failure);
            }
            self.check_task()?;
            tracing::debug!(host = %self.host.name, error = failure.error, "lost the host");
            if backoff.pause(&patience).is_err() {
                return Err(failure);
            }
        }
    }

    fn finish(&mut self, ended: Ended) -> Result<Output, Failure> {
        let kept = if ended.told { None } else { self.keep_log()? };
        let output = self.output(Some(&ended), !ended.told)?;
        let deployment = self.deployment;
        self.ask(|session| deployment.tell(session))?;
        let log_files: Vec<_> = output.log_files.into_iter().chain(kept).collect();
        if ended.status == 0 {
            return Ok(Output { log_files, ..output });
        }
        let order = &self.deployment.order;
        let last = output.log.last().map_or("", String::as_str);
        let error = format!(
            "{} ended in `{}` with exit status {}: {last}",
            order.installer().title,
            ended.phase,
            ended.status
        );
        let try_this = match (ended.status, ended.phase.as_str()) {
            (124, _) => "it took longer than the `timeout` of its installer.yaml".to_owned(),
            (_, "fetch") => format!(
                "does the host reach `{}`, and has it `{}`?",
                order.source.as_str(),
                order.version.reference
            ),
            (_, "verify" | "success") => "the installer says that all is well, and it is not".to_owned(),
            _ => "run it again to begin anew".to_owned(),
        };
        let mut failure = self.failure(
            Kind::Refused,
            error,
            format!("{try_this}; the whole log is `{}`", log_files.join("`, `")),
        );
        failure.done = Some(json!({
            "phase": ended.phase,
            "status": ended.status,
            "log": output.log,
            "log_files": log_files,
            "faults": output.faults,
        }));
        Err(failure)
    }

    fn output(&mut self, ended: Option<&Ended>, changed: bool) -> Result<Output, Failure> {
        let (look, phase) = self.ask(deployment::look)?;
        let documents = &self.deployment.documents;
        let found = ended.map_or(&[][..], |ended| &ended.found);
        Ok(Output {
            changed,
            host: self.host.name.clone(),
            deployment: self.deployment.identity.clone(),
            state: state_name(look.state),
            phase,
            found: found.iter().map(|line| self.masked(line)).collect(),
            faults: documents
                .iter()
                .flat_map(|(_, document)| document.faults.clone())
                .collect(),
            log: look.log.iter().map(|line| self.masked(line)).collect(),
            log_files: vec![format!("{DIRECTORY}/log")],
        })
    }

    /// Keeps the log outside of the host, whose disk is wiped one day. A log that can't be kept is no failure.
    fn keep_log(&mut self) -> Result<Option<String>, Failure> {
        let Some(directory) = self.context.config()?.software.logs.clone() else {
            return Ok(None);
        };
        let log = self.ask(deployment::log)?;
        let name = format!(
            "{}-{}-{}.log",
            self.host.name,
            self.deployment.order.installer().name,
            laas_core::ledger::now()
        );
        let path = directory.join(name);
        let written = std::fs::create_dir_all(&directory).and_then(|()| {
            // Installers print what they like, passwords included.
            let mut file = std::fs::File::options()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(&log)
        });
        match written {
            Ok(()) => Ok(Some(path.display().to_string())),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the log can't be kept");
                Ok(None)
            }
        }
    }

    /// Without the passwords of the descriptor files, which installers like to print.
    fn masked(&self, line: &str) -> String {
        let secrets = self
            .deployment
            .documents
            .iter()
            .flat_map(|(_, document)| &document.secrets);
        secrets.fold(line.to_owned(), |line, secret| {
            line.replace(secret.expose(), "****")
        })
    }

    fn failure(&self, kind: Kind, error: String, hint: String) -> Failure {
        Failure::new(kind, error)
            .hint(hint)
            .peer(hosts::PEER)
            .host(&self.host.name)
    }
}
