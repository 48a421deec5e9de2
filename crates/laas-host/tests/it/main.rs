//! Against a real sshd on loopback, started by hand.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
use laas_core::names::AccountName;
use laas_core::wait::Deadline;
use laas_core::{Classify, Kind};
use laas_host::{HostKeyPolicy, Login, Session, SshError};
use std::process::{Child, Command};
use std::time::Duration;

const CALL: Duration = Duration::from_secs(10);

/// sshd on 127.0.0.2 with a client key that may log in as the user who runs the test.
struct Sshd {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Sshd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        for key in ["host", "id", "stranger"] {
            let path = root.join(key);
            let args = ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"];
            assert!(
                Command::new("ssh-keygen")
                    .args(args)
                    .arg(path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        std::fs::copy(root.join("id.pub"), root.join("authorized_keys")).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.2:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let root = root.display();
        let config = format!(
            "ListenAddress 127.0.0.2\nPort {port}\nPidFile none\nHostKey {root}/host\nStrictModes no\nUsePAM no\n\
             AuthorizedKeysFile {root}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        let path = dir.path().join("sshd_config");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path)
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, dir, port }
    }

    fn login(&self, key: &str) -> Login {
        Login {
            addresses: vec!["127.0.0.3".to_owned(), "127.0.0.2".to_owned()],
            port: self.port,
            user: user(),
            key_file: self.dir.path().join(key),
        }
    }

    fn session(&self) -> Session {
        self.login("id")
            .connect(&HostKeyPolicy::Any, CALL, &Deadline::seconds(20))
            .unwrap()
    }

    fn public(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.dir.path().join(format!("{key}.pub"))).unwrap();
        text.parse::<laas_core::ssh_key::PublicKey>().unwrap().line()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn user() -> AccountName {
    let name = Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(name).unwrap().trim().parse().unwrap()
}

fn error_of(result: Result<Session, SshError>) -> SshError {
    match result {
        Ok(_) => panic!("a login that should have failed"),
        Err(error) => error,
    }
}

#[test]
fn commands_and_files() {
    let sshd = Sshd::start();
    let session = sshd.session();
    assert_eq!(session.address, "127.0.0.2");
    let hostile = "a'b $(touch /nowhere) \"c\"\n;d";
    assert_eq!(session.run(&["printf", "%s", hostile]).unwrap(), hostile);
    let output = session
        .exec(&["sh", "-c", "cat; echo e >&2; exit 7"], b"in")
        .unwrap();
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (7, "in", "e\n")
    );
    let killed = session.exec(&["sh", "-c", "kill -9 $$"], b"").unwrap_err();
    assert!(matches!(killed, SshError::Failed { .. }), "{killed}");

    let path = sshd.dir.path().join("file").display().to_string();
    let owner = format!("{}:{}", user(), user());
    assert_eq!(session.read_file(&path).unwrap(), None);
    session.write_file(&path, "one\n", "0640", &owner).unwrap();
    session.write_file(&path, "two\n", "0600", &owner).unwrap();
    assert_eq!(session.read_file(&path).unwrap().as_deref(), Some("two\n"));
    assert!(!sshd.dir.path().join(".file.laas-new").exists());
    let refused = session
        .write_file("/proc/nowhere", "x", "0600", &owner)
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused);
}

#[test]
fn who_may_log_in() {
    let sshd = Sshd::start();
    let session = sshd.session();
    let soon = || Deadline::seconds(8);

    let pinned = HostKeyPolicy::Pinned(session.host_key.clone());
    assert!(
        sshd.login("id")
            .connect(&pinned, CALL, &Deadline::seconds(20))
            .is_ok()
    );
    let stranger = error_of(sshd.login("stranger").connect(&pinned, CALL, &soon()));
    assert_eq!(stranger.kind(), Kind::Refused, "{stranger}");
    let missing = error_of(sshd.login("nothing").connect(&pinned, CALL, &soon()));
    assert_eq!(missing.kind(), Kind::Input, "{missing}");

    let mut other = session.host_key.clone();
    other.base64 = other.base64.replace('A', "B");
    let mismatch = error_of(
        sshd.login("id")
            .connect(&HostKeyPolicy::Pinned(other), CALL, &soon()),
    );
    let SshError::Deadline { source } = mismatch else {
        panic!("{mismatch}")
    };
    assert!(matches!(*source, SshError::HostKey { .. }), "{source}");

    let deadline = Deadline::seconds(30);
    let accepts =
        |key| laas_host::openssh::accepts_key(&session, sshd.port, &user(), &sshd.public(key), &deadline);
    assert!(accepts("id").unwrap());
    assert!(!accepts("stranger").unwrap());
}

#[test]
fn a_host_that_is_not_there() {
    let login = Login {
        addresses: vec!["127.0.0.4".to_owned()],
        port: 9,
        user: user(),
        key_file: "/nowhere".into(),
    };
    let error = error_of(login.connect(
        &HostKeyPolicy::Any,
        CALL,
        &Deadline::after(Duration::from_millis(50)),
    ));
    assert_eq!(error.kind(), Kind::Unreachable);
    // A server that accepts and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.4:0").unwrap();
    let login = Login {
        port: listener.local_addr().unwrap().port(),
        ..login
    };
    let error = error_of(login.connect(
        &HostKeyPolicy::Any,
        CALL,
        &Deadline::after(Duration::from_millis(300)),
    ));
    assert_eq!(error.kind(), Kind::Unreachable);
}
