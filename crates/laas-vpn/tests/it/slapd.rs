//! A slapd of one's own, with a certificate of an authority of one's own.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const ADMIN: &str = "cn=admin,o=opnfv,dc=example,dc=org";
pub const PASSWORD: &str = "admin-pw";
pub const PEOPLE: &str = "ou=People,o=opnfv,dc=example,dc=org";

/// Ends when dropped.
pub struct Slapd {
    child: Child,
    dir: TempDir,
    ldap: u16,
    ldaps: u16,
}

impl Slapd {
    pub fn start() -> Self {
        Self::start_with(
            "TLSCertificateFile @ROOT@/server.crt\nTLSCertificateKeyFile @ROOT@/server.key\nTLSVerifyClient never",
        )
    }

    /// One that takes no writes.
    pub fn read_only() -> Self {
        Self::start_with(
            "readonly on\nTLSCertificateFile @ROOT@/server.crt\nTLSCertificateKeyFile @ROOT@/server.key\nTLSVerifyClient never",
        )
    }

    /// One that nobody gave a certificate.
    pub fn without_tls() -> Self {
        Self::start_with("")
    }

    fn start_with(tls: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let config = include_str!("slapd.conf.in")
            .replace("@TLS@", tls)
            .replace("@ROOT@", root);
        std::fs::write(dir.path().join("slapd.conf"), config).unwrap();
        std::fs::write(dir.path().join("base.ldif"), include_str!("base.ldif")).unwrap();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        make_certificate(&dir);
        let script = "slapadd -q -f slapd.conf -l base.ldif";
        run(Command::new("sh")
            .args(["-c", script])
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .current_dir(&dir));
        let ends = Instant::now() + Duration::from_secs(60);
        while Instant::now() < ends {
            let [ldap, ldaps] = [free_port(), free_port()];
            // The certificate is of the first address only.
            let mut listen = format!("ldap://127.0.0.1:{ldap}/ ldap://127.0.0.2:{ldap}/");
            if !tls.is_empty() {
                listen += &format!(" ldaps://127.0.0.1:{ldaps}/ ldaps://127.0.0.2:{ldaps}/");
            }
            let mut child = Command::new("/usr/sbin/slapd")
                .args(["-d", "0", "-f", "slapd.conf", "-h", &listen])
                .current_dir(&dir)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // It ends at once if somebody else has taken a port meanwhile.
            while child.try_wait().unwrap().is_none() && Instant::now() < ends {
                if TcpStream::connect(("127.0.0.1", ldap)).is_ok() {
                    return Self {
                        child,
                        dir,
                        ldap,
                        ldaps,
                    };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("slapd does not start");
    }

    pub fn ldap(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.ldap)
    }

    pub fn ldaps(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.ldaps)
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Adds an entry below the people that says that another server has it.
    pub fn refer(&self) {
        let ldif = self.dir.path().join("referral.ldif");
        let entry = format!(
            "dn: ou=Elsewhere,{PEOPLE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: Elsewhere\n\
             ref: ldap://192.0.2.1/ou=Elsewhere,{PEOPLE}\n"
        );
        std::fs::write(&ldif, entry).unwrap();
        let to = self.ldap();
        run(Command::new("ldapadd")
            .args(["-M", "-x", "-H", &to, "-D", ADMIN, "-w", PASSWORD, "-f"])
            .arg(&ldif));
    }

    /// An entry as the administrator sees it, `""` if there is none.
    pub fn entry(&self, uid: &str) -> String {
        let dn = format!("uid={uid},{PEOPLE}");
        let output = Command::new("ldapsearch")
            .args([
                "-LLL",
                "-o",
                "ldif-wrap=no",
                "-x",
                "-H",
                &self.ldap(),
                "-D",
                ADMIN,
                "-w",
                PASSWORD,
            ])
            .args(["-b", &dn, "-s", "base"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn make_certificate(dir: &TempDir) {
    let script = "set -e
        key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $key -days 30 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.crt
        openssl req $key -subj /CN=localhost -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > extensions
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile extensions -out server.crt";
    run(Command::new("sh").args(["-c", script]).current_dir(dir));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
