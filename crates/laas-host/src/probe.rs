//! A login tried: a key pair of our own stands for a moment beside the users' keys and opens a real session.

use crate::ssh::{Session, SshError};
use laas_core::names::AccountName;
use laas_core::scratch::Scratch;
use laas_core::ssh_key::PublicKey;
use laas_core::wait::{Backoff, Deadline};
use laas_core::{Failure, Kind, Secret};
use std::time::Duration;

/// The comment of its line in `authorized_keys`.
pub const COMMENT: &str = "laas-login-trial";
/// A server that ends a connection this often after the key does not do so by accident.
const MAX_ATTEMPTS: usize = 3;
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// A key pair that this process alone has, for as long as it lives.
pub struct Probe {
    private: Secret,
    public: PublicKey,
}

/// How a trial ended.
pub enum Trial {
    /// A command ran in a session.
    Works,
    /// No session, and why.
    Refused { error: String, hint: String },
}

impl Probe {
    /// # Errors
    /// `ssh-keygen` can't be run in time.
    pub fn new(deadline: &Deadline) -> Result<Self, Failure> {
        let unreadable = |e| Failure::input(format!("can't use files for `ssh-keygen`: {e}"));
        let dir = Scratch::new().map_err(unreadable)?;
        let path = dir.path().join("key");
        let mut args = ["-q", "-t", "ed25519", "-N", "", "-C", COMMENT, "-f"]
            .map(str::to_owned)
            .to_vec();
        args.push(path.to_string_lossy().into_owned());
        let output = laas_core::child::Tool::new("ssh-keygen")
            .args(args)
            .run(deadline)?;
        let private = std::fs::read_to_string(&path).map_err(|_| {
            let last = output.stderr.lines().next_back().unwrap_or_default();
            Failure::input(format!("`ssh-keygen` makes no key: {last}"))
        })?;
        let public = std::fs::read_to_string(path.with_extension("pub")).map_err(unreadable)?;
        Ok(Self {
            private: Secret::new(private),
            public: public.parse()?,
        })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Its line for `authorized_keys`: as narrow as the server's version understands, and without an end that anybody
    /// has to bring about. Its day is the host's own.
    ///
    /// # Errors
    /// The connection broke.
    pub fn line(&self, session: &Session) -> Result<String, SshError> {
        let version = session.openssh_version().unwrap_or_default();
        let mut options = Vec::new();
        if version >= (7, 2) {
            options.push("restrict".to_owned());
        }
        if version >= (7, 7) {
            let day = session.exec(&["date", "-d", "2 days", "+%Y%m%d"], b"")?.stdout;
            let day = day.trim();
            if day.len() == 8 && day.chars().all(|c| c.is_ascii_digit()) {
                options.push(format!("expiry-time=\"{day}\""));
            }
        }
        let key = format!("{} {COMMENT}", self.public.line());
        Ok(match options.as_slice() {
            [] => key,
            options => format!("{} {key}", options.join(",")),
        })
    }

    /// Logs in as `account` on the host of `session` and runs a command.
    ///
    /// # Errors
    /// The host can't be reached in time.
    pub fn try_login(
        &self,
        session: &Session,
        port: u16,
        account: &AccountName,
        call: Duration,
        deadline: &Deadline,
    ) -> Result<Trial, Failure> {
        let mut pause = Backoff::new(PAUSE.0, PAUSE.1);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let login = session.login_as(port, account, &self.private, call, deadline);
            let (error, hint) = match login.and_then(|own| own.run(&["true"]).map(drop)) {
                Ok(()) => return Ok(Trial::Works),
                Err(error @ SshError::Shell { .. }) => (
                    laas_core::failure::chain(&error),
                    format!(
                        "nobody can work there: the shell of `{account}` is none (`nologin`), or the server's \
                         `ForceCommand` runs something else"
                    ),
                ),
                Err(SshError::MoreAsked { methods, .. }) => (
                    format!(
                        "`{}` takes the key of `{account}` and then wants more: `{methods}`",
                        session.address
                    ),
                    "a key alone opens nothing there: look at `AuthenticationMethods` in the SSH server's configuration"
                        .to_owned(),
                ),
                Err(SshError::Login { .. }) => (
                    format!("`{}` refuses every key for `{account}`", session.address),
                    format!(
                        "look at `AllowUsers`, `AuthorizedKeysFile` and `PubkeyAuthentication` in the SSH server's \
                         configuration, and at whether the account `{account}` is locked or has expired"
                    ),
                ),
                Err(SshError::Ended { .. }) if attempts >= MAX_ATTEMPTS => (
                    format!(
                        "`{}` takes the key of `{account}` and ends the connection",
                        session.address
                    ),
                    format!(
                        "is the account `{account}` locked or expired, or is there `/etc/nologin`? The SSH server's log \
                         says more"
                    ),
                ),
                Err(SshError::Ended { .. }) => {
                    pause.pause(deadline).map_err(|_| {
                        Failure::new(
                            Kind::Unreachable,
                            format!("`{}` ended the connection too often", session.address),
                        )
                    })?;
                    continue;
                }
                Err(other) => return Err(other.into()),
            };
            return Ok(Trial::Refused { error, hint });
        }
    }
}
