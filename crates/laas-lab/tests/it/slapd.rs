//! The real slapd, by the real command line tools.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::slapd::{ADMIN, PEOPLE, Slapd};

const PASSWORD: &str = "admin-password";

struct Stand {
    slapd: Slapd,
    faults: Faults,
    directory: tempfile::TempDir,
}

impl Stand {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let faults = Faults::default();
        let slapd = Slapd::start(directory.path(), PASSWORD, faults.clone())
            .await
            .expect("slapd");
        Self {
            slapd,
            faults,
            directory,
        }
    }

    /// Runs a tool as the administrator; `secure` is the option for StartTLS.
    fn tool(&self, tool: &str, url: &str, ca: &Path, secure: &[&str], stdin: &str) -> Output {
        let password = self.directory.path().join("password");
        std::fs::write(&password, PASSWORD).expect("written");
        // The tools wait for ever for a server that hangs.
        let mut child = Command::new("timeout")
            .args(["--signal=KILL", "2", tool])
            .env("LDAPTLS_CACERT", ca)
            .args(["-x", "-H", url, "-D", ADMIN, "-y"])
            .arg(password)
            .args(secure)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect(tool);
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(stdin.as_bytes())
            .expect("sent");
        child.wait_with_output().expect("its end")
    }

    fn binds(&self) -> bool {
        let ca = self.slapd.ca_file();
        self.tool("ldapwhoami", &self.slapd.ldaps_url(), &ca, &[], "")
            .status
            .success()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_added_and_bind_over_verified_tls_only() {
    let stand = Stand::new().await;
    let ca = stand.slapd.ca_file();
    let no_ca = Path::new("/dev/null");
    let (ldap, ldaps) = (stand.slapd.ldap_url(), stand.slapd.ldaps_url());
    for (url, ca, secure, accepted) in [
        (&ldaps, ca.as_path(), &[][..], true),
        (&ldap, &ca, &["-ZZ"], true),
        (&ldap, &ca, &[], false),
        (&ldaps, no_ca, &[], false),
        (&ldap, no_ca, &["-ZZ"], false),
    ] {
        let output = stand.tool("ldapwhoami", url, ca, secure, "");
        assert_eq!(
            output.status.success(),
            accepted,
            "{url} {ca:?} {secure:?} {output:?}"
        );
    }

    assert!(!stand.slapd.bind("alice", "a secret").await.expect("the tool"));
    let entry = format!(
        "dn: uid=alice,{PEOPLE}\nobjectClass: inetOrgPerson\nuid: alice\ncn: Alice\nsn: A\n\
         userPassword: a secret\n"
    );
    let added = stand.tool("ldapadd", &ldaps, &ca, &[], &entry);
    assert!(added.status.success(), "{added:?}");
    for (password, accepted) in [("a secret", true), ("another", false), ("", false)] {
        let bound = stand.slapd.bind("alice", password).await.expect("the tool");
        assert_eq!(bound, accepted, "{password:?}");
    }
    let people = stand.slapd.people().await.expect("the search");
    assert!(
        people.contains("uid: alice") && !people.contains("a secret"),
        "{people}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_come_and_go() {
    let stand = Stand::new().await;
    for kind in [Kind::Refuse, Kind::Hang, Kind::WrongCredentials] {
        stand
            .faults
            .set(
                Peer::Ldap,
                Fault {
                    kind,
                    skip: 1,
                    times: Some(1),
                },
            )
            .expect("slapd can");
        assert!(stand.binds(), "{kind:?} lets the first one pass");
        assert!(!stand.binds(), "{kind:?}");
        assert!(stand.binds(), "{kind:?} is over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_handle_and_keeps_its_entries() {
    let Stand {
        slapd,
        faults,
        directory,
    } = Stand::new().await;
    let file = directory.path().join("slapd.pid");
    let process = |pid: &str| Path::new("/proc").join(pid.trim()).exists();
    let pid = std::fs::read_to_string(&file).expect("a process id");
    let ca = std::fs::read(slapd.ca_file()).expect("a certificate");
    assert!(process(&pid));
    drop(slapd);
    assert!(!process(&pid), "slapd outlived its handle");
    let again = Slapd::start(directory.path(), PASSWORD, faults)
        .await
        .expect("slapd");
    assert_eq!(std::fs::read(again.ca_file()).expect("a certificate"), ca);
}
