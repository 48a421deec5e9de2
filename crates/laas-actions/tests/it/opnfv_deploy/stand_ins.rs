//! Stand-ins with the command lines of the real installers, on the disk of a host.

use crate::hosts::Stand;
use std::os::unix::fs::PermissionsExt;

/// An installer, a scenario of its, and what its verification finds running.
pub struct Case {
    pub name: &'static str,
    pub scenario: &'static str,
    /// What the stand-in must have been called with.
    pub call: &'static str,
    pub found: &'static str,
}

pub const UBUNTU: [Case; 4] = [
    Case {
        name: "fuel",
        scenario: "os-nosdn-nofeature-noha",
        call: "deploy.sh -l local -p virtual1 -s os-nosdn-nofeature-noha -S /var/lib/laas-software/images -D",
        found: "cfg01",
    },
    Case {
        name: "compass",
        scenario: "os-odl-sfc-noha",
        call: "deploy.sh --dha /var/lib/laas-software/source/deploy/conf/vm_environment/os-odl-sfc-noha.yml \
               --network /var/lib/laas-software/source/deploy/conf/vm_environment/network.yml",
        found: "host1",
    },
    Case {
        name: "joid",
        scenario: "k8-nosdn-lb-noha",
        call: "deploy.sh -o pike -s nosdn -t noha -l default -f lb -d xenial -m kubernetes -i 1 --maasinstall 1",
        found: "- kubernetes-master/0: 192.0.2.7 (agent:idle, workload:active)",
    },
    Case {
        name: "script",
        scenario: "os-nosdn-nofeature-noha",
        call: "install.sh os-nosdn-nofeature-noha default",
        found: "all is well",
    },
];

pub const CENTOS: [Case; 1] = [Case {
    name: "apex",
    scenario: "os-nosdn-fdio-noha",
    call: "opnfv-deploy -v -d config/deploy/os-nosdn-fdio-noha.yaml \
           -n config/network/network_settings_vpp.yaml --debug",
    found: "undercloud",
}];

const FUEL: &str = r#"while getopts "b:dDfEFl:L:p:Ps:S:he" option; do
    case $option in s) scenario=$OPTARG ;; S) storage=$OPTARG ;; l) lab=$OPTARG ;; p) pod=$OPTARG ;; *) ;; esac
done
case $lab-$pod in local-virtual1 | laas-pod1) ;; *) exit 64 ;; esac
[ -d "$storage" ] || exit 64
. /opt/laas/behave.sh
echo cfg01 >/var/lib/machines/cfg01
printf '\033[32m[OK] MCP: Openstack installation finished succesfully!\033[0m\n'
"#;
const COMPASS: &str = r#"[ -f "${TAR_URL#file://}" ] && [ -f "$2" ] && [ -f "$4" ] || exit 64
scenario=$2
. /opt/laas/behave.sh
echo host1 >/var/lib/machines/host1
"#;
const JOID: &str = r#"scenario=$4
. /opt/laas/behave.sh
echo unit >/var/lib/machines/juju
echo "Finished deployment and configuration"
"#;
const APEX: &str = r#"[ -f "$3" ] && [ -f "$5" ] && [ -e /var/lib/apex-is-installed ] || exit 64
scenario=$3
. /opt/laas/behave.sh
echo undercloud >/var/lib/machines/undercloud
"#;
const SCRIPT: &str = r#"scenario=$1
. /opt/laas/behave.sh
touch /var/lib/machines/script
"#;
/// Knows the machines that the stand-ins have made.
const VIRSH: &str = r#"case $1 in
list) for machine in /var/lib/machines/*; do [ ! -s "$machine" ] || cat "$machine"; done ;;
undefine) rm -f "/var/lib/machines/$2" "/var/lib/machines/$4" ;;
esac
"#;
const JUJU: &str = r#"[ -e /var/lib/machines/juju ] || exit 1
echo "- kubernetes-master/0: 192.0.2.7 (agent:idle, workload:active)"
"#;

impl Stand {
    /// Puts the stand-ins on the host's disk, and where the pack finds them into its configuration.
    pub fn with_stand_ins(mut self) -> Self {
        for (path, script) in [
            ("/srv/fuel/ci/deploy.sh", FUEL),
            (
                "/srv/compass/build.sh",
                "mkdir -p work/building; touch work/building/compass.tar.gz",
            ),
            ("/srv/compass/deploy.sh", COMPASS),
            ("/srv/joid/ci/deploy.sh", JOID),
            ("/srv/joid/ci/clean.sh", "rm -f /var/lib/machines/juju"),
            ("/srv/script/install.sh", SCRIPT),
            (
                "/srv/script/verify.sh",
                "[ -e /var/lib/machines/script ] && echo all is well",
            ),
            ("/opt/laas/bin/virsh", VIRSH),
            ("/opt/laas/bin/juju", JUJU),
            ("/opt/laas/bin/docker", "exit 0"),
            ("/opt/laas/bin/pip3", "touch /var/lib/apex-is-installed"),
            ("/opt/laas/bin/opnfv-deploy", APEX),
            ("/opt/laas/bin/opnfv-clean", "rm -f /var/lib/machines/undercloud"),
        ] {
            self.executable(path, &format!("#!/bin/sh\n{script}"));
        }
        self.executable("/opt/laas/behave.sh", include_str!("behave.sh"));
        for settings in [
            "/srv/compass/deploy/conf/vm_environment/os-odl-sfc-noha.yml",
            "/srv/compass/deploy/conf/vm_environment/network.yml",
            "/srv/apex/config/deploy/os-nosdn-fdio-noha.yaml",
            "/srv/apex/config/network/network_settings_vpp.yaml",
        ] {
            self.executable(settings, "---\n");
        }
        self.pack.config["software"] = serde_json::json!({
            "logs": self.lab.directory().join("logs"),
            "sources": {
                "fuel": "/srv/fuel", "apex": "/srv/apex", "compass": "/srv/compass", "joid": "/srv/joid",
                "script": "/srv/script",
            },
        });
        self
    }

    pub fn executable(&self, path: &str, text: &str) {
        let path = self.inside(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// How the stand-ins behave: `slow` until [`Stand::go_on`], `fail`, `lie`, or well.
    pub fn behave(&self, how: &str) {
        let _ = std::fs::remove_file(self.inside("/etc/go"));
        std::fs::write(self.inside("/etc/behave"), how).unwrap();
    }

    pub fn go_on(&self) {
        std::fs::write(self.inside("/etc/go"), "").unwrap();
    }

    /// The calls of the installers so far.
    pub fn calls(&self) -> Vec<String> {
        self.read("/var/log/calls").lines().map(str::to_owned).collect()
    }
}
