//! A BMC: `ipmi_sim` as a child on a free port, with a chassis of files. It knows cipher suite 3 only, forgets
//! the flags of the boot device, and cuts passwords to 16 bytes.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ADMIN: &str = "ADMIN";
pub const PASSWORD: &str = "admin-pw";

pub struct Sim {
    pub port: u16,
    dir: tempfile::TempDir,
    child: Child,
}

impl Sim {
    /// The host is off, and slot 3 is taken by somebody. It has a FRU and sensors.
    pub fn start() -> Self {
        Self::start_with(include_str!("../ipmi_sim/cmd.emu"))
    }

    /// One without FRU and sensors.
    pub fn start_bare() -> Self {
        let bare = |line: &&str| {
            !["sensor_", "main_sdr_", "mc_add_fru_"]
                .iter()
                .any(|w| line.starts_with(w))
        };
        let commands: Vec<_> = include_str!("../ipmi_sim/cmd.emu").lines().filter(bare).collect();
        Self::start_with(&(commands.join("\n") + "\n"))
    }

    fn start_with(commands: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let fill = |text: &str| {
            let text = text.replace("@DIR@", dir.path().to_str().unwrap());
            text.replace("@PORT@", &port.to_string())
        };
        for (name, text) in [
            (
                "chassis_control.sh",
                include_str!("../ipmi_sim/chassis_control.sh"),
            ),
            ("lan_config.sh", include_str!("../ipmi_sim/lan_config.sh")),
            ("cmd.emu", commands),
            ("lan.conf", include_str!("../ipmi_sim/lan.conf.in")),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, fill(text)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::create_dir(dir.path().join("state")).unwrap();
        let child = Command::new("ipmi_sim")
            .args(["-n", "-c", "lan.conf", "-f", "cmd.emu", "-s", "state"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ipmi_sim is installed");
        let sim = Self { port, dir, child };
        sim.wait_until_it_answers();
        sim
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `lie` or `deaf`, see `chassis_control.sh`.
    pub fn misbehave(&self, how: &str) {
        fs::write(self.path().join(how), "").unwrap();
    }

    pub fn set_power(&self, on: bool) {
        fs::write(self.path().join("power"), if on { "1" } else { "0" }).unwrap();
    }

    /// What the chassis was told so far.
    pub fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path().join("events")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A presence ping of RMCP, as the specification of ASF has it.
    fn wait_until_it_answers(&self) {
        let ping = [0x06, 0x00, 0xff, 0x06, 0, 0, 0x11, 0xbe, 0x80, 0, 0, 0];
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            socket.send_to(&ping, ("127.0.0.1", self.port)).unwrap();
            if socket.recv(&mut [0; 64]).is_ok() {
                return;
            }
        }
        panic!("ipmi_sim does not answer");
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
