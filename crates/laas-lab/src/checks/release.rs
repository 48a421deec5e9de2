//! Whether nothing is left of a booking that is over.

use std::net::Ipv4Addr;

use anyhow::Context;

use super::{Check, Tenant, bmc_login, told_address, vpn_account};
use crate::dashboard::{BmcAccount, JobState, TaskType};
use crate::lab::Lab;
use crate::machine::Phase;
use crate::stack::Stack;

/// Keys of the datastore that hold what a tenant got, or that the tenant has a host.
pub const OF_TENANTS: [&str; 4] = ["vpn_", "task_", "told_", "bmc_user_"];

/// What a Jenkins agent is on a disk, from which the host would boot again.
const AGENT: [&str; 2] = ["etc/systemd/system/laas-jenkins.service", "var/lib/laas-jenkins"];

/// Everything that the users of a job got: noted while the booking runs, tried when it is over.
#[derive(Debug, Clone)]
pub struct Given {
    job: u32,
    hosts: Vec<(String, Option<Ipv4Addr>)>,
    vpn: Vec<(String, String)>,
    bmc: Vec<(String, BmcAccount)>,
}

impl Given {
    pub fn of_job(lab: &Lab, job: &JobState) -> Self {
        let of = |wanted: TaskType| job.tasks.iter().filter(move |task| task.task_type == wanted);
        let hosts: Vec<String> = of(TaskType::Hardware).map(|task| task.subject.clone()).collect();
        let is_vpn = |task: &&crate::dashboard::TaskState| task.delta["access_type"] == "vpn";
        Self {
            job: job.job,
            vpn: of(TaskType::Access)
                .filter(is_vpn)
                .map(|task| vpn_account(&task.message))
                .collect(),
            bmc: hosts
                .iter()
                .filter_map(|host| Some((host.clone(), lab.dashboard().bmc(host)?)))
                .collect(),
            hosts: hosts
                .into_iter()
                .map(|host| (host.clone(), told_address(job, &host)))
                .collect(),
        }
    }

    /// Tries all of it.
    ///
    /// # Errors
    /// The engine does not show its datastore.
    pub async fn is_gone(&self, lab: &Lab, stack: &Stack, tenants: &[Tenant]) -> anyhow::Result<Vec<Check>> {
        let mut checks = Vec::new();
        for (host, address) in &self.hosts {
            checks.extend(self.host(lab, host));
            for tenant in tenants {
                checks.extend(key(lab, host, *address, tenant).await);
            }
        }
        for (host, account) in &self.bmc {
            let refused = bmc_login(lab, host, account).await;
            checks.push(Check {
                name: format!("{host}: the tenant's BMC account is refused"),
                ok: refused.is_err(),
                how: match refused {
                    Ok(power) => format!("with what the booking's PDF said: {power}"),
                    Err(error) => format!("with what the booking's PDF said: {error:#}"),
                },
            });
        }
        for (uid, password) in &self.vpn {
            checks.push(Check {
                name: format!("the VPN account {uid} is refused"),
                ok: matches!(lab.slapd().bind(uid, password).await, Ok(false)),
                how: "bound with the password that the user was sent".to_owned(),
            });
        }
        let keys = stack.call(reqwest::Method::GET, "keys?limit=-1", None).await?;
        let names = keys.as_array().context("no list of keys")?.iter();
        let names = names.filter_map(|key| key["name"].as_str());
        let left: Vec<_> = names
            .filter(|name| OF_TENANTS.iter().any(|of| name.starts_with(of)))
            .collect();
        checks.push(Check {
            name: "the datastore has nothing of the booking".to_owned(),
            ok: left.is_empty(),
            how: format!("its keys of {}: {left:?}", OF_TENANTS.join(", ")),
        });
        let mails = lab.dashboard().mails();
        checks.push(Check {
            name: "the users were told that the booking is over".to_owned(),
            ok: mails
                .iter()
                .any(|mail| mail.subject.to_lowercase().contains("expired")),
            how: format!("{} mails of the dashboard", mails.len()),
        });
        Ok(checks)
    }

    fn host(&self, lab: &Lab, host: &str) -> Vec<Check> {
        let Some(machine) = lab.machine(host) else {
            return Vec::new();
        };
        let carried: Vec<_> = machine
            .host()
            .nics
            .iter()
            .filter_map(|nic| lab.port_state(host, &nic.mac))
            .flat_map(|port| port.allowed.iter().collect::<Vec<_>>())
            .collect();
        let free = lab
            .dashboard()
            .host(host)
            .is_some_and(|host| host.booking.is_none());
        let agent = machine.root().map_or(Vec::new(), |root| {
            let files = AGENT.map(|file| root.join(file));
            files.into_iter().filter(|file| file.exists()).collect()
        });
        vec![
            Check {
                name: format!("{host} has no Jenkins agent"),
                ok: agent.is_empty(),
                how: format!("looked at its disk: {agent:?}"),
            },
            Check {
                name: format!("{host} is off"),
                ok: machine.phase() == Phase::Off,
                how: format!("looked at it: {:?}", machine.phase()),
            },
            Check {
                name: format!("{host}: its ports carry nothing"),
                ok: carried.is_empty(),
                how: format!("asked the switch: {carried:?}"),
            },
            Check {
                name: format!("{host} can be booked again"),
                ok: free,
                how: format!("asked the dashboard after job {}", self.job),
            },
        ]
    }
}

/// The key is neither taken nor is it left on the disk, from which the host would boot again.
async fn key(lab: &Lab, host: &str, address: Option<Ipv4Addr>, tenant: &Tenant) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(address) = address {
        let output = lab.ssh(address, "opnfv", &tenant.key, "true").await;
        checks.push(Check {
            name: format!("{} gets no more into {host}", tenant.name),
            ok: output.is_ok_and(|output| !output.status.success()),
            how: format!("ssh opnfv@{address}"),
        });
    }
    let key = tenant.public_key().unwrap_or_default();
    let key = key.split(' ').nth(1).unwrap_or("no key");
    let root = lab.machine(host).and_then(|machine| machine.root());
    let file = root.map(|root| root.join("home/opnfv/.ssh/authorized_keys"));
    let lines = file.and_then(|file| std::fs::read_to_string(file).ok());
    checks.push(Check {
        name: format!("{host} has no key of {}", tenant.name),
        ok: lines.is_none_or(|lines| !lines.contains(key)),
        how: "looked at its disk".to_owned(),
    });
    checks
}
