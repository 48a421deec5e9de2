//! A snapshot's whole life on the lab's real machines: what a tenant left on a disk is captured, the disk is wiped, and
//! another host gets it.

use crate::pack::Pack;
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::machine::{Machine, Phase};
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

struct Stand {
    lab: Lab,
    pack: Pack,
    runtime: tokio::runtime::Runtime,
}

impl Stand {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let lab = runtime.block_on(Lab::start(LabOptions::default())).unwrap();
        let mut pack = Pack::new(lab.config(), &[]);
        for key in lab.keys() {
            pack.set_key(&key.name, &json!(key.value));
        }
        pack.env = vec![("LAAS_HOSTS", r#"["pod1", "pod2"]"#.to_owned())];
        pack.run(env!("CARGO_BIN_EXE_switch_vlan"), &[]).done();
        pack.env.clear();
        Self { lab, pack, runtime }
    }

    fn machine(&self, host: &str) -> &Machine {
        self.lab.machine(host).unwrap()
    }

    /// Queues the task, boots the host from the network and waits for the end of both.
    fn work(&self, action: &str, host: &str, args: &[&str], phase: Phase) -> Value {
        let host_arg = format!("--host={host}");
        let args = [&[&*host_arg], args].concat();
        self.pack
            .run(action, &[&args[..], &["--start_only"]].concat())
            .done();
        for power in ["off", "on"] {
            if power == "on" {
                let device = ["--device=pxe", &host_arg];
                self.pack
                    .run(env!("CARGO_BIN_EXE_ipmi_boot_device"), &device)
                    .done();
            }
            let command = format!("--command={power}");
            self.pack
                .run(env!("CARGO_BIN_EXE_ipmi_power"), &[&command, &host_arg])
                .done();
        }
        let done = self.pack.run(action, &args).done();
        let machine = self.machine(host);
        let reached = self.runtime.block_on(machine.wait(LIMIT, |m| m.phase() == phase));
        assert!(reached, "{:?}", machine.events());
        done
    }
}

#[test]
fn what_a_tenant_left_is_captured_wiped_and_deployed_elsewhere() {
    let stand = Stand::new();
    let image = env!("CARGO_BIN_EXE_fog_image");
    stand.work(image, "pod1", &["--image=24", "--request=first"], Phase::Up);
    let mine = |host: &str| {
        let root = stand.machine(host).root()?;
        std::fs::read_to_string(root.join("etc/mine")).ok()
    };
    std::fs::write(
        stand.machine("pod1").root().unwrap().join("etc/mine"),
        "the tenant's",
    )
    .unwrap();

    let capture = ["--snapshot=web", "--request=capture"];
    let done = stand.work(env!("CARGO_BIN_EXE_fog_capture"), "pod1", &capture, Phase::Up);
    assert_eq!(done["name"], "web_v1");
    assert_eq!(done["after"]["image"], 24);

    let wipe = ["--confirm=pod1", "--mode=fast", "--request=wipe"];
    stand.work(env!("CARGO_BIN_EXE_fog_wipe"), "pod1", &wipe, Phase::Dead);
    assert_eq!(stand.machine("pod1").system(), None);

    for host in ["pod1", "pod2"] {
        stand.work(image, host, &["--snapshot=web", "--request=second"], Phase::Up);
        assert_eq!(mine(host).as_deref(), Some("the tenant's"), "{host}");
        assert_eq!(stand.machine(host).system().unwrap().os.id, "debian", "{host}");
    }
}
