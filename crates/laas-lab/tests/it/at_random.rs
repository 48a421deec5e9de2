//! Bookings, their ends and all that can happen between, in any order, while peers fail and come back and whatever runs
//! is killed: whenever all is quiet, nobody is left in, nothing is missing, and nothing untrue was said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use laas_lab::cabling::MANAGEMENT_VLAN;
use laas_lab::checks::{self, bmc_login, vpn_account};
use laas_lab::dashboard::{BookedHost, BookingSpec, JobState, TaskType, Vlan};
use laas_lab::faults::{Fault, Peer};
use laas_lab::fog::Version;
use laas_lab::inventory::BmcKind;
use laas_lab::inventory::Make;
use laas_lab::lab::LabOptions;
use laas_lab::machine::{Machine, Phase};
use laas_lab::stack::signal;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::faults_booking::EVERY_KIND;
use crate::house::{House, brief, pack};
use crate::kills::children;

const HOSTS: u8 = 3;
/// Without `LAAS_SEEDS`.
const SEEDS: &str = "1 2 3";
/// Without `LAAS_STEPS`: with each seed.
const STEPS: u32 = 2000;
/// Between two quiet moments.
const STRETCH: u32 = 400;
/// The longest pauses between two steps of a stretch, in milliseconds: one of these.
const PAUSES: [u64; 3] = [10, 40, 150];
/// Within which all is quiet once everything works again.
const QUIET: Duration = Duration::from_secs(400);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_nobody_is_left_in_and_nothing_untrue_is_said() {
    let of = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let steps: u32 = of("LAAS_STEPS", &STEPS.to_string()).parse().unwrap();
    let seeds = of("LAAS_SEEDS", SEEDS);
    let seeds = seeds.split_whitespace().map(|seed| seed.parse().unwrap());
    let mut runs: tokio::task::JoinSet<_> = seeds.map(|seed| soak(seed, steps)).collect();
    let mut failed = false;
    while let Some(run) = runs.join_next().await {
        match run {
            Ok(came_to) => println!("{came_to}"),
            // It has said why.
            Err(_) => failed = true,
        }
    }
    assert!(!failed, "a promise was broken");
}

/// Goes so many steps and checks all that was promised. What it came to.
async fn soak(seed: u64, steps: u32) -> String {
    let mut soak = Soak::start(seed).await;
    for step in 1..=steps {
        if step % STRETCH == STRETCH * 4 / 5 {
            soak.heal_all();
            (soak.storm, soak.pause) = (Storm::Over, PAUSES[2]);
        }
        soak.step().await;
        let pause = soak.dice.below(soak.pause);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if step % STRETCH == 0 || step == steps {
            soak.calm_down().await;
            soak.check().await;
            soak.pause = soak.dice.pick(PAUSES);
            soak.storm = soak.dice.pick([Storm::No, Storm::Yes, Storm::Yes]);
        }
    }
    assert!(soak.whole > 0 || steps < STEPS, "no booking was ever whole");
    format!(
        "seed {seed}: {steps} steps, {} bookings, of these {} seen whole and {} with a failure",
        soak.booked, soak.whole, soak.failed
    )
}

#[derive(Clone, Copy, PartialEq)]
enum Storm {
    /// Bookings come and go.
    No,
    /// And peers fail, and processes die.
    Yes,
    /// Everything works, and bookings stay.
    Over,
}

struct Soak {
    house: House,
    dice: Dice,
    seed: u64,
    /// The longest pause after a step, in milliseconds.
    pause: u64,
    storm: Storm,
    /// What was done since the last quiet moment.
    story: Vec<String>,
    /// The tasks that somebody else has queued in FOG, which stay.
    of_others: Vec<u32>,
    /// Bookings that were made, and how many of those that ran at a quiet moment were complete or not.
    booked: u32,
    whole: u32,
    failed: u32,
    started: Instant,
}

impl Soak {
    async fn start(seed: u64) -> Self {
        let options = LabOptions {
            hosts: HOSTS,
            bmcs: vec![BmcKind::Ipmi, BmcKind::Ilo5],
            cabled: |_, card| if card == 2 { Make::Eos } else { Make::Nxos },
            fog: if seed.is_multiple_of(2) {
                Version::V1_5
            } else {
                Version::V1_6
            },
            ..LabOptions::default()
        };
        let changes = json!({
            "timing": {"call": 3, "retries": 2, "retry_delay": 0, "power": 6, "boot": 10, "stall": 8, "image": 30, "wipe": 15, "heartbeat": 2},
            "release": {"disk": if seed.is_multiple_of(3) { "wipe" } else { "keep" }},
        });
        let house = House::of(options, &pack(), changes).await;
        for tenant in &house.tenants {
            house.add_user(tenant);
        }
        Self {
            house,
            dice: Dice::of(seed),
            seed,
            pause: PAUSES[1],
            storm: Storm::No,
            story: Vec::new(),
            of_others: Vec::new(),
            booked: 0,
            whole: 0,
            failed: 0,
            started: Instant::now(),
        }
    }

    async fn step(&mut self) {
        let what = match self.dice.below(if self.storm == Storm::Yes { 100 } else { 60 }) {
            0..=9 if self.storm != Storm::Over => self.end(),
            10..=12 if self.storm != Storm::Over => self.delete(),
            0..=33 => self.book(),
            34..=39 => self.reimage(),
            40..=43 => self.snapshot(),
            44..=46 => self.mistype().await,
            47..=59 => self.heal(),
            60..=82 => self.break_something(),
            83 => self.delete_a_host(),
            84..=89 => self.kill_an_action(true),
            90..=91 => self.kill_an_action(false),
            92..=94 => self.cut_the_power(),
            95 => {
                let down = self.dice.below(2) == 0;
                self.house.lab.dashboard().set_mail_down(down);
                format!("mail down: {down}")
            }
            96 => {
                let seed = self.dice.below(u64::MAX);
                self.house.lab.dashboard().shuffle(seed);
                "the lists are shuffled".to_owned()
            }
            97 => self.use_fog_by_hand(),
            98 => {
                let how = self.dice.pick([None, Some(false), Some(true)]);
                self.house.lab.dashboard().create_one_by_one(how);
                format!("tasks come one by one, the last ones first: {how:?}")
            }
            _ => {
                self.restart_the_engine().await;
                "the engine is killed".to_owned()
            }
        };
        self.story.push(what);
    }

    fn host(&mut self) -> String {
        format!("pod{}", 1 + self.dice.below(u64::from(HOSTS)))
    }

    /// One or two hosts of those that are free.
    fn book(&mut self) -> String {
        let (first, second) = (self.host(), self.host());
        let dashboard = self.house.lab.dashboard();
        let free = |host: &String| dashboard.host(host).is_some_and(|host| host.booking.is_none());
        let hosts: BTreeSet<_> = [first, second].into_iter().filter(free).collect();
        if hosts.is_empty() {
            return "nothing is free".to_owned();
        }
        let [alice, bob] = self.house.tenants.each_ref().map(|tenant| tenant.id);
        let (owner, other) = self.dice.pick([(alice, bob), (bob, alice)]);
        let collaborators = self.dice.pick([vec![], vec![other]]);
        let snapshot = (self.dice.below(6) == 0).then(|| self.dice.pick(hosts.clone()));
        let hosts: Vec<_> = hosts.into_iter().map(|host| self.booked_host(host)).collect();
        let asked = format!("{hosts:?}");
        let spec = BookingSpec {
            owner,
            collaborators,
            hosts,
            opnfv: None,
            snapshot,
        };
        let job = self.house.lab.dashboard().book(spec).unwrap();
        self.booked += 1;
        format!("job {job} is booked: {asked}")
    }

    fn booked_host(&mut self, labid: String) -> BookedHost {
        let number = labid.trim_start_matches("pod").to_owned();
        let mut networks = BTreeMap::new();
        for card in 1..=2 {
            let mut vlans = Vec::new();
            if card == 1 {
                vlans.push(Vlan::untagged(11 + self.dice.below(3) as u16));
            }
            for _ in 0..self.dice.below(3) {
                let vlan = 100 + self.dice.below(20) as u16;
                if vlans.iter().all(|v: &Vlan| v.vlan_id != vlan) {
                    vlans.push(Vlan::tagged(vlan));
                }
            }
            networks.insert(format!("02:00:00:00:0{number}:0{card}"), vlans);
        }
        BookedHost {
            hostname: format!("node{}", self.dice.below(1000)),
            labid,
            // A snapshot whose number nobody has entered yet.
            image: self.dice.pick([17, 17, 17, 22, 22, 22, -1]),
            role: Default::default(),
            networks,
        }
    }

    /// A job whose booking runs.
    fn running_job(&mut self) -> Option<u32> {
        let jobs = self.running();
        (!jobs.is_empty()).then(|| self.dice.pick(jobs).job)
    }

    fn end(&mut self) -> String {
        let Some(job) = self.running_job() else {
            return "nothing to end".to_owned();
        };
        let dashboard = self.house.lab.dashboard();
        let done = match self.dice.below(2) {
            0 => dashboard.end(job),
            _ => dashboard.cancel(job),
        };
        format!("job {job} ends: {done:?}")
    }

    fn delete(&mut self) -> String {
        let jobs = self.house.lab.dashboard().jobs();
        if jobs.is_empty() {
            return "nothing to delete".to_owned();
        }
        let job = self.dice.pick(jobs).job;
        let done = self.house.lab.dashboard().delete(job);
        format!("job {job} is deleted: {done:?}")
    }

    /// An administrator takes a host out of the dashboard, at most one, so that there is something to book.
    fn delete_a_host(&mut self) -> String {
        let dashboard = self.house.lab.dashboard();
        if (1..=HOSTS).any(|number| dashboard.host(&format!("pod{number}")).is_none()) {
            return "a host is deleted already".to_owned();
        }
        let host = self.host();
        let done = self.house.lab.dashboard().delete_host(&host);
        format!("{host} is deleted: {done:?}")
    }

    fn reimage(&mut self) -> String {
        let (host, image) = (self.host(), self.dice.pick([17, 22]));
        let done = self.house.lab.dashboard().reimage(&host, image);
        format!("{host} is imaged anew with {image}: {done:?}")
    }

    fn snapshot(&mut self) -> String {
        let host = self.host();
        let done = self.house.lab.dashboard().snapshot(&host);
        format!("a snapshot of {host}: {done:?}")
    }

    fn break_something(&mut self) -> String {
        let host = self.host();
        let peer = self.dice.pick([
            Peer::Dashboard,
            Peer::Fog,
            Peer::Switch,
            Peer::Ldap,
            Peer::Bot,
            Peer::Bmc(host.clone()),
            Peer::Host(host),
        ]);
        let kind = self.dice.pick(EVERY_KIND);
        let fault = Fault {
            kind,
            skip: self.dice.below(8) as u32,
            times: (self.dice.below(3) > 0).then(|| 1 + self.dice.below(4) as u32),
        };
        let done = self.house.lab.faults().set(peer.clone(), fault);
        format!("{peer} fails: {fault:?} {done:?}")
    }

    /// Somebody means to image a whole room at once, which no booking may end.
    fn use_fog_by_hand(&mut self) -> String {
        const MULTICAST: u32 = 8;
        let host = self.host();
        let task = self.house.lab.fog().queue_task(&host, MULTICAST, "Multi-Cast");
        self.of_others.extend(task);
        format!("somebody else queues FOG's task {task:?} for {host}")
    }

    fn heal(&mut self) -> String {
        let faults: Vec<_> = self.house.lab.faults().all().into_keys().collect();
        if faults.is_empty() {
            return "nothing to heal".to_owned();
        }
        let peer = self.dice.pick(faults);
        self.house.lab.faults().clear(&peer);
        format!("{peer} is well")
    }

    /// StackStorm does not notice it if the action runner is killed as well.
    fn kill_an_action(&mut self, noticed: bool) -> String {
        let engine = self.house.stack.engine_pid().unwrap();
        let mut running = children(engine);
        // The engine gives up a sensor that keeps dying.
        running.retain(|(_, action)| action != "dashboard_sensor");
        if running.is_empty() {
            return "nothing to kill".to_owned();
        }
        let (process, action) = self.dice.pick(running);
        if noticed {
            signal(process, libc::SIGKILL);
            return format!("{action} is killed");
        }
        self.house.stack.kill_unnoticed(process).unwrap();
        format!("{action} is killed, and the engine does not notice")
    }

    /// An operator mistypes an image, or, while bookings stay, means another host than one that is booked. Nobody waits
    /// for the end: that nothing came of it is seen when all is quiet.
    async fn mistype(&mut self) -> String {
        let booked = self.running().into_iter().filter_map(|job| job.hosts).flatten();
        let booked: BTreeSet<_> = booked.collect();
        let (host, image) = match self.storm == Storm::Over && !booked.is_empty() {
            true => (self.dice.pick(booked), "ubuntu-20.04"),
            false => (self.host(), "ubunto"),
        };
        let execution = self.dice.pick([
            json!({"action": "laas.image_host", "parameters": {"host": host, "name": image}}),
            json!({"action": "laas.update_image", "parameters": {"host": host, "name": image, "into": "web"}}),
        ]);
        let told = format!("by mistake: {execution}");
        let method = reqwest::Method::POST;
        let begun = self.house.stack.call(method, "executions", Some(execution)).await;
        format!("{told}: {}", begun.is_ok())
    }

    fn cut_the_power(&mut self) -> String {
        let host = self.host();
        let machine = self.house.lab.machine(&host).unwrap();
        if !machine.power() {
            return format!("{host} has no power to cut");
        }
        machine.set_power(false);
        machine.set_power(true);
        format!("{host}'s power is cut")
    }

    async fn restart_the_engine(&mut self) {
        self.house.stack.kill_engine().await.unwrap();
        self.house.stack.start_engine(true).await.unwrap();
    }

    fn running(&self) -> Vec<JobState> {
        let mut jobs = self.house.lab.dashboard().jobs();
        jobs.retain(|job| !job.complete);
        jobs
    }

    fn heal_all(&mut self) {
        for peer in self.house.lab.faults().all().into_keys() {
            self.house.lab.faults().clear(&peer);
        }
        self.house.lab.dashboard().set_mail_down(false);
        self.house.lab.dashboard().create_one_by_one(None);
        let tasks = self.house.lab.fog().tasks();
        for task in std::mem::take(&mut self.of_others) {
            let queued = tasks.iter().any(|t| t.id == task && t.state == 1);
            assert!(
                queued,
                "LAAS_SEEDS={}: FOG's task {task} was somebody else's",
                self.seed
            );
            self.house.lab.fog().cancel_task(task);
        }
        self.story.push("everything is well".to_owned());
    }

    /// Waits for the end of all that goes on.
    async fn calm_down(&mut self) {
        self.heal_all();
        // What was cancelled has ended.
        self.house.lab.dashboard().tick();
        // A sensor that was refused for long asks seldom.
        self.restart_the_engine().await;
        let started = Instant::now();
        while let Some(why) = self.goes_on().await {
            if started.elapsed() > QUIET {
                self.fail(&format!("it never gets quiet: {why}")).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What is not at its end.
    async fn goes_on(&self) -> Option<String> {
        for status in ["requested", "scheduled", "delayed", "running", "canceling"] {
            let path = format!("executions?status={status}&limit=1&include_attributes=parameters");
            let found = self.call(&path).await;
            if found.as_array().is_none_or(|found| !found.is_empty()) {
                return Some(format!("{status}: {found}"));
            }
        }
        for job in self.house.lab.dashboard().jobs() {
            if job.tasks.iter().any(|task| task.status < 200) || job.complete && job.hosts.is_some() {
                return Some(format!("job {}: {:?}", job.job, brief(&job)));
            }
        }
        let tasks = self.running().into_iter().flat_map(|job| job.tasks);
        let running: BTreeSet<_> = tasks.map(|task| task.id).collect();
        for key in self.keys("task_").await {
            if !running.contains(key.trim_start_matches("task_")) {
                return Some(format!("{key} is left"));
            }
        }
        let at_rest = |machine: &&Machine| matches!(machine.phase(), Phase::Off | Phase::Up);
        let machine = self.house.lab.machines().iter().find(|m| !at_rest(m))?;
        Some(format!("{}: {:?}", machine.host().name, machine.phase()))
    }

    async fn call(&self, path: &str) -> Value {
        self.house
            .stack
            .call(reqwest::Method::GET, path, None)
            .await
            .unwrap()
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.call(&format!("keys?limit=-1&prefix={prefix}")).await;
        let names = keys.as_array().into_iter().flatten();
        names
            .filter_map(|key| Some(key["name"].as_str()?.to_owned()))
            .collect()
    }

    /// All that is promised of a quiet moment.
    async fn check(&mut self) {
        let running = self.running();
        let mut wrong = Vec::new();
        let whole = self.whole;
        for job in &running {
            let done = checks::of_job(&self.house.lab, job, &self.house.tenants).await;
            wrong.extend(
                done.into_iter()
                    .filter(|c| !c.ok)
                    .map(|check| format!("job {}: {check:?}", job.job)),
            );
            match job.tasks.iter().all(|task| task.status == 200) {
                true => self.whole += 1,
                false => self.failed += 1,
            }
        }
        for machine in self.house.lab.machines() {
            let host = &machine.host().name;
            let tenant = running
                .iter()
                .find(|job| job.hosts.iter().flatten().any(|h| h == host));
            wrong.extend(self.host_is_clean(machine, tenant).await);
        }
        wrong.extend(self.directory_is_clean(&running).await);
        wrong.extend(self.datastore_is_clean(&running).await);
        if !wrong.is_empty() {
            self.fail(&format!("{wrong:#?}")).await;
        }
        println!(
            "seed {}: {} steps in {} s, {} bookings run, {} of them whole",
            self.seed,
            self.story.len(),
            self.started.elapsed().as_secs(),
            running.len(),
            self.whole - whole
        );
        self.started = Instant::now();
        self.story.clear();
    }

    /// The host has nothing of another booking than `job`, in which it is now.
    async fn host_is_clean(&self, machine: &Machine, job: Option<&JobState>) -> Vec<String> {
        let host = &machine.host().name;
        let mut wrong = Vec::new();
        let networks = job.into_iter().flat_map(|job| &job.tasks);
        let networks = networks.filter(|task| task.task_type == TaskType::Network && task.subject == *host);
        let networks: Vec<_> = networks.map(|task| &task.delta[host]).collect();
        for nic in &machine.host().nics {
            let port = self.house.lab.port_state(host, &nic.mac).unwrap_or_default();
            let own = |vlan: u16| {
                let on_card = networks.iter().flat_map(|networks| networks[&nic.mac].as_array());
                on_card.flatten().any(|network| network["vlan_id"] == vlan)
            };
            // A host whose networks failed is on the management network, for the operator.
            let allowed = |vlan: u16| own(vlan) || job.is_some() && vlan == MANAGEMENT_VLAN;
            let foreign: Vec<_> = port.allowed.iter().filter(|vlan| !allowed(*vlan)).collect();
            if !foreign.is_empty() {
                wrong.push(format!("{host} {} carries {foreign:?}", nic.mac));
            }
        }
        let keys = machine
            .root()
            .map(|root| root.join("home/opnfv/.ssh/authorized_keys"));
        let keys = keys
            .and_then(|file| std::fs::read_to_string(file).ok())
            .unwrap_or_default();
        for tenant in &self.house.tenants {
            let key = tenant.public_key().unwrap();
            let key = key.split(' ').nth(1).unwrap();
            let lets_in = keys.lines().any(|line| line.contains(key));
            let invited = job.is_some_and(|job| {
                let mut tasks = job.tasks.iter();
                tasks.any(|task| task.delta["access_type"] == "ssh" && task.subject == tenant.id.to_string())
            });
            if lets_in && !invited {
                wrong.push(format!("{host} lets {} in", tenant.name));
            }
        }
        if job.is_none() {
            if machine.phase() != Phase::Off {
                wrong.push(format!("{host} is {:?}", machine.phase()));
            }
            if let Some(account) = self.house.lab.dashboard().bmc(host)
                && bmc_login(&self.house.lab, host, &account).await.is_ok()
            {
                wrong.push(format!("the BMC of {host} lets its tenant in"));
            }
        }
        wrong
    }

    /// Every VPN account that anybody was ever told of is gone with its booking.
    async fn directory_is_clean(&self, running: &[JobState]) -> Vec<String> {
        let mut wrong = Vec::new();
        let tasks = running.iter().flat_map(|job| &job.tasks);
        let now: BTreeSet<_> = tasks.map(|task| vpn_account(&task.message).0).collect();
        let posts = self.house.lab.dashboard().posts().into_iter();
        let told: BTreeSet<_> = posts
            .filter_map(|post| Some(vpn_account(&post.message?)))
            .collect();
        for (uid, password) in told {
            if !uid.is_empty()
                && !now.contains(&uid)
                && self.house.lab.slapd().bind(&uid, &password).await.unwrap()
            {
                wrong.push(format!("the directory lets {uid} in"));
            }
        }
        let people = self.house.lab.slapd().people().await.unwrap();
        let people = people.lines().filter(|line| line.starts_with("dn:")).count();
        let invited = running.iter().flat_map(|job| &job.tasks);
        let invited = invited.filter(|task| task.delta["access_type"] == "vpn").count();
        if people > invited {
            wrong.push(format!("{people} VPN accounts for {invited}"));
        }
        wrong
    }

    async fn datastore_is_clean(&self, running: &[JobState]) -> Vec<String> {
        let mut wrong = Vec::new();
        for prefix in checks::OF_TENANTS {
            let keys = self.keys(prefix).await;
            let tasks = running.iter().flat_map(|job| &job.tasks);
            let at_most = match prefix {
                "bmc_user_" => tasks.filter(|task| task.task_type == TaskType::Hardware).count(),
                "vpn_" => tasks.filter(|task| task.delta["access_type"] == "vpn").count(),
                _ => tasks.count(),
            };
            if keys.len() > at_most {
                wrong.push(format!("{keys:?} for {at_most} tasks"));
            }
        }
        wrong
    }

    /// Leaves all that is known in a file, since it is long.
    async fn fail(&self, why: &str) -> ! {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("at_random-{}.txt", self.seed));
        let steps = self.story.join("\n");
        let story = self.house.story().await;
        let jobs = self.house.lab.dashboard().jobs();
        let all = format!("{why}\n\nsince the last quiet moment:\n{steps}\n\n{jobs:#?}\n\n{story}\n");
        std::fs::write(&file, all).unwrap();
        panic!(
            "LAAS_SEEDS={}: {why}\nthe whole story: {}",
            self.seed,
            file.display()
        );
    }
}
