//! The life of a booking: its job, reimages, snapshots, the end, the freeing of its hosts, and the mails about it.

use serde_json::{Value, json};
use time::Duration;

use super::spec::{BookedHost, BookingSpec, OpnfvSpec, Refused};
use super::state::{Booking, Host, State};
use super::task::{Task, TaskType, Work};
use super::view::Mail;
use super::xdf;

/// How long a booking runs, as in the observed one.
const LENGTH: Duration = Duration::days(7);

/// The mail could not be sent; the application answers 500 although it has saved.
pub(super) struct MailFailed;

impl State {
    /// Makes the booking and its job; the answer is the number of both.
    pub fn book(&mut self, spec: BookingSpec) -> Result<u32, Refused> {
        let lab = self.check(&spec)?;
        let id = self.last_booking + 1;
        let mut tasks = self.provisioning(&spec, &lab, id);
        if let Some(host) = &spec.snapshot {
            tasks.push(self.snapshot_task(host));
        }
        let mut uncreated = Vec::new();
        if let Some(backwards) = self.one_by_one {
            std::mem::swap(&mut uncreated, &mut tasks);
            if !backwards {
                uncreated.reverse();
            }
        }
        let mut booking = Booking {
            id,
            lab,
            owner: spec.owner,
            collaborators: spec.collaborators,
            end: self.now() + LENGTH,
            hosts: Some(spec.hosts),
            opnfv: spec.opnfv,
            pdf: String::new(),
            // The application writes the installer descriptor only when a BMC is reported.
            idf: String::new(),
            complete: false,
            told_ready: false,
            told_over: false,
            tasks,
            uncreated,
        };
        for wanted in booking.hosts.iter().flatten() {
            if let Some(host) = self.host_mut(&wanted.labid) {
                host.booking = Some(id);
            }
        }
        booking.pdf = xdf::pdf(self, &booking);
        self.bookings.insert(id, booking);
        self.last_booking = id;
        Ok(id)
    }

    /// The users see the host's disk replaced: its tasks and every SSH task start again.
    pub fn reimage(&mut self, labid: &str, new_image: i64) -> Result<(), Refused> {
        let booking = self.running_booking_of(labid)?;
        for task in &mut booking.tasks {
            let again = match &mut task.work {
                Work::Hardware { host, image, .. } if host == labid => {
                    *image = new_image;
                    true
                }
                Work::Network { host, .. } => host == labid,
                Work::Ssh { .. } => true,
                _ => false,
            };
            if again {
                task.status = 0;
            }
        }
        Ok(())
    }

    /// Adds a snapshot task to the host's running job; the answer is the new image's row id.
    pub fn snapshot(&mut self, labid: &str) -> Result<i64, Refused> {
        self.running_booking_of(labid)?;
        let task = self.snapshot_task(labid);
        self.running_booking_of(labid)?.tasks.push(task);
        Ok(self.last_image)
    }

    /// Moves the end of the booking to now; nothing happens to its job before the next poll.
    pub fn cancel(&mut self, id: u32) -> Result<(), Refused> {
        let now = self.now();
        let booking = self.bookings.get_mut(&id).ok_or(Refused::UnknownBooking(id))?;
        if booking.is_over(now) {
            return Err(Refused::BookingOver(id));
        }
        booking.end = now;
        Ok(())
    }

    /// Forgets the host with its tasks; its booking goes on.
    pub fn delete_host(&mut self, labid: &str) -> Result<(), Refused> {
        self.host(labid)
            .ok_or_else(|| Refused::UnknownHost(labid.to_owned()))?;
        self.hosts.retain(|host| host.spec.labid != labid);
        for booking in self.bookings.values_mut() {
            let of_host = |task: &Task| matches!(&task.work, Work::Hardware { host, .. } | Work::Network { host, .. } if host == labid);
            booking.tasks.retain(|task| !of_host(task));
            booking.uncreated.retain(|task| !of_host(task));
            if let Some(hosts) = &mut booking.hosts {
                hosts.retain(|host| host.labid != labid);
            }
        }
        Ok(())
    }

    /// Frees the hosts and forgets the job, without any cleanup.
    pub fn delete(&mut self, id: u32) -> Result<(), Refused> {
        self.bookings.remove(&id).ok_or(Refused::UnknownBooking(id))?;
        self.free_hosts_of(id);
        Ok(())
    }

    /// Turns the job of each ended booking into its cleanup, once. SSH and snapshot tasks stay as they are.
    pub fn booking_poll(&mut self) {
        self.poll(|_| true, true);
    }

    /// The first half of [`State::booking_poll`], which does all of it later.
    pub fn half_poll(&mut self) {
        self.poll(|work| matches!(work, Work::Hardware { .. }), false);
    }

    fn poll(&mut self, is_changed: fn(&Work) -> bool, complete: bool) {
        let now = self.now();
        for booking in self
            .bookings
            .values_mut()
            .filter(|booking| !booking.complete && booking.is_over(now))
        {
            booking.tasks.append(&mut booking.uncreated);
            for task in booking.tasks.iter_mut().filter(|task| is_changed(&task.work)) {
                match &mut task.work {
                    Work::Hardware { released, .. } | Work::Software { released, .. } => *released = true,
                    Work::Network { ports, .. } => ports.iter_mut().for_each(|(_, vlans)| vlans.clear()),
                    Work::Vpn { revoke, .. } => *revoke = true,
                    Work::Ssh { .. } | Work::Snapshot { .. } => continue,
                }
                task.status = 0;
            }
            booking.complete = complete;
        }
    }

    /// Frees the hosts of each ended job in which *either* no hardware or no network task is unfinished.
    ///
    /// The application means both, but its query asks for one of them. With `whole`, only jobs of which no task is
    /// under way.
    pub fn free_hosts(&mut self, whole: bool) {
        let finished = |booking: &Booking, task_type| {
            booking
                .tasks
                .iter()
                .filter(|task| task.task_type() == task_type)
                .all(|task| task.status == 200)
        };
        let freed: Vec<u32> = self
            .bookings
            .values()
            .filter(|booking| booking.complete && booking.hosts.is_some())
            .filter(|booking| !whole || booking.tasks.iter().all(|task| task.status >= 200))
            .filter(|booking| finished(booking, TaskType::Hardware) || finished(booking, TaskType::Network))
            .map(|booking| booking.id)
            .collect();
        for id in freed {
            if let Some(booking) = self.bookings.get_mut(&id) {
                booking.hosts = None;
            }
            self.free_hosts_of(id);
        }
    }

    /// After each post: tells the users once when all tasks are done, of a running booking and of an ended one.
    pub fn notify(&mut self, id: u32) -> Result<(), MailFailed> {
        let now = self.now();
        let Some(booking) = self.bookings.get_mut(&id) else {
            return Ok(());
        };
        if booking.tasks.iter().any(|task| task.status != 200) {
            return Ok(());
        }
        let over = booking.is_over(now);
        let told = if over {
            &mut booking.told_over
        } else {
            &mut booking.told_ready
        };
        // The mark is saved before the mail is sent, so a mail that failed is never tried again.
        if std::mem::replace(told, true) {
            return Ok(());
        }
        // The mail about the end lists the hosts, and fails when they were freed before.
        if self.mail_down || (over && booking.hosts.is_none()) {
            return Err(MailFailed);
        }
        let mails: Vec<Mail> = booking
            .collaborators
            .iter()
            .chain([&booking.owner])
            .filter_map(|user| self.users.get(user))
            .map(|user| Mail {
                to: user.email.clone(),
                subject: if over {
                    "Your Booking has Expired"
                } else {
                    "Your Booking is Ready"
                }
                .to_owned(),
                body: if over {
                    format!("Booking {id} has ended.")
                } else {
                    ready_text(booking, user.id)
                },
            })
            .collect();
        self.mails.extend(mails);
        Ok(())
    }

    /// The lab of the booking, or why it cannot be made.
    fn check(&self, spec: &BookingSpec) -> Result<String, Refused> {
        for user in spec.collaborators.iter().chain([&spec.owner]) {
            if !self.users.contains_key(user) {
                return Err(Refused::UnknownUser(*user));
            }
        }
        let mut lab: Option<&str> = None;
        for (index, wanted) in spec.hosts.iter().enumerate() {
            let labid = &wanted.labid;
            let host = self
                .host(labid)
                .ok_or_else(|| Refused::UnknownHost(labid.clone()))?;
            if spec.hosts[..index].iter().any(|other| other.labid == *labid) {
                return Err(Refused::HostTwice(labid.clone()));
            }
            if host.booking.is_some() {
                return Err(Refused::HostTaken(labid.clone()));
            }
            if !host.working {
                return Err(Refused::HostBroken(labid.clone()));
            }
            if *lab.get_or_insert(&host.lab) != host.lab {
                return Err(Refused::HostsOfTwoLabs(labid.clone()));
            }
            check_networks(host, wanted)?;
        }
        if let Some(host) = spec
            .snapshot
            .iter()
            .find(|host| spec.hosts.iter().all(|wanted| wanted.labid != **host))
        {
            return Err(Refused::HostOutsideBooking(host.clone()));
        }
        lab.map(str::to_owned).ok_or(Refused::NoHosts)
    }

    /// The tasks of a new booking; VPN tasks come before SSH tasks, and the owner after the collaborators.
    fn provisioning(&self, spec: &BookingSpec, lab: &str, id: u32) -> Vec<Task> {
        let hardware = spec.hosts.iter().map(|host| Work::Hardware {
            host: host.labid.clone(),
            image: host.image,
            hostname: host.hostname.clone(),
            released: false,
        });
        let network = spec.hosts.iter().map(|wanted| {
            let macs = self
                .host(&wanted.labid)
                .map_or(&[][..], |host| &host.spec.interfaces);
            let ports = macs
                .iter()
                .map(|mac| (mac.clone(), wanted.networks.get(mac).cloned().unwrap_or_default()));
            Work::Network {
                host: wanted.labid.clone(),
                ports: ports.collect(),
            }
        });
        let users = || spec.collaborators.iter().chain([&spec.owner]);
        let vpn = users().map(|user| Work::Vpn {
            user: *user,
            revoke: false,
        });
        let ssh = users().filter_map(|user| {
            let key = self.users.get(user)?.ssh_key.clone()?;
            Some(Work::Ssh {
                user: *user,
                key,
                hosts: spec.hosts.iter().map(|host| host.labid.clone()).collect(),
            })
        });
        let software = spec.opnfv.iter().map(|opnfv| Work::Software {
            opnfv: software_config(opnfv, &spec.hosts, lab, id),
            released: false,
        });
        hardware
            .chain(network)
            .chain(vpn)
            .chain(ssh)
            .chain(software)
            .map(Task::new)
            .collect()
    }

    fn snapshot_task(&mut self, host: &str) -> Task {
        self.last_image += 1;
        Task::new(Work::Snapshot {
            host: host.to_owned(),
            dashboard_id: self.last_image,
        })
    }

    fn running_booking_of(&mut self, labid: &str) -> Result<&mut Booking, Refused> {
        let now = self.now();
        let host = self
            .host(labid)
            .ok_or_else(|| Refused::UnknownHost(labid.to_owned()))?;
        let id = host.booking;
        id.and_then(|id| self.bookings.get_mut(&id))
            .filter(|booking| !booking.is_over(now))
            .ok_or_else(|| Refused::HostNotBooked(labid.to_owned()))
    }

    fn free_hosts_of(&mut self, id: u32) {
        for host in self.hosts.iter_mut().filter(|host| host.booking == Some(id)) {
            host.booking = None;
        }
    }
}

fn check_networks(host: &Host, wanted: &BookedHost) -> Result<(), Refused> {
    for (mac, vlans) in &wanted.networks {
        if !host.spec.interfaces.contains(mac) {
            return Err(Refused::UnknownInterface {
                host: wanted.labid.clone(),
                mac: mac.clone(),
            });
        }
        if let Some(vlan) = vlans.iter().find(|vlan| !(1..=4094).contains(&vlan.vlan_id)) {
            return Err(Refused::BadVlan(vlan.vlan_id));
        }
    }
    Ok(())
}

fn software_config(opnfv: &OpnfvSpec, hosts: &[BookedHost], lab: &str, id: u32) -> Value {
    let roles: Vec<Value> = hosts.iter().map(|host| json!({&host.labid: host.role})).collect();
    json!({
        "installer": opnfv.installer,
        "scenario": opnfv.scenario,
        "pdf": format!("/api/labs/{lab}/booking/{id}/pdf"),
        "idf": format!("/api/labs/{lab}/booking/{id}/idf"),
        "roles": roles,
    })
}

/// The lab's messages, without those that are other users' secrets.
fn ready_text(booking: &Booking, reader: i64) -> String {
    let mut text = format!("Booking {} is ready. The lab says:\n", booking.id);
    for (task_type, title) in TaskType::PAGE {
        let tasks = booking.tasks.iter().filter(|task| task.task_type() == task_type);
        for task in tasks.filter(|task| task.secret_of().is_none_or(|user| user == reader)) {
            text.push_str(&format!("{title}: {}\n", task.message));
        }
    }
    text
}
