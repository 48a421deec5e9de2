//! What the dashboard's administrators and users do, as methods.

use std::ops::{Range, RangeInclusive};

use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Dashboard;
use super::spec::{BookedHost, BookingSpec, HostSpec, OpnfvSpec, Refused, Role, UserSpec, Vlan};
use super::state::{Downtime, Host, Shuffle};
use super::task::Work;
use super::view::{BmcAccount, HostState, JobState, Mail, PageRow, Post};

/// The booking that was observed on the real dashboard: users 3 (alice) and 4 (bob), hosts `pod1` and `pod2`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CaptureBooking {
    /// The public key file of alice, the owner.
    pub alice_key: Option<String>,
    /// The public key file of bob, the collaborator.
    pub bob_key: Option<String>,
    /// With an OPNFV installation, hence a software task.
    #[serde(default)]
    pub software: bool,
    /// With a snapshot of `pod1`.
    #[serde(default)]
    pub snapshot: bool,
}

impl Dashboard {
    /// Registers a host; its lab id must be new.
    pub fn add_host(&self, spec: HostSpec) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.host(&spec.labid).is_some() {
            return Err(Refused::KnownHost(spec.labid));
        }
        let wanted = spec.lab.as_ref();
        let lab = match state
            .labs
            .iter()
            .find(|lab| wanted.is_none_or(|wanted| *wanted == lab.name))
        {
            Some(lab) => lab.name.clone(),
            None => return Err(Refused::UnknownLab(wanted.cloned().unwrap_or_default())),
        };
        state.hosts.push(Host {
            spec,
            lab,
            working: true,
            bmc: None,
            booking: None,
        });
        Ok(())
    }

    /// Adds a user, or changes the one with that id; tasks made before keep the old key.
    pub fn add_user(&self, spec: UserSpec) {
        self.lock().users.insert(spec.id, spec);
    }

    /// Books hosts for a week; the answer is the number of the booking and of its job.
    pub fn book(&self, spec: BookingSpec) -> Result<u32, Refused> {
        self.lock().book(spec)
    }

    /// Makes the observed booking: alice and bob are added with these keys, the two hosts if they are missing.
    pub fn book_capture(&self, wanted: CaptureBooking) -> Result<u32, Refused> {
        for (id, username, ssh_key) in [(3, "alice", wanted.alice_key), (4, "bob", wanted.bob_key)] {
            let email = format!("{username}@example.org");
            self.add_user(UserSpec {
                id,
                username: username.to_owned(),
                email,
                ssh_key,
            });
        }
        let mut hosts = Vec::new();
        for (number, image, hostname, role) in [
            (1, 17, "jump", Role::Jumphost),
            (2, 22, "compute1", Role::Compute),
        ] {
            let labid = format!("pod{number}");
            let macs = [1, 2, 3].map(|port| format!("02:00:00:00:0{number}:0{port}"));
            if self.host(&labid).is_none() {
                self.add_host(HostSpec::new(&labid, &[&macs[0], &macs[1], &macs[2]]))?;
            }
            let [first, second, _] = macs;
            let networks = [
                (first, vec![Vlan::untagged(11), Vlan::tagged(103)]),
                (second, vec![Vlan::untagged(104), Vlan::tagged(105)]),
            ];
            hosts.push(BookedHost {
                labid,
                image,
                hostname: hostname.to_owned(),
                role,
                networks: networks.into(),
            });
        }
        let opnfv = wanted.software.then(|| OpnfvSpec {
            installer: "Fuel".to_owned(),
            scenario: "os-nosdn-nofeature-noha".to_owned(),
            admin: 104,
            mgmt: 103,
            private: 105,
            public: 11,
        });
        let snapshot = wanted.snapshot.then(|| "pod1".to_owned());
        self.book(BookingSpec {
            owner: 3,
            collaborators: vec![4],
            hosts,
            opnfv,
            snapshot,
        })
    }

    /// The lowest VLAN of `range` that no running booking has on an interface.
    pub fn free_vlan(&self, range: RangeInclusive<u16>) -> Option<u16> {
        let state = self.lock();
        let tasks = state.bookings.values().flat_map(|booking| &booking.tasks);
        let ports = tasks.filter_map(|task| match &task.work {
            Work::Network { ports, .. } => Some(ports),
            _ => None,
        });
        let taken: Vec<u16> = ports
            .flatten()
            .flat_map(|(_, vlans)| vlans)
            .map(|vlan| vlan.vlan_id)
            .collect();
        range.into_iter().find(|vlan| !taken.contains(vlan))
    }

    /// The booking's time is up now; its job changes with the next [`booking_poll`](Self::booking_poll).
    pub fn cancel(&self, booking: u32) -> Result<(), Refused> {
        self.lock().cancel(booking)
    }

    /// The booking's time is up now, and the minute's poll has seen it.
    pub fn end(&self, booking: u32) -> Result<(), Refused> {
        let mut state = self.lock();
        state.cancel(booking)?;
        state.booking_poll();
        Ok(())
    }

    /// Removes the booking with its job, tasks and all; its hosts are free at once, with no cleanup.
    pub fn delete(&self, booking: u32) -> Result<(), Refused> {
        self.lock().delete(booking)
    }

    /// An administrator deletes the host: its hardware and network tasks vanish from its booking's job, which runs on.
    pub fn delete_host(&self, labid: &str) -> Result<(), Refused> {
        self.lock().delete_host(labid)
    }

    /// From now on the tasks of new bookings are created one by one, one whenever a list is read, the last ones first
    /// if `backwards`; or all at once again.
    pub fn create_one_by_one(&self, how: Option<bool>) {
        self.lock().one_by_one = how;
    }

    /// The minute's poll has changed the hardware tasks of each booking that is over, and nothing else yet.
    pub fn half_poll(&self) {
        self.lock().half_poll();
    }

    /// A user's Change/Reset of a booked host.
    pub fn reimage(&self, host: &str, image: i64) -> Result<(), Refused> {
        self.lock().reimage(host, image)
    }

    /// A user asks for an image of a booked host; the answer is the `dashboard_id` in the task.
    pub fn snapshot(&self, host: &str) -> Result<i64, Refused> {
        self.lock().snapshot(host)
    }

    /// What the application does each minute: first the poll, then the freeing.
    pub fn tick(&self) {
        let mut state = self.lock();
        state.booking_poll();
        state.free_hosts(false);
    }

    /// As [`tick`](Self::tick), for a timer that fires between any two posts. The application's fires so seldom that it
    /// hardly ever meets the end of a job in the middle, where it frees the hosts and loses the mail: this one waits for
    /// the last task.
    pub fn tick_between_jobs(&self) {
        let mut state = self.lock();
        state.booking_poll();
        state.free_hosts(true);
    }

    /// Turns the jobs of ended bookings into their cleanup.
    pub fn booking_poll(&self) {
        self.lock().booking_poll();
    }

    /// Frees the hosts of ended bookings whose cleanup is done, as far as the application can tell.
    pub fn free_hosts(&self) {
        self.lock().free_hosts(false);
    }

    /// Announces a downtime of the dashboard's first lab, or calls it off; job lists do not change.
    pub fn set_downtime(&self, period: Option<Range<OffsetDateTime>>) {
        let downtime = period.map(|Range { start, end }| Downtime {
            start,
            end,
            description: String::new(),
        });
        if let Some(lab) = self.lock().labs.first_mut() {
            lab.downtime = downtime;
        }
    }

    /// While the mail server is down, a POST that completes a job answers 500 although it is saved.
    pub fn set_mail_down(&self, down: bool) {
        self.lock().mail_down = down;
    }

    /// A dashboard of 2022 answers `jobs/done` with 500 for ever once a host in it has lost its configuration.
    pub fn set_done_broken(&self, broken: bool) {
        self.lock().done_broken = broken;
    }

    /// Puts the dashboard's clock to `now`; it goes on from there.
    pub fn set_time(&self, now: OffsetDateTime) {
        let mut state = self.lock();
        state.ahead = now - OffsetDateTime::now_utc();
    }

    /// Lists jobs and tasks in changing order from now on, the same for the same seed.
    pub fn shuffle(&self, seed: u64) {
        self.lock().shuffle = Some(Shuffle::new(seed));
    }

    /// Asks the lab, as the application of 2022 does, who uses its VPN: by a task of the booking's job, or of a job that
    /// has nothing else. It can't be read or posted to, and stays new.
    pub fn ask_for_active_users(&self, booking: Option<u32>) {
        let mut state = self.lock();
        let job = booking.unwrap_or_else(|| {
            state.last_booking += 1;
            state.last_booking
        });
        state.active_users.insert(job, Uuid::new_v4().to_string());
    }

    /// The job with that number, if it is there.
    pub fn job(&self, job: u32) -> Option<JobState> {
        self.lock().job(job)
    }

    /// All jobs of all labs, oldest first.
    pub fn jobs(&self) -> Vec<JobState> {
        self.lock().jobs()
    }

    /// The host with that lab id, if it is known.
    pub fn host(&self, labid: &str) -> Option<HostState> {
        self.lock().host(labid).map(|host| HostState {
            working: host.working,
            booking: host.booking,
        })
    }

    /// The BMC account that the lab has reported for the host.
    pub fn bmc(&self, labid: &str) -> Option<BmcAccount> {
        let state = self.lock();
        let bmc = state.host(labid)?.bmc.as_ref()?;
        Some(BmcAccount {
            address: bmc.address.clone(),
            user: bmc.user.clone(),
            password: bmc.password.clone(),
        })
    }

    /// The progress page of a booking as the user `reader` sees it.
    pub fn page(&self, booking: u32, reader: i64) -> Result<Vec<PageRow>, Refused> {
        self.lock().page(booking, reader)
    }

    /// Every mail sent so far, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.lock().mails.clone()
    }

    /// Every POST to a task received so far, oldest first, also those that were refused.
    pub fn posts(&self) -> Vec<Post> {
        self.lock().posts.clone()
    }
}
