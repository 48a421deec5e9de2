//! A Redfish service that others wrote: sushy-tools' emulator with its fake driver, on a free port. It has power and
//! boot devices, but neither accounts nor a BIOS, and takes any boot device.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ADMIN: &str = "admin";
pub const PASSWORD: &str = "redfish-pw";

pub struct Sushy {
    pub port: u16,
    dir: tempfile::TempDir,
    child: Child,
}

impl Sushy {
    /// One host, which is off.
    pub fn start() -> Self {
        let venv = crate::venv::venv(&["sushy-tools==2.2.0", "bcrypt"]);
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        fs::create_dir(dir.path().join("state")).unwrap();
        let configuration = include_str!("../sushy/emulator.conf.in")
            .replace("@DIR@", dir.path().to_str().unwrap())
            .replace("@PORT@", &port.to_string());
        fs::write(dir.path().join("emulator.conf"), configuration).unwrap();
        let certificate = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=bmc \
            -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
            -keyout server.key -out server.crt";
        run(Command::new("openssl")
            .current_dir(dir.path())
            .args(certificate.split_whitespace()));
        let hash = format!(
            "import bcrypt;print('{ADMIN}:'+bcrypt.hashpw(b'{PASSWORD}',bcrypt.gensalt(4)).decode())"
        );
        let hash = run(Command::new(venv.join("bin/python3")).args(["-c", &hash]));
        fs::write(dir.path().join("htpasswd"), hash).unwrap();
        let child = Command::new(venv.join("bin/sushy-emulator"))
            .arg("--config")
            .arg(dir.path().join("emulator.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut sushy = Self { port, dir, child };
        sushy.wait_until_it_listens();
        sushy
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("server.crt")
    }

    fn wait_until_it_listens(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(self.child.try_wait().unwrap().is_none(), "{}", log());
            assert!(Instant::now() < end, "the emulator does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Sushy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command prints, which must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {why}");
    String::from_utf8(output.stdout).unwrap()
}
