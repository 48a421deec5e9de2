//! OpenSSH's own client, for the one question that libssh2 can't ask.

use crate::ssh::{HostKey, Session};
use laas_core::Kind;
use laas_core::names::AccountName;
use laas_core::scratch::Scratch;
use laas_core::wait::Deadline;

/// Why OpenSSH's server ends a connection (auth.c), after the number of the reason (RFC 4253 §11.1).
const TOO_MANY_FAILURES: &str = ":2: Too many authentication failures";

/// Whether the server would let the holder of `public_key` in: OpenSSH's client offers the public half only, and the
/// server says whether it would accept a signature (RFC 4252 §7). Nobody's private key is needed.
///
/// # Errors
/// `ssh` can't be run in time or the host can't be reached.
pub fn accepts_key(
    session: &Session,
    port: u16,
    account: &AccountName,
    public_key: &str,
    deadline: &Deadline,
) -> Result<bool, laas_core::Failure> {
    let unwritable = |e| laas_core::Failure::input(format!("can't write files for `ssh`: {e}"));
    let dir = Scratch::new().map_err(unwritable)?;
    let known_hosts = dir
        .write("known_hosts", &known_hosts_line(session, port))
        .map_err(unwritable)?;
    let identity = dir
        .write("key.pub", &format!("{public_key}\n"))
        .map_err(unwritable)?;
    let option = |name: &str, value: &str| ["-o".to_owned(), format!("{name}={value}")];
    let mut args: Vec<String> = ["-v", "-F", "none", "-p"].map(str::to_owned).to_vec();
    args.push(port.to_string());
    args.extend(option("BatchMode", "yes"));
    args.extend(option("IdentitiesOnly", "yes"));
    args.extend(option("IdentityAgent", "none"));
    args.extend(option("IdentityFile", &identity.to_string_lossy()));
    args.extend(option("PreferredAuthentications", "publickey"));
    args.extend(option("UserKnownHostsFile", &known_hosts.to_string_lossy()));
    args.extend(option("GlobalKnownHostsFile", "/dev/null"));
    args.extend(option("StrictHostKeyChecking", "yes"));
    args.extend(option("ConnectTimeout", "5"));
    args.push(format!("{account}@{}", session.address));
    args.push("true".to_owned());
    let output = laas_core::child::Tool::new("ssh").args(args).run(deadline)?;
    if let Some(accepted) = answer_to_offer(&output.stderr) {
        return Ok(accepted);
    }
    let last = output
        .stderr
        .lines()
        .rev()
        .find(|l| !l.starts_with("debug"))
        .unwrap_or_default();
    Err(laas_core::Failure::new(
        Kind::Unreachable,
        format!("can't try the key at `{}`: {last}", session.address),
    ))
}

/// What `ssh -v` says the server answered to the offer of a key; `None` if it came to no answer. The server also lists
/// the ways to go on before any key is offered, in answer to the client's first request (RFC 4252 §5.2).
fn answer_to_offer(log: &str) -> Option<bool> {
    let mut offered = false;
    for line in log.lines() {
        match line.strip_prefix("debug1: ") {
            Some(line) if line.starts_with("Offering public key:") => offered = true,
            Some(line) if offered && line.starts_with("Server accepts key:") => return Some(true),
            Some(line) if offered && line.starts_with("Authentications that can continue:") => {
                return Some(false);
            }
            // The first key that it refuses is the last, with `MaxAuthTries 1`.
            None if offered
                && line.starts_with("Received disconnect from ")
                && line.ends_with(TOO_MANY_FAILURES) =>
            {
                return Some(false);
            }
            _ => {}
        }
    }
    None
}

fn known_hosts_line(session: &Session, port: u16) -> String {
    let HostKey { kind, base64 } = &session.host_key;
    match port {
        22 => format!("{} {kind} {base64}\n", session.address),
        _ => format!("[{}]:{port} {kind} {base64}\n", session.address),
    }
}

#[cfg(test)]
mod tests {
    /// From OpenSSH 9.2 up to where the key is offered.
    const BEFORE: &str = "\
OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.20 7 Apr 2026
debug1: Connecting to 127.0.0.9 [127.0.0.9] port 20229.
debug1: Connection established.
debug1: Authenticating to 127.0.0.9:20229 as 'opnfv'
debug1: Host '[127.0.0.9]:20229' is known and matches the ED25519 host key.
debug1: SSH2_MSG_NEWKEYS received
debug1: Will attempt key: /tmp/key.pub ED25519 SHA256:/eZoUJFqS2D+Gr/yvPeTPdCJryE7hOqF0+xjDcn7DUM explicit
debug1: SSH2_MSG_SERVICE_ACCEPT received
debug1: Authentications that can continue: publickey,keyboard-interactive
debug1: Next authentication method: publickey
";
    const OFFER: &str = "debug1: Offering public key: /tmp/key.pub ED25519 SHA256:/eZoUJFqS2D+Gr/yvPeTPdCJryE7hOqF0+xjDcn7DUM explicit\n";

    #[test]
    fn only_an_answer_to_the_offer_counts() {
        for (after, expected) in [
            (
                "debug1: Server accepts key: /tmp/key.pub ED25519 SHA256:/eZoUJFqS2D+Gr/yvPeTPdCJryE7hOqF0+xjDcn7DUM explicit\n\
                 Load key \"/tmp/key.pub\": error in libcrypto\n\
                 debug1: Authentications that can continue: publickey,keyboard-interactive\n",
                Some(true),
            ),
            (
                "debug1: Authentications that can continue: publickey,keyboard-interactive\n\
                 debug1: No more authentication methods to try.\n\
                 opnfv@127.0.0.9: Permission denied (publickey,keyboard-interactive).\n",
                Some(false),
            ),
            (
                "Received disconnect from 127.0.0.9 port 20229:2: Too many authentication failures\n\
                 Disconnected from 127.0.0.9 port 20229\n",
                Some(false),
            ),
            (
                "Received disconnect from 127.0.0.9 port 20229:11: Bye Bye\n",
                None,
            ),
            ("Connection closed by 127.0.0.9 port 20229\n", None),
            ("a banner: debug1: Server accepts key: yes\n", None),
            ("", None),
        ] {
            let log = format!("{BEFORE}{OFFER}{after}");
            assert_eq!(super::answer_to_offer(&log), expected, "{after}");
        }
        let cut = format!("{BEFORE}Connection reset by 127.0.0.9 port 20229\n");
        assert_eq!(super::answer_to_offer(&cut), None);
    }
}
