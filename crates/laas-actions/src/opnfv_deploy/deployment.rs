//! A deployment on its host: the files, the job, and what it left.

use super::Order;
use crate::software::Scripts;
use crate::software::descriptor::Document;
use crate::software::installer::Descriptor;
use laas_core::{Classify, Failure, Kind};
use laas_host::job::{Begun, Job, JobError, Look};
use laas_host::system::Os;
use laas_host::{Session, SshError};

/// Where the job and what it leaves behind are.
pub const DIRECTORY: &str = "/var/lib/laas-software";
const JOB: Job<'_> = Job {
    directory: DIRECTORY,
    unit: "laas-software",
    script: include_str!("job.sh"),
};
/// So much of a log is kept outside of the host, in bytes from its end.
const KEPT: &str = "3000000";

/// What is to be done on a host.
pub struct Deployment {
    /// One line, the same for the same work: by it a second run knows the first one's.
    pub identity: String,
    pub order: Order,
    pub documents: Vec<(Descriptor, Document)>,
}

/// How a deployment ended.
#[derive(Debug)]
pub struct Ended {
    /// 0 if everything went well.
    pub status: u32,
    pub phase: String,
    /// An earlier run has told of it.
    pub told: bool,
    pub found: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    #[error("can't talk to the host")]
    Ssh(#[from] SshError),
    #[error("can't install")]
    Job(#[from] JobError),
    #[error("the installation left no readable status: `{status}`")]
    Status { status: String },
}

impl Classify for DeploymentError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ssh(source) => source.kind(),
            Self::Job(source) => source.kind(),
            Self::Status { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh(source) => source.hint(),
            Self::Job(source) => source.hint(),
            Self::Status { .. } => Some(format!("look into `{DIRECTORY}` on the host")),
        }
    }
}

/// How far it is, and at what.
///
/// # Errors
/// The connection broke.
pub fn look(session: &Session) -> Result<(Look, String), DeploymentError> {
    let look = JOB.look(session)?;
    let phase = read(session, "phase")?.trim().to_owned();
    Ok((look, phase))
}

/// Ends it with all that it has started. Whether there was anything to end.
///
/// # Errors
/// The connection broke, or something does not end.
pub fn stop(session: &Session) -> Result<bool, DeploymentError> {
    Ok(JOB.stop(session)?)
}

/// # Errors
/// The connection broke, or the status can't be read.
pub fn ended(session: &Session) -> Result<Ended, DeploymentError> {
    let text = read(session, "status")?;
    let (status, phase) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let status = status.parse().map_err(|_| DeploymentError::Status {
        status: text.escape_debug().take(200).collect(),
    })?;
    Ok(Ended {
        status,
        phase: phase.to_owned(),
        told: session.read_file(&format!("{DIRECTORY}/told"))?.is_some(),
        found: laas_host::job::last_lines(&read(session, "found")?),
    })
}

/// The end of the log.
///
/// # Errors
/// The connection broke.
pub fn log(session: &Session) -> Result<Vec<u8>, DeploymentError> {
    let words = ["tail", "-c", KEPT, &format!("{DIRECTORY}/log")];
    Ok(session.exec_bytes(&words, b"")?.1)
}

/// How often the job was begun again after a reboot, this time included.
///
/// # Errors
/// The connection broke.
pub fn count_restart(session: &Session) -> Result<u32, DeploymentError> {
    let script = r#"echo x >>"$1/restarts" && wc -l <"$1/restarts""#;
    let count = session.run(&["sh", "-c", script, "sh", DIRECTORY])?;
    Ok(count.trim().parse().unwrap_or(u32::MAX))
}

impl Deployment {
    /// # Errors
    /// The installer does not run on the host's system, or the connection broke.
    pub fn check_system(&self, session: &Session) -> Result<Result<(), Failure>, DeploymentError> {
        let os = Os::read(session)?;
        Ok(self.order.installer().check_system(&os.id, &os.version))
    }

    /// Puts everything in its place and begins the job. `scripts` are this deployment's own.
    ///
    /// # Errors
    /// The connection broke, or the host can't start the job.
    pub fn begin(&self, session: &Session, scripts: &Scripts, again: bool) -> Result<Begun, DeploymentError> {
        let path = |name: &str| format!("{DIRECTORY}/{name}");
        session.run(&["install", "-d", "-m", "0700", DIRECTORY])?;
        let old = ["status", "told", "found", "phase", "stopped"].map(path);
        let mut words = vec!["rm", "-f", "--"];
        words.extend(old.iter().map(String::as_str));
        let restarts = path("restarts");
        if !again {
            words.push(&restarts);
        }
        session.run(&words)?;
        for (name, text) in [
            ("clean.sh", &scripts.clean),
            ("deploy.sh", &scripts.deploy),
            ("verify.sh", &scripts.verify),
        ] {
            session.write_file(&path(name), text, "0700", "root:root")?;
        }
        let installer = self.order.installer();
        let files = [
            (Descriptor::Pdf, &installer.files.pdf),
            (Descriptor::Idf, &installer.files.idf),
        ];
        for (kind, file) in files {
            let Some(file) = file else { continue };
            let file = path(file);
            let document = self.documents.iter().find(|(own, _)| *own == kind);
            match document.filter(|(_, document)| document.usable) {
                // It holds the BMCs' passwords.
                Some((_, document)) => {
                    let directory = file
                        .rsplit_once('/')
                        .map_or(DIRECTORY, |(directory, _)| directory);
                    session.run(&["install", "-d", "-m", "0700", directory])?;
                    session.write_file(&file, &document.text, "0600", "root:root")?;
                }
                None => {
                    session.run(&["rm", "-f", "--", &file])?;
                }
            }
        }
        let timeout = installer.timeout.to_string();
        let arguments = [
            timeout.as_str(),
            self.order.source.as_str(),
            &self.order.version.reference,
            installer.success.as_deref().unwrap_or_default(),
        ];
        Ok(JOB.begin(session, &self.identity, &arguments)?)
    }

    /// Takes note that the end has been told of. What it left stays for its user and the operator, but for the
    /// descriptor files: their passwords must not get into an image of the host.
    ///
    /// # Errors
    /// The connection broke.
    pub fn tell(&self, session: &Session) -> Result<(), DeploymentError> {
        let files = &self.order.installer().files;
        for file in [&files.pdf, &files.idf].into_iter().flatten() {
            session.run(&["rm", "-f", "--", &format!("{DIRECTORY}/{file}")])?;
        }
        session.run(&["touch", &format!("{DIRECTORY}/told")])?;
        Ok(())
    }
}

fn read(session: &Session, name: &str) -> Result<String, SshError> {
    let content = session.read_file(&format!("{DIRECTORY}/{name}"))?;
    Ok(content.unwrap_or_default())
}
