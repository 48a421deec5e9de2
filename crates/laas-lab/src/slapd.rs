//! The real slapd as a child on loopback, with TLS by a certificate authority
//! of its own.
//!
//! Clients reach it through the lab's own ports, where faults are met.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

use crate::faults::{Faults, Kind, Peer};
use crate::http::reset;
use crate::loopback::free_address;
use crate::machine::children::{Owned, spawn};

/// Where the directory's entries begin.
pub const SUFFIX: &str = "o=opnfv,dc=example,dc=org";
/// The administrator, who may do everything.
pub const ADMIN: &str = "cn=admin,o=opnfv,dc=example,dc=org";
/// Where the people are.
pub const PEOPLE: &str = "ou=People,o=opnfv,dc=example,dc=org";

const SLAPD: &str = "/usr/sbin/slapd";
const SLAPADD: &str = "/usr/sbin/slapadd";

/// How long slapd may take until it listens.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// The administrator's password while the fault lasts that clients do not
/// know it.
const OTHER_PASSWORD: &str = "nobody-knows-this-one";

const SERVER_EXTENSIONS: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1\n\
    basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n";

/// A running slapd. It ends when this is dropped.
#[derive(Debug)]
pub struct Slapd {
    ldap: SocketAddr,
    ldaps: SocketAddr,
    server: Arc<Server>,
    front: Vec<JoinHandle<()>>,
    _process: Owned,
}

#[derive(Debug)]
struct Server {
    directory: PathBuf,
    ldap: SocketAddr,
    ldaps: SocketAddr,
    password: String,
    /// The administrator's password as slapd knows it now.
    current: Mutex<String>,
}

impl Slapd {
    /// Starts it with its files in `directory`; what is there already, such
    /// as certificates and entries, is used again.
    ///
    /// # Errors
    /// A tool that is missing or fails, and what it printed.
    pub async fn start(directory: &Path, password: &str, faults: Faults) -> io::Result<Self> {
        fs::create_dir_all(directory.join("db"))?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        make_certificates(directory).await?;
        configure(directory, password).await?;
        let (process, server) = run(directory, password).await?;
        let server = Arc::new(server);
        let mut front = Vec::new();
        let mut addresses = Vec::new();
        for target in [server.ldap, server.ldaps] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            addresses.push(listener.local_addr()?);
            front.push(tokio::spawn(accept(
                listener,
                target,
                server.clone(),
                faults.clone(),
            )));
        }
        let [ldap, ldaps] = addresses[..] else {
            return Err(io::Error::other("two listeners have two addresses"));
        };
        Ok(Self {
            ldap,
            ldaps,
            server,
            front,
            _process: process,
        })
    }

    /// `ldap://127.0.0.1:PORT`, for StartTLS.
    pub fn ldap_url(&self) -> String {
        format!("ldap://{}", self.ldap)
    }

    /// `ldaps://127.0.0.1:PORT`.
    pub fn ldaps_url(&self) -> String {
        format!("ldaps://{}", self.ldaps)
    }

    /// The certificate of the authority that signed the server's.
    pub fn ca_file(&self) -> PathBuf {
        self.server.directory.join("ca.crt")
    }

    /// Whether the directory lets this person in. Faults are passed by.
    ///
    /// # Errors
    /// What starting the tool says.
    pub async fn bind(&self, uid: &str, password: &str) -> io::Result<bool> {
        if password.is_empty() {
            // A server may take it for an anonymous bind, and say yes.
            return Ok(false);
        }
        let person = format!("uid={uid},{PEOPLE}");
        Ok(self
            .server
            .tool("ldapwhoami", &person, password, "")
            .await
            .is_ok())
    }

    /// Adds an account among the people that may write everything but `what` of the access rules, to which it has
    /// `access`. Gives its DN; its password is the administrator's, who may do everything still.
    ///
    /// # Errors
    /// What slapd says to it.
    pub async fn restrict(&self, what: &str, access: &str) -> io::Result<String> {
        let dn = format!("uid=pack,{PEOPLE}");
        let password = &self.server.password;
        let account = format!(
            "dn: {dn}\nobjectClass: inetOrgPerson\nuid: pack\ncn: pack\nsn: pack\nuserPassword: {password}\n"
        );
        self.server.tool("ldapadd", ADMIN, password, &account).await?;
        let rules = format!(
            "dn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\nadd: olcAccess\nolcAccess: {{0}}to {what} by dn.base=\"{dn}\" {access} by * break\n\
             olcAccess: {{1}}to attrs=userPassword by anonymous auth by dn.base=\"{dn}\" write by * none\n\
             olcAccess: {{2}}to * by dn.base=\"{dn}\" write by anonymous auth by * none\n"
        );
        self.server
            .tool("ldapmodify", "cn=config", password, &rules)
            .await?;
        Ok(dn)
    }

    /// The entries below [`PEOPLE`] as LDIF, as the administrator sees them.
    ///
    /// # Errors
    /// What the search says.
    pub async fn people(&self) -> io::Result<String> {
        let password = self.server.current.lock().await.clone();
        let search = ["-b", PEOPLE, "-s", "one", "-LLL", "-o", "ldif-wrap=no"];
        self.server
            .tool_with("ldapsearch", &search, ADMIN, &password, "")
            .await
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        for task in &self.front {
            task.abort();
        }
    }
}

impl Server {
    /// Sees to it that slapd knows this password for the administrator.
    async fn know(&self, password: &str) -> io::Result<()> {
        let mut current = self.current.lock().await;
        if *current != password {
            let change = format!(
                "dn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\n\
                 replace: olcRootPW\nolcRootPW: {password}\n"
            );
            self.tool("ldapmodify", "cn=config", &self.password, &change)
                .await?;
            *current = password.into();
        }
        Ok(())
    }

    async fn tool(&self, tool: &str, dn: &str, password: &str, stdin: &str) -> io::Result<String> {
        self.tool_with(tool, &[], dn, password, stdin).await
    }

    async fn tool_with(
        &self,
        tool: &str,
        arguments: &[&str],
        dn: &str,
        password: &str,
        stdin: &str,
    ) -> io::Result<String> {
        // The password is in a file that only this user can read: a command
        // line is there for everybody.
        let file = tempfile::NamedTempFile::new_in(&self.directory)?;
        fs::write(file.path(), password)?;
        let mut command = Command::new(tool);
        command
            // The certificate is for the address that clients use.
            .env("LDAPTLS_REQCERT", "never")
            .args(["-x", "-H", &format!("ldaps://{}", self.ldaps), "-D", dn, "-y"])
            .arg(file.path())
            .args(arguments);
        output(command, stdin).await
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, server: Arc<Server>, faults: Faults) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let fault = faults.take(&Peer::Ldap);
        let server = server.clone();
        connections.spawn(async move {
            // The client sees how it ends; there is nobody else to tell.
            let _ = forward(client, target, &server, fault).await;
        });
    }
}

async fn forward(
    mut client: TcpStream,
    target: SocketAddr,
    server: &Server,
    fault: Option<Kind>,
) -> io::Result<()> {
    match fault {
        Some(Kind::Refuse) => {
            reset(client);
            return Ok(());
        }
        Some(Kind::Hang) => {
            // Nothing is read, so that the client's end is all there is to
            // wait for.
            while client.read(&mut [0; 512]).await? > 0 {}
            return Ok(());
        }
        Some(Kind::WrongCredentials) => server.know(OTHER_PASSWORD).await?,
        _ => server.know(&server.password).await?,
    }
    let mut slapd = TcpStream::connect(target).await?;
    copy_bidirectional(&mut client, &mut slapd).await?;
    Ok(())
}

/// A certificate authority and a certificate for loopback, by elliptic curve
/// keys, which take no time to make.
async fn make_certificates(directory: &Path) -> io::Result<()> {
    if directory.join("server.crt").exists() {
        return Ok(());
    }
    fs::write(directory.join("extensions"), SERVER_EXTENSIONS)?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let steps = [
        format!(
            "req -x509 {key} -days 365 -subj /CN=lab -addext basicConstraints=critical,CA:TRUE \
             -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt"
        ),
        format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"),
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
         -extfile extensions -out server.crt"
            .into(),
    ];
    for step in steps {
        let mut command = Command::new("openssl");
        command.current_dir(directory).args(step.split_whitespace());
        output(command, "").await?;
    }
    Ok(())
}

async fn configure(directory: &Path, password: &str) -> io::Result<()> {
    let configuration = include_str!("slapd/slapd.conf.in")
        .replace("@DIRECTORY@", &directory.to_string_lossy())
        .replace("@SUFFIX@", SUFFIX)
        .replace("@ADMIN@", ADMIN)
        .replace("@CONFIG_PASSWORD@", password)
        .replace("@PASSWORD@", password);
    let file = directory.join("slapd.conf");
    fs::write(&file, configuration)?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    if directory.join("db/data.mdb").exists() {
        return Ok(());
    }
    let mut command = Command::new(SLAPADD);
    command.arg("-q").arg("-f").arg(&file);
    output(command, include_str!("slapd/base.ldif")).await?;
    Ok(())
}

/// Starts slapd on two ports that are free.
async fn run(directory: &Path, password: &str) -> io::Result<(Owned, Server)> {
    let started = Instant::now();
    loop {
        // They are free when they are looked for; should another process take
        // one meanwhile, slapd ends and other ports are tried.
        let [ldap, ldaps] = [free_address()?, free_address()?];
        let log = directory.join("slapd.log");
        let mut command = std::process::Command::new(SLAPD);
        command
            .args([
                "-d",
                "stats",
                "-h",
                &format!("ldap://{ldap}/ ldaps://{ldaps}/"),
                "-f",
            ])
            .arg(directory.join("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let mut process = Owned(spawn(command)?);
        loop {
            if TcpStream::connect(ldaps).await.is_ok() {
                let server = Server {
                    directory: directory.into(),
                    ldap,
                    ldaps,
                    password: password.into(),
                    current: Mutex::new(password.into()),
                };
                return Ok((process, server));
            }
            let ended = process.0.try_wait()?;
            if started.elapsed() > START_DEADLINE {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "slapd does not listen: {}",
                    said.trim()
                )));
            }
            if ended.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Runs a tool to its end; what it printed on stderr is the error.
async fn output(mut command: Command, stdin: &str) -> io::Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let failed = |what: String| io::Error::other(format!("`{name}`: {what}"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A tool that ends early does not read all of it; its status tells.
        let _ = pipe.write_all(stdin.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().into()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
