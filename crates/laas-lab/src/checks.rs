//! Whether a booking really is what its tasks say: tried from outside, with the tools its users have.

mod release;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use tokio::process::Command;

use crate::dashboard::{BmcAccount, JobState, TaskState, TaskType};
use crate::inventory::BmcKind;
use crate::lab::Lab;

pub use release::{Given, OF_TENANTS};

/// Something that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What should be.
    pub name: String,
    pub ok: bool,
    /// How it was tried, and what came of it if it is not so.
    #[serde(skip)]
    pub how: String,
}

/// A user of the dashboard with a key pair of their own.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The user's id on the dashboard.
    pub id: i64,
    pub name: &'static str,
    /// The private key.
    pub key: PathBuf,
}

impl Tenant {
    /// Alice (3) and Bob (4), as in the observed booking, with new keys in `directory`.
    ///
    /// # Errors
    /// `ssh-keygen` fails.
    pub async fn pair(directory: &Path) -> anyhow::Result<[Self; 2]> {
        let tenant = |id, name| async move {
            let key = directory.join(format!("{name}_ed25519"));
            let args = ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"];
            let made = Command::new("ssh-keygen")
                .args(args)
                .arg(&key)
                .stdin(Stdio::null())
                .output()
                .await?;
            anyhow::ensure!(
                made.status.success(),
                "`ssh-keygen`: {}",
                String::from_utf8_lossy(&made.stderr)
            );
            anyhow::Ok(Self { id, name, key })
        };
        Ok([tenant(3, "alice").await?, tenant(4, "bob").await?])
    }

    /// The line of the public key, as it is handed in on the dashboard.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn public_key(&self) -> anyhow::Result<String> {
        let path = self.key.with_extension("pub");
        std::fs::read_to_string(&path).with_context(|| format!("can't read `{}`", path.display()))
    }
}

/// Tries everything that the tasks of a job that ended with 200 promise.
pub async fn of_job(lab: &Lab, job: &JobState, tenants: &[Tenant]) -> Vec<Check> {
    let mut checks = Vec::new();
    for task in job.tasks.iter().filter(|t| t.status == 200) {
        match task.task_type {
            TaskType::Hardware => checks.extend(hardware(lab, task).await),
            TaskType::Network => checks.extend(network(lab, task)),
            TaskType::Access if task.delta["access_type"] == "vpn" => checks.push(vpn(lab, task).await),
            TaskType::Access => checks.extend(keys(lab, job, task, tenants).await),
            TaskType::Snapshot => checks.push(snapshot(lab, task)),
            TaskType::Software => checks.push(software(lab, job, task, tenants).await),
        }
    }
    checks.push(Check {
        name: "the switches keep their configuration over a restart".to_owned(),
        ok: lab.switch().is_saved() && lab.eos().is_saved(),
        how: "running and startup configuration compared".to_owned(),
    });
    checks
}

async fn hardware(lab: &Lab, task: &TaskState) -> Vec<Check> {
    let host = &task.subject;
    let Some(machine) = lab.machine(host) else {
        return Vec::new();
    };
    let image = task.delta["image"].as_u64();
    let system = machine.system();
    // A host whose network failed is left off, where nobody gets at it.
    let stored = || std::fs::read_to_string(machine.root()?.join("etc/hostname")).ok();
    let hostname = machine.hostname().or_else(|| Some(stored()?.trim().to_owned()));
    let mut checks = vec![
        Check {
            name: format!("{host} runs image {}", image.unwrap_or_default()),
            ok: system.as_ref().map(|s| u64::from(s.image)) == image,
            how: format!(
                "looked at its disk: {}",
                system.map_or("empty".to_owned(), |s| s.image.to_string())
            ),
        },
        Check {
            name: format!(
                "{host} calls itself {}",
                task.delta["hostname"].as_str().unwrap_or_default()
            ),
            ok: hostname.as_deref() == task.delta["hostname"].as_str(),
            how: format!("asked its kernel: {}", hostname.unwrap_or_default()),
        },
    ];
    if task.delta["ipmi_create"] == true {
        let name = format!("{host}: the tenant's BMC account opens a session");
        let Some(account) = lab.dashboard().bmc(host) else {
            checks.push(Check {
                name,
                ok: false,
                how: "the dashboard was told of none".to_owned(),
            });
            return checks;
        };
        let answer = bmc_login(lab, host, &account).await;
        checks.push(Check {
            name,
            ok: answer.is_ok(),
            how: match answer {
                Ok(power) => format!("with what the booking's PDF says: {power}"),
                Err(error) => format!("with what the booking's PDF says: {error:#}"),
            },
        });
    }
    checks
}

/// Asks a BMC for the power as its tenant would, with what the dashboard says of it: `ipmitool`, or Redfish.
///
/// # Errors
/// What the BMC says: the account is refused, or nobody answers.
pub async fn bmc_login(lab: &Lab, host: &str, account: &BmcAccount) -> anyhow::Result<String> {
    let machine = lab.machine(host).context("no such host")?;
    if machine.host().bmc != BmcKind::Ipmi {
        return redfish_power(lab, host, account).await;
    }
    let output = Command::new("ipmitool")
        .args([
            "-I", "lanplus", "-C", "3", "-N", "1", "-R", "2", "-L", "OPERATOR", "-E",
        ])
        .args(["-H", &account.address, "-p", &lab.access().bmc_port.to_string()])
        .args(["-U", &account.user, "chassis", "power", "status"])
        .env("IPMI_PASSWORD", &account.password)
        .env_remove("IPMITOOL_PASSWORD")
        .output()
        .await?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    anyhow::ensure!(output.status.success(), "{}", said(&output.stderr));
    Ok(said(&output.stdout))
}

/// What a BMC with Redfish says about the power to this account.
async fn redfish_power(lab: &Lab, host: &str, account: &BmcAccount) -> anyhow::Result<String> {
    let certificate = tokio::fs::read(lab.access().bmc_certificate(host)).await?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(15))
        .add_root_certificate(reqwest::Certificate::from_pem(&certificate)?)
        .build()?;
    let port = lab.access().redfish_port;
    let url = format!("https://{}:{port}/redfish/v1/Systems/1/", account.address);
    let request = client.get(url).basic_auth(&account.user, Some(&account.password));
    let system: Value = request.send().await?.error_for_status()?.json().await?;
    let power = system["PowerState"].as_str().context("it does not say")?;
    Ok(power.to_owned())
}

fn snapshot(lab: &Lab, task: &TaskState) -> Check {
    let image = format!("snapshot_{}_v1", task.delta["dashboard_id"]);
    let images = lab.fog().images();
    Check {
        name: format!("FOG has the image {image} of {}", task.subject),
        ok: images.iter().any(|i| i["name"] == image.as_str()),
        how: format!("asked FOG, which has {} images", images.len()),
    }
}

fn network(lab: &Lab, task: &TaskState) -> Vec<Check> {
    let host = &task.subject;
    let Some(interfaces) = task.delta[host].as_object() else {
        return Vec::new();
    };
    let check = |(mac, networks): (&String, &Value)| {
        let networks = networks.as_array().map(Vec::as_slice).unwrap_or_default();
        let ids = |tagged: bool| {
            let wanted = networks.iter().filter(move |n| n["tagged"] == tagged);
            wanted
                .filter_map(|n| n["vlan_id"].as_u64())
                .filter_map(|id| u16::try_from(id).ok())
        };
        let native = ids(false).next();
        let mut allowed: Vec<u16> = ids(false).chain(ids(true)).collect();
        allowed.sort_unstable();
        let port = lab.port_state(host, mac).unwrap_or_default();
        let carried: Vec<u16> = port.allowed.iter().collect();
        Check {
            name: match allowed.as_slice() {
                [] => format!("{host} {mac}: the port carries nothing"),
                vlans => format!("{host} {mac}: the port carries exactly {vlans:?}"),
            },
            ok: port.native == native && carried == allowed,
            how: format!("asked the switch: native {:?}, all {carried:?}", port.native),
        }
    };
    interfaces.iter().map(check).collect()
}

/// Whether these hosts see each other on a VLAN and a third host has no part in it, by what the switches let through.
pub fn share(lab: &Lab, hosts: [&str; 2], other: &str, vlan: u16) -> Check {
    let carries = |host: &str| {
        let nics = lab.machine(host).map(|machine| machine.host().nics.clone());
        let mut ports = nics
            .iter()
            .flatten()
            .filter_map(|nic| lab.port_state(host, &nic.mac));
        ports.any(|port| port.allowed.contains(vlan))
    };
    let [one, two] = hosts;
    Check {
        name: format!("{one} and {two} are on VLAN {vlan}, and {other} is not"),
        ok: carries(one) && carries(two) && !carries(other),
        how: "asked both switches".to_owned(),
    }
}

async fn keys(lab: &Lab, job: &JobState, task: &TaskState, tenants: &[Tenant]) -> Vec<Check> {
    let Some(tenant) = tenants.iter().find(|t| t.id.to_string() == task.subject) else {
        return Vec::new();
    };
    let hosts = task.delta["context"]["hosts"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut checks = Vec::new();
    for host in hosts.iter().filter_map(Value::as_str) {
        let name = format!("{} logs in to {host}", tenant.name);
        let Some(address) = told_address(job, host) else {
            checks.push(Check {
                name,
                ok: false,
                how: "no address was told".to_owned(),
            });
            continue;
        };
        let output = lab.ssh(address, "opnfv", &tenant.key, "true").await;
        checks.push(from_output(
            name,
            &format!("ssh opnfv@{address}, the address the user was told"),
            output,
        ));
    }
    checks
}

async fn software(lab: &Lab, job: &JobState, task: &TaskState, tenants: &[Tenant]) -> Check {
    let opnfv = &task.delta["opnfv"];
    let roles = opnfv["roles"].as_array().into_iter().flatten();
    let mut hosts = roles.filter_map(Value::as_object).flatten();
    let jumphost = hosts
        .find(|(_, role)| *role == "Jumphost")
        .map(|(host, _)| host.as_str());
    let host = jumphost.unwrap_or_default();
    let installer = opnfv["installer"].as_str().unwrap_or_default();
    let mut check = Check {
        name: format!("{installer} runs on {host}"),
        ok: false,
        how: "no address was told".to_owned(),
    };
    if let (Some(address), Some(tenant)) = (told_address(job, host), tenants.first()) {
        let command = "/opt/laas/bin/virsh list --name --state-running";
        let output = lab.ssh(address, "opnfv", &tenant.key, command).await;
        let found = output.map(|output| String::from_utf8_lossy(&output.stdout).replace('\n', " "));
        let found = found.unwrap_or_default();
        check.ok = found.split(' ').any(|machine| machine == "cfg01");
        check.how = format!("asked its hypervisor, a stand-in: {}", found.trim_end());
    }
    check
}

/// The address in the message of the host's network task.
pub fn told_address(job: &JobState, host: &str) -> Option<Ipv4Addr> {
    let task = job
        .tasks
        .iter()
        .find(|t| t.task_type == TaskType::Network && t.subject == host)?;
    let words = task.message.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    words.filter_map(|w| w.trim_end_matches('.').parse().ok()).next()
}

async fn vpn(lab: &Lab, task: &TaskState) -> Check {
    let (uid, password) = vpn_account(&task.message);
    let bound = lab.slapd().bind(&uid, &password).await;
    Check {
        name: format!("the VPN account of user {} works", task.subject),
        ok: matches!(bound, Ok(true)),
        how: format!("bound as `{uid}` with the password that the user was sent"),
    }
}

/// The name and the password in the message of a VPN task, empty if it tells none.
pub fn vpn_account(message: &str) -> (String, String) {
    let word = |label: &str| {
        let line = message.lines().find_map(|l| l.trim().strip_prefix(label));
        line.unwrap_or_default().trim().to_owned()
    };
    (word("User:"), word("Password:"))
}

fn from_output(name: String, how: &str, output: std::io::Result<Output>) -> Check {
    match output {
        Ok(output) if output.status.success() => Check {
            name,
            ok: true,
            how: how.to_owned(),
        },
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Check {
                name,
                ok: false,
                how: format!("{how}: {}", said.trim()),
            }
        }
        Err(error) => Check {
            name,
            ok: false,
            how: format!("{how}: {error}"),
        },
    }
}
