//! Makes a host an agent of the lab's Jenkins, or takes that away.

use crate::bookings::Guard;
use crate::{hosts, messages};
use laas_core::action::{Action, Context};
use laas_core::config::Jenkins;
use laas_core::failure::Context as _;
use laas_core::inventory::JenkinsNode;
use laas_core::wait::{Deadline, Ended};
use laas_core::{Failure, HostName, Kind, Secret, lock};
use laas_host::agent::{self, Look};
use laas_host::{Session, job};
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, Instant};

const TEMPLATE: &str = include_str!("../../../software/jenkins/agent.service.tera");
/// What a template can use. Values are plain words: they mean nothing to systemd.
const FACTS: &[&str] = &["url", "name", "directory"];
/// So long the main process must be the same one: one that Jenkins lets in and then sends away ends before.
const STEADY: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(250);
/// Jenkins makes 64; more than this is no secret of its.
const LONGEST_SECRET: usize = 256;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// Take the agent's service, files and processes away, and prove it.
    #[arg(long)]
    revoke: bool,
    /// Show whether something would change, and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    host: HostName,
    /// The name of the node that the host is in Jenkins; none if the datastore has no key `jenkins_<host>`.
    agent: Option<String>,
    /// What was, or would be, taken away: files, the unit, processes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
}

impl Action for Args {
    const NAME: &'static str = "jenkins_agent";
    const ABOUT: &'static str =
        "Make a host the agent of the lab's Jenkins that its key says, or end that, and prove it";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let name = &self.host;
        let wanted = if self.revoke { None } else { self.wanted(context)? };
        if wanted.is_none() && !self.revoke {
            tracing::warn!(host = %name, "there is no key `jenkins_<host>`, so the host is to be no agent");
            return Ok(self.output(false, None, Vec::new()));
        }
        if !self.dry_run {
            self.guard.check(context, &self.host, None)?;
        }
        let host = hosts::load(context, name)?;
        let call = context.config()?.timing.call;
        let _held = lock::acquire(&format!("jenkins_{name}"), &Deadline::seconds(2 * call))
            .at_peer(hosts::PEER)
            .of_host(name)?;
        let session = hosts::connect(context, &host, &Deadline::seconds(call))?;
        let done = match wanted {
            Some(wanted) => self.connect(&session, wanted, &Deadline::seconds(2 * call)),
            None => take_away(&session, name, self.dry_run)
                .map(|removed| self.output(!removed.is_empty(), None, removed)),
        };
        done.at_peer(hosts::PEER).of_host(name)
    }
}

/// What is to run on the host.
struct Wanted {
    name: String,
    secret: Secret,
    /// The unit's text.
    unit: String,
}

impl Args {
    fn wanted(&self, context: &Context) -> Result<Option<Wanted>, Failure> {
        let node = JenkinsNode::load(context.datastore()?, &self.host).at_peer("datastore")?;
        let Some(JenkinsNode { name, secret }) = node else {
            return Ok(None);
        };
        // Neither is quoted: they may have been mixed up.
        let unfit = |what: &str| {
            let error = format!("the datastore's key `jenkins_{}` holds no {what}", self.host);
            Failure::input(error).peer("datastore")
        };
        if name.parse::<HostName>().is_err() {
            return Err(unfit("`name` of letters, digits, `.`, `_` and `-`"));
        }
        let text = secret.expose();
        if text.is_empty() || text.len() > LONGEST_SECRET || !text.chars().all(|c| c.is_ascii_alphanumeric())
        {
            return Err(unfit("`secret` of letters and digits"));
        }
        let jenkins = context.config()?.jenkins()?.ok_or_else(|| {
            Failure::input(format!(
                "`{}` is to be an agent, and there is no Jenkins",
                self.host
            ))
            .hint("set `jenkins.url` in the pack's configuration")
        })?;
        let unit = render(jenkins, &name)?;
        Ok(Some(Wanted { name, secret, unit }))
    }

    fn connect(&self, session: &Session, wanted: Wanted, deadline: &Deadline) -> Result<Output, Failure> {
        if !agent::has_systemd(session)? {
            let error = format!("`{}` has no systemd, which an agent is a service of", self.host);
            return Err(Failure::refused(error));
        }
        let runs = |look: &Look| look.main != 0 || look.state == "activating";
        let look = agent::look(session)?;
        let changed = !runs(&look) || !agent::has_files(session, &wanted.unit, &wanted.secret)?;
        if !self.dry_run {
            if changed {
                agent::start(session, &wanted.unit, &wanted.secret)?;
            }
            self.prove(session, &wanted, deadline)?;
        }
        Ok(self.output(changed, Some(wanted.name), Vec::new()))
    }

    /// Waits until Jenkins has let the agent in and it goes on running.
    fn prove(&self, session: &Session, wanted: &Wanted, deadline: &Deadline) -> Result<(), Failure> {
        let mut steady = (0, Instant::now());
        loop {
            let look = agent::look(session)?;
            if look.state != "active" || look.main != steady.0 {
                steady = (look.main, Instant::now());
            }
            let is_steady = look.main != 0 && steady.1.elapsed() >= STEADY;
            if is_steady && look.connected {
                return Ok(());
            }
            match deadline.sleep(PAUSE) {
                Ok(()) => {}
                Err(Ended::Cancelled) => return Err(Failure::new(Kind::Cancelled, "cancelled")),
                Err(Ended::Deadline) => return Err(self.unproven(&look, is_steady, wanted)),
            }
        }
    }

    fn unproven(&self, look: &Look, is_steady: bool, wanted: &Wanted) -> Failure {
        let host = &self.host;
        // Before it is cut into lines of some length: a part of a secret is one, too.
        let log = job::last_lines(&look.log.replace(wanted.secret.expose(), "****"));
        let last = log.last().map_or("", String::as_str);
        let (kind, what) = if is_steady {
            (Kind::Unreachable, "runs and is not let in by Jenkins")
        } else {
            (Kind::Refused, "does not keep running")
        };
        let mut failure = Failure::new(
            kind,
            format!("the agent on `{host}` {what} ({}): {last}", look.state),
        )
        .hint(format!(
            "is there a node `{}` in Jenkins, and is its secret in `jenkins_{host}`? `journalctl -u {}` on the host \
             says more",
            wanted.name,
            agent::UNIT
        ));
        failure.done = Some(json!({ "log": log }));
        failure
    }

    fn output(&self, changed: bool, agent: Option<String>, removed: Vec<String>) -> Output {
        Output {
            changed,
            host: self.host.clone(),
            agent,
            removed,
        }
    }
}

/// What was, or with `dry_run` would be, taken away of an agent.
///
/// # Errors
/// The connection broke, or something of the agent is still there.
pub(crate) fn take_away(session: &Session, host: &HostName, dry_run: bool) -> Result<Vec<String>, Failure> {
    let removed = agent::left(session).at_peer(hosts::PEER).of_host(host)?;
    if !removed.is_empty() && !dry_run {
        let left = agent::remove(session).at_peer(hosts::PEER).of_host(host)?;
        if !left.is_empty() {
            let error = format!("`{host}` still has of its agent: {}", left.join(", "));
            return Err(Failure::refused(error)
                .hint("end that on the host by hand, and delete the node or its secret in Jenkins")
                .peer(hosts::PEER)
                .host(host));
        }
    }
    Ok(removed)
}

fn render(jenkins: &Jenkins, name: &str) -> Result<String, Failure> {
    let unsound = |place: String, why: String| Failure::input(format!("{place} is not sound: {why}"));
    let (place, text) = match &jenkins.template {
        None => ("the pack's template".to_owned(), TEMPLATE.to_owned()),
        Some(path) => {
            let place = format!("`{}`", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::input(format!("can't read {place}: {error}"))
                    .hint("`jenkins.template` of the pack's configuration names it")
            })?;
            (place, text)
        }
    };
    messages::check("agent.service", &text, FACTS).map_err(|why| unsound(place.clone(), why))?;
    let mut facts = tera::Context::new();
    facts.insert("url", jenkins.url.trim_end_matches('/'));
    facts.insert("name", name);
    facts.insert("directory", agent::DIRECTORY);
    tera::Tera::one_off(text.trim_end(), &facts, false)
        .map(|unit| unit + "\n")
        .map_err(|error| unsound(place, laas_core::failure::chain(&error).replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_one_that_systemd_takes() {
        let jenkins = Jenkins {
            url: "https://jenkins.lab.example.org/ci/".to_owned(),
            template: None,
        };
        let unit = render(&jenkins, "pod1").unwrap();
        assert!(
            unit.contains("https://jenkins.lab.example.org/ci/jnlpJars/agent.jar\n"),
            "{unit}"
        );
        assert!(unit.contains(" -secret @/var/lib/laas-jenkins/secret "), "{unit}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(agent::UNIT);
        std::fs::write(&file, unit).unwrap();
        let verify = std::process::Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verify.stderr);
        assert!(verify.status.success() && !said.contains(agent::UNIT), "{said}");
    }
}
