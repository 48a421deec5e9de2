//! One SSH connection: login with the pack's key, a pinned host key, commands and whole files.

use crate::algorithms;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use laas_core::names::AccountName;
use laas_core::secret::RandomError;
use laas_core::wait::{Backoff, Deadline, Ended};
use laas_core::{Classify, Kind, Secret};
use sha2::Digest as _;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// How long one address may take to answer before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two rounds over all addresses.
const ROUND: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// The end of the name under which a file is written before it is moved into place; its beginning is a dot.
pub const TEMPORARY: &str = ".laas-new";
/// libssh2 counts milliseconds, so that it may give up this long before the deadline.
const CUT_SHORT: Duration = Duration::from_millis(10);
/// More than any command here prints.
const OUTPUT_LIMIT: u64 = 4 << 20;
/// Of what comes from a channel: that in base64, and what is printed around it.
const READ_LIMIT: usize = 8 << 20;
/// What is quoted of what a shell prints, in characters.
const LONGEST_QUOTE: usize = 200;

/// Who logs in where.
#[derive(Debug, Clone)]
pub struct Login {
    /// Tried in turn: names or addresses.
    pub addresses: Vec<String>,
    pub port: u16,
    pub user: AccountName,
    /// The private key in OpenSSH's format, without a passphrase.
    pub key_file: PathBuf,
}

/// A host's public key in base64, as in a `known_hosts` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// `ssh-ed25519`, …
    pub kind: String,
    pub base64: String,
}

/// Which host keys are accepted.
#[derive(Debug, Clone)]
pub enum HostKeyPolicy {
    /// Exactly this one.
    Pinned(HostKey),
    /// Any: only after a deploy that this pack itself started and saw succeed.
    Any,
}

#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("`{address}` is no address and no name that resolves")]
    Resolve { address: String, source: std::io::Error },
    #[error("can't reach `{address}` port {port}")]
    Connect {
        address: String,
        port: u16,
        source: std::io::Error,
    },
    #[error("`{address}` does not speak SSH in time")]
    Handshake { address: String, source: ssh2::Error },
    #[error("`{address}` and the pack have no algorithm in common: {what}")]
    NoCommonAlgorithm { address: String, what: String },
    #[error("the host key of `{address}` is {found}, not the pinned {pinned}")]
    HostKey {
        address: String,
        found: String,
        pinned: String,
    },
    #[error("`{address}` refuses the key `{key_file}` for `{user}`")]
    Login {
        address: String,
        user: AccountName,
        key_file: PathBuf,
        source: ssh2::Error,
    },
    #[error("`{address}` accepts the key for `{user}` and wants `{methods}`, too")]
    MoreAsked {
        address: String,
        user: AccountName,
        methods: String,
    },
    #[error("`{address}` ends the connection of `{user}` before it is logged in")]
    Ended {
        address: String,
        user: AccountName,
        source: ssh2::Error,
    },
    #[error("can't use the private key `{key_file}`")]
    KeyFile { key_file: PathBuf, source: ssh2::Error },
    #[error("no SSH login in time")]
    Deadline { source: Box<SshError> },
    #[error("cancelled")]
    Cancelled,
    #[error("lost the SSH connection during `{what}`")]
    Lost {
        what: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("`{what}` ended with {how}")]
    Failed { what: String, how: String },
    #[error("`{address}` lets `{user}` in and runs no command, but prints `{said}`")]
    Shell {
        address: String,
        user: AccountName,
        said: String,
    },
}

impl Classify for SshError {
    fn kind(&self) -> Kind {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::Ended { .. }
            | Self::Lost { .. } => Kind::Unreachable,
            Self::HostKey { .. }
            | Self::NoCommonAlgorithm { .. }
            | Self::Login { .. }
            | Self::MoreAsked { .. }
            | Self::Failed { .. }
            | Self::Shell { .. } => Kind::Refused,
            Self::KeyFile { .. } => Kind::Input,
            Self::Deadline { source } => source.kind(),
            Self::Cancelled => Kind::Cancelled,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::HostKey { .. } => Some("deploy the host again, or find out who answers there".to_owned()),
            Self::Login { .. } => {
                Some("is the pack's public key in the image's `authorized_keys`?".to_owned())
            }
            Self::NoCommonAlgorithm { .. } => Some(
                "allow one of the pack's in the SSH server's configuration of the image, or make it the host key it lacks"
                    .to_owned(),
            ),
            Self::Shell { user, .. } => Some(format!(
                "look at the shell of `{user}`, its start-up files and `ForceCommand`: `ssh {user}@… true` must work"
            )),
            Self::Deadline { source } => source.hint(),
            _ => None,
        }
    }
}

/// A login that stands.
pub struct Session {
    session: ssh2::Session,
    /// Who is logged in.
    pub user: AccountName,
    /// The address that answered.
    pub address: String,
    pub host_key: HostKey,
}

/// What a remote command left behind.
#[derive(Debug, Clone)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Login {
    /// Tries all addresses in turn until one lets us in.
    ///
    /// # Errors
    /// The last failure, when the deadline has passed; at once when the execution is cancelled.
    pub fn connect(
        &self,
        policy: &HostKeyPolicy,
        call: Duration,
        deadline: &Deadline,
    ) -> Result<Session, SshError> {
        let mut backoff = Backoff::new(ROUND.0, ROUND.1);
        let mut last: Option<SshError> = None;
        loop {
            let round = match self.connect_once(policy, call, deadline) {
                Ok(session) => return Ok(session),
                Err(error @ SshError::KeyFile { .. }) => return Err(error),
                Err(error) => error,
            };
            // An attempt that the deadline cut short says nothing new.
            let known = match last.take() {
                Some(known) if deadline.left() <= CUT_SHORT => known,
                _ => round,
            };
            match backoff.pause(deadline) {
                Ok(()) => last = Some(known),
                Err(Ended::Cancelled) => return Err(SshError::Cancelled),
                Err(Ended::Deadline) => {
                    return Err(SshError::Deadline {
                        source: Box::new(known),
                    });
                }
            }
        }
    }

    /// Tries each address once.
    ///
    /// # Errors
    /// What the addresses said that says most.
    pub fn connect_once(
        &self,
        policy: &HostKeyPolicy,
        call: Duration,
        deadline: &Deadline,
    ) -> Result<Session, SshError> {
        let mut round: Option<SshError> = None;
        for address in &self.addresses {
            match self.connect_to(address, policy, call, deadline) {
                Ok(session) => return Ok(session),
                Err(error @ SshError::KeyFile { .. }) => return Err(error),
                Err(error) => {
                    tracing::debug!(address, error = %laas_core::failure::chain(&error), "no login");
                    // What refused us says more than an address where nobody is.
                    if round.is_none() || !matches!(error, SshError::Connect { .. }) {
                        round = Some(error);
                    }
                }
            }
        }
        Err(round.unwrap_or_else(|| SshError::Resolve {
            address: String::new(),
            source: std::io::Error::other("no address is known"),
        }))
    }

    /// The keys of whoever answers at any of the addresses now. Nobody is logged in to: it may be a stranger's system.
    pub fn host_keys(&self, call: Duration) -> Vec<HostKey> {
        let deadline = Deadline::after(call);
        std::thread::scope(|scope| {
            let addresses = self.addresses.iter();
            let threads: Vec<_> = addresses
                .map(|address| scope.spawn(move || shake_hands(address, self.port, call, &deadline)))
                .collect();
            let answers = threads.into_iter().filter_map(|thread| thread.join().ok()?.ok());
            answers.map(|(_, key)| key).collect()
        })
    }

    fn connect_to(
        &self,
        address: &str,
        policy: &HostKeyPolicy,
        call: Duration,
        deadline: &Deadline,
    ) -> Result<Session, SshError> {
        let (session, host_key) = shake_hands(address, self.port, call, deadline)?;
        if let HostKeyPolicy::Pinned(pinned) = policy {
            host_key.verify(pinned, address)?;
        }
        session
            .userauth_pubkey_file(self.user.as_str(), None, &self.key_file, None)
            .map_err(|source| self.login_error(&session, address, source))?;
        session.set_timeout(u32::try_from(call.as_millis()).unwrap_or(u32::MAX).max(1));
        Ok(Session {
            session,
            user: self.user.clone(),
            address: address.to_owned(),
            host_key,
        })
    }

    /// libssh2's codes (libssh2.h): -16 the key file, -18 and -19 the server's no; -7, -13 and -43 the connection, which
    /// the server may have ended; the rest is the connection, too.
    fn login_error(&self, session: &ssh2::Session, address: &str, source: ssh2::Error) -> SshError {
        let (address, user, key_file) = (address.to_owned(), self.user.clone(), self.key_file.clone());
        match source.code() {
            ssh2::ErrorCode::Session(-16) => SshError::KeyFile { key_file, source },
            // After a key that was right the server lists what it wants beside it (RFC 4252 §5.1).
            ssh2::ErrorCode::Session(-18 | -19) => match session.auth_methods(user.as_str()) {
                Ok(methods) if !methods.split(',').any(|method| method == "publickey") => {
                    SshError::MoreAsked {
                        address,
                        user,
                        methods: methods.chars().take(LONGEST_QUOTE).collect(),
                    }
                }
                _ => SshError::Login {
                    address,
                    user,
                    key_file,
                    source,
                },
            },
            ssh2::ErrorCode::Session(-7 | -13 | -43) => SshError::Ended {
                address,
                user,
                source,
            },
            _ => SshError::Handshake { address, source },
        }
    }
}

/// A connection that is encrypted, to whoever holds the key.
fn shake_hands(
    address: &str,
    port: u16,
    call: Duration,
    deadline: &Deadline,
) -> Result<(ssh2::Session, HostKey), SshError> {
    let resolve = |source| SshError::Resolve {
        address: address.to_owned(),
        source,
    };
    let socket_address = (address, port)
        .to_socket_addrs()
        .map_err(resolve)?
        .next()
        .ok_or_else(|| resolve(std::io::Error::other("the name has no address")))?;
    let connect = |source| SshError::Connect {
        address: address.to_owned(),
        port,
        source,
    };
    let stream =
        TcpStream::connect_timeout(&socket_address, deadline.cap(CONNECT_TIMEOUT)).map_err(connect)?;
    stream.set_nodelay(true).map_err(connect)?;
    let handshake = |source| SshError::Handshake {
        address: address.to_owned(),
        source,
    };
    let mut session = ssh2::Session::new().map_err(handshake)?;
    let timeout = u32::try_from(deadline.cap(call).as_millis()).unwrap_or(u32::MAX);
    session.set_timeout(timeout.max(1));
    session.set_tcp_stream(stream);
    session.handshake().map_err(|source| {
        match algorithms::mismatch(&session, socket_address, deadline.cap(CONNECT_TIMEOUT)) {
            Some(what) => SshError::NoCommonAlgorithm {
                address: address.to_owned(),
                what,
            },
            None => handshake(source),
        }
    })?;
    let host_key = HostKey::of(&session)
        .ok_or_else(|| handshake(ssh2::Error::new(ssh2::ErrorCode::Session(-5), "no host key")))?;
    Ok((session, host_key))
}

impl HostKey {
    fn of(session: &ssh2::Session) -> Option<Self> {
        let (bytes, _) = session.host_key()?;
        // RFC 4253 §6.6: the blob starts with the length and name of its type.
        let length = usize::try_from(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
        let kind = String::from_utf8(bytes.get(4..4 + length)?.to_vec()).ok()?;
        Some(Self {
            kind,
            base64: STANDARD.encode(bytes),
        })
    }

    fn verify(&self, pinned: &Self, address: &str) -> Result<(), SshError> {
        if self == pinned {
            return Ok(());
        }
        Err(SshError::HostKey {
            address: address.to_owned(),
            found: self.fingerprint(),
            pinned: pinned.fingerprint(),
        })
    }

    /// As `ssh-keygen -l` prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let bytes = STANDARD.decode(&self.base64).unwrap_or_default();
        format!("SHA256:{}", STANDARD_NO_PAD.encode(sha2::Sha256::digest(bytes)))
    }
}

impl Session {
    /// Logs in to the same server as somebody else, with a private key in OpenSSH's format.
    ///
    /// # Errors
    /// As [`Login::connect_once`].
    pub fn login_as(
        &self,
        port: u16,
        user: &AccountName,
        key: &Secret,
        call: Duration,
        deadline: &Deadline,
    ) -> Result<Self, SshError> {
        let address = self.address.clone();
        let (session, host_key) = shake_hands(&address, port, call, deadline)?;
        host_key.verify(&self.host_key, &address)?;
        let login = Login {
            addresses: vec![address.clone()],
            port,
            user: user.clone(),
            key_file: PathBuf::new(),
        };
        session
            .userauth_pubkey_memory(user.as_str(), None, key.expose(), None)
            .map_err(|source| login.login_error(&session, &address, source))?;
        Ok(Self {
            session,
            user: login.user,
            address,
            host_key,
        })
    }

    /// The server's version, if it is OpenSSH: 9.2 is (9, 2).
    pub fn openssh_version(&self) -> Option<(u32, u32)> {
        let (_, version) = self.session.banner()?.split_once("OpenSSH_")?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Runs a command. What it prints is told from what a shell's start-up files print, see [`Frame`].
    ///
    /// # Errors
    /// The connection broke, the account's shell runs no command, a signal killed the command, or it prints without
    /// end. Any exit code is a result.
    pub fn exec(&self, words: &[&str], stdin: &[u8]) -> Result<Output, SshError> {
        let (output, stdout) = self.exec_bytes(words, stdin)?;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        Ok(Output { stdout, ..output })
    }

    /// As [`Session::exec`], with what the command prints as it is instead of in the output: a file may hold anything.
    ///
    /// # Errors
    /// As [`Session::exec`].
    pub fn exec_bytes(&self, words: &[&str], stdin: &[u8]) -> Result<(Output, Vec<u8>), SshError> {
        let what = words.first().copied().unwrap_or_default().to_owned();
        let lost = |source: Box<dyn std::error::Error + Send + Sync>| SshError::Lost {
            what: what.clone(),
            source,
        };
        let failed = |how: String| SshError::Failed {
            what: what.clone(),
            how,
        };
        let frame = Frame::new(words).map_err(|e| failed(e.to_string()))?;
        let mut channel = self.session.channel_session().map_err(|e| lost(e.into()))?;
        channel.exec(&frame.command).map_err(|e| lost(e.into()))?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut read_until =
            |channel: &mut ssh2::Channel, end: &str| read_until(&mut channel.stream(0), &mut stdout, end);
        // A start-up file that reads, too, must not get what the command is to read.
        let begun = read_until(&mut channel, &frame.begin()).map_err(|e| lost(e.into()))?;
        let mut given = Ok(());
        if begun {
            given = channel.write_all(stdin);
        }
        // A command may end without having read anything: its exit code says more than a channel that is closed.
        given = given.and(channel.send_eof().map_err(std::io::Error::from));
        let ended = begun && read_until(&mut channel, &frame.end()).map_err(|e| lost(e.into()))?;
        if stdout.len() > READ_LIMIT {
            return Err(failed(format!("more than {OUTPUT_LIMIT} bytes of output")));
        }
        let closed = channel
            .stderr()
            .take(OUTPUT_LIMIT)
            .read_to_end(&mut stderr)
            .and_then(|_| channel.wait_close().map_err(std::io::Error::from));
        if !ended {
            closed.map_err(|e| lost(e.into()))?;
            // libssh2 reports exit status 0 for a command that a signal killed.
            let signal = channel.exit_signal().map_err(|e| lost(e.into()))?;
            if let Some(name) = signal.exit_signal {
                return Err(failed(format!("signal {name}")));
            }
            if begun {
                return Err(lost("the command was cut off".into()));
            }
            return Err(SshError::Shell {
                address: self.address.clone(),
                user: self.user.clone(),
                said: said(&[stdout, stderr].concat()),
            });
        }
        let (code, stdout) = frame.output(&stdout).map_err(failed)?;
        // How a shell tells that a signal killed a command.
        if (129..=192).contains(&code) {
            return Err(failed(format!("signal {}", code - 128)));
        }
        if code == 0 {
            given.map_err(|e| lost(e.into()))?;
        }
        let output = Output {
            code,
            stdout: String::new(),
            stderr: frame.stderr(&stderr),
        };
        Ok((output, stdout))
    }

    /// Runs a command that must succeed and returns its stdout.
    ///
    /// # Errors
    /// As [`Session::exec`], or a non-zero exit code.
    pub fn run(&self, words: &[&str]) -> Result<String, SshError> {
        self.exec(words, b"")?
            .success(words.first().copied().unwrap_or_default())
    }

    /// A file's content; `None` if there is no such file.
    ///
    /// # Errors
    /// As [`Session::exec`], or the file can't be read.
    pub fn read_file(&self, path: &str) -> Result<Option<String>, SshError> {
        let script = r#"if [ -e "$1" ]; then cat -- "$1"; else exit 44; fi"#;
        let output = self.exec(&["sh", "-c", script, "sh", path], b"")?;
        if output.code == 44 {
            Ok(None)
        } else {
            output.success(&format!("read {path}")).map(Some)
        }
    }

    /// Writes a whole file and moves it into place: at no moment is there half a file. What a killed run leaves behind
    /// is a hidden file ([`TEMPORARY`]), which no system takes for its configuration.
    /// `mode` is octal text, `owner` is `user:group`.
    ///
    /// # Errors
    /// As [`Session::exec`], or the file can't be written.
    pub fn write_file(&self, path: &str, content: &str, mode: &str, owner: &str) -> Result<(), SshError> {
        let script = r#"set -e; umask 077; cat > "$5"; [ "$(wc -c < "$5")" = "$4" ]
chown "$3" "$5"; chmod "$2" "$5"; sync "$5"; mv -f -- "$5" "$1""#;
        let length = content.len().to_string();
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let temporary = format!("{directory}/.{name}{TEMPORARY}");
        let words = ["sh", "-c", script, "sh", path, mode, owner, &length, &temporary];
        self.exec(&words, content.as_bytes())?
            .success(&format!("write {path}"))
            .map(drop)
    }
}

impl Output {
    pub(crate) fn success(self, what: &str) -> Result<String, SshError> {
        if self.code == 0 {
            return Ok(self.stdout);
        }
        let last = self
            .stderr
            .lines()
            .rev()
            .find(|l| !l.trim().is_empty())
            .unwrap_or_default();
        let how = format!(
            "exit status {}: {}",
            self.code,
            last.chars().take(200).collect::<String>()
        );
        Err(SshError::Failed {
            what: what.to_owned(),
            how: how.trim_end_matches(": ").to_owned(),
        })
    }
}

/// A command in a form that every account's shell takes, sh(1) or not, and that shows which of the output is the
/// command's: root's `.bashrc` may print a greeting, set a title, or start something that prints when it likes. After a
/// mark of this call alone the command is given its stdin. What it prints and its exit code come in base64 between two
/// more marks, with their digest.
struct Frame {
    mark: String,
    command: String,
}

impl Frame {
    fn new(words: &[&str]) -> Result<Self, RandomError> {
        let mark = Secret::random(32)?.expose().to_owned();
        let words: Vec<_> = words.iter().map(|w| quote(w)).collect();
        let (words, most) = (words.join(" "), OUTPUT_LIMIT + 64);
        let script = format!(
            r#"m={mark}; echo "$m begin" >&2; echo "$m begin"
o=$({{ {words}
printf '\n%s' "$?"; }} | head -c {most} | base64)
printf '%s\n' "$m output" "$o" "$(printf %s "$o" | sha256sum) $m end""#
        );
        // Nothing in the line is special to any shell: csh takes no line break in quotes, and `!` has a meaning there.
        let script = STANDARD.encode(script);
        Ok(Self {
            mark,
            command: format!(r#"exec /bin/sh -c 'eval "$(printf %s {script}|base64 -d)"'"#),
        })
    }

    fn begin(&self) -> String {
        format!("{} begin\n", self.mark)
    }

    fn end(&self) -> String {
        format!(" {} end\n", self.mark)
    }

    /// The exit code and the output, or what is wrong with them.
    fn output(&self, stdout: &[u8]) -> Result<(i32, Vec<u8>), String> {
        let own = after(stdout, &format!("{} output\n", self.mark));
        let own = own.and_then(|own| std::str::from_utf8(own).ok());
        let sent = own.and_then(|own| own.split_once(&self.end())?.0.rsplit_once('\n'));
        let whole = sent.and_then(|(encoded, digest)| {
            let bytes = sha2::Sha256::digest(encoded);
            let own: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let encoded: String = encoded.lines().collect();
            (digest.split(' ').next()? == own).then(|| STANDARD.decode(encoded).ok())?
        });
        let mut output = whole.ok_or("output that something else on the host prints into")?;
        if output.len() as u64 > OUTPUT_LIMIT {
            return Err(format!("more than {OUTPUT_LIMIT} bytes of output"));
        }
        let end = output.iter().rposition(|c| *c == b'\n').unwrap_or_default();
        let code = std::str::from_utf8(&output[end..]).ok();
        let code = code.and_then(|code| code.trim().parse().ok());
        output.truncate(end);
        Ok((code.ok_or("no exit code")?, output))
    }

    fn stderr(&self, stderr: &[u8]) -> String {
        String::from_utf8_lossy(after(stderr, &self.begin()).unwrap_or(stderr)).into_owned()
    }
}

/// What follows `needle`, if it is there.
fn after<'a>(text: &'a [u8], needle: &str) -> Option<&'a [u8]> {
    let at = text.windows(needle.len()).position(|w| w == needle.as_bytes())?;
    Some(&text[at + needle.len()..])
}

/// Reads on until `needle` is in `text`. Whether it is; not if there is no more, or more than [`READ_LIMIT`].
fn read_until(stream: &mut impl Read, text: &mut Vec<u8>, needle: &str) -> std::io::Result<bool> {
    let (mut searched, mut chunk) = (0, vec![0; 64 << 10]);
    loop {
        if after(&text[searched..], needle).is_some() {
            return Ok(true);
        }
        searched = text.len().saturating_sub(needle.len());
        let length = stream.read(&mut chunk)?;
        if length == 0 || text.len() > READ_LIMIT {
            return Ok(false);
        }
        text.extend_from_slice(&chunk[..length]);
    }
}

/// What a shell printed last, for people.
fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines = text.lines().map(|line| line.replace(char::is_control, " "));
    let last = lines
        .map(|line| line.trim().to_owned())
        .rfind(|line| !line.is_empty());
    last.unwrap_or_default().chars().take(LONGEST_QUOTE).collect()
}

/// Quotes a word for a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_commands_line_has_nothing_that_a_shell_takes_otherwise() {
        let hostile = "a'b !! $x `y` \"c\"\n#;\\";
        let frame = super::Frame::new(&["printf", "%s", hostile]).unwrap();
        assert!(!frame.command.contains(['!', '\n', '\\']), "{}", frame.command);
        assert_eq!(frame.command.matches('\'').count(), 2);
    }

    #[test]
    fn what_others_print_is_no_output() {
        let frame = super::Frame::new(&["cat"]).unwrap();
        let output = std::process::Command::new("bash")
            .args(["-c", &format!("printf 'title> '; {}", frame.command)])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let printed = output.stdout;
        assert_eq!(frame.output(&printed), Ok((0, vec![])));
        let text = String::from_utf8(printed).unwrap();
        let between = text.replace(" begin\n", " begin\nlate\n") + "later";
        assert_eq!(frame.output(between.as_bytes()), Ok((0, vec![])));
        let inside = text.replace(" output\n", " output\nlate\n");
        assert!(frame.output(inside.as_bytes()).is_err());
    }

    #[test]
    fn a_word_stays_a_word() {
        for word in ["", "a b", "$(reboot)", "'; rm -rf /; '", "a\nb", "`x`", "\\"] {
            let quoted = super::quote(word);
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {quoted}")])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
