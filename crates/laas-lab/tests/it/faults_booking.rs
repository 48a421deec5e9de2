//! Bookings with each fault that each peer can have: what was not done is told with the peer's and the host's name,
//! what could be done is done, and nothing is told that is not true.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use laas_lab::dashboard::{BookedHost, BookingSpec, JobState, TaskState, TaskType, Vlan};
use laas_lab::faults::{Fault, Kind, Peer};
use laas_lab::machine::Machine;
use laas_lab::stack::is_over;
use serde_json::{Value, json};

use crate::house::{House, LIMIT, of_action, pack};

pub const EVERY_KIND: [Kind; 8] = [
    Kind::Refuse,
    Kind::Hang,
    Kind::Http500,
    Kind::Html,
    Kind::CutJson,
    Kind::WrongCredentials,
    Kind::Lie,
    Kind::LieDone,
];

/// A lab that gives up soon, with alice among its users.
async fn house(hosts: u8, timing: Value) -> House {
    let house = House::of_hosts(hosts, &pack(), json!({"timing": timing})).await;
    house.add_alice();
    house
}

/// Deadlines for what is never going to answer.
fn impatient() -> Value {
    json!({"call": 2, "retries": 1, "retry_delay": 0, "power": 4, "boot": 12, "stall": 4, "image": 20})
}

/// Alice books these hosts.
fn book(house: &House, numbers: impl IntoIterator<Item = u8>) -> u32 {
    let host = |number| BookedHost {
        labid: format!("pod{number}"),
        image: if number % 2 == 1 { 17 } else { 22 },
        hostname: format!("node{number}"),
        role: Default::default(),
        networks: BTreeMap::from([(
            format!("02:00:00:00:{number:02x}:01"),
            vec![Vlan::untagged(11), Vlan::tagged(103)],
        )]),
    };
    let hosts = numbers.into_iter().map(host).collect();
    let spec = BookingSpec {
        owner: house.tenants[0].id,
        collaborators: Vec::new(),
        hosts,
        opnfv: None,
        snapshot: None,
    };
    house.lab.dashboard().book(spec).unwrap()
}

/// What users are told a peer is.
fn words(peer: &Peer) -> &'static str {
    match peer {
        Peer::Dashboard => "the dashboard failed",
        Peer::Fog => "the imaging server failed",
        Peer::Switch => "the switch failed",
        Peer::Ldap => "the VPN directory failed",
        Peer::Bmc(_) => "the management controller failed",
        Peer::Host(_) => "the host itself failed",
        Peer::Bot => unreachable!("users have nothing to do with the bot"),
    }
}

fn of_host(job: &JobState, host: &str) -> [TaskState; 2] {
    let of = |task_type| {
        let mut tasks = job.tasks.iter();
        let task = tasks.find(|t| t.task_type == task_type && t.subject == host);
        task.unwrap_or_else(|| panic!("`{host}` has no {task_type:?} in {job:#?}"))
            .clone()
    };
    [of(TaskType::Hardware), of(TaskType::Network)]
}

/// The user's tasks: VPN and SSH.
fn of_user(job: &JobState) -> [TaskState; 2] {
    let of = |access: &str| {
        let mut tasks = job.tasks.iter();
        tasks.find(|t| t.delta["access_type"] == access).cloned().unwrap()
    };
    [of("vpn"), of("ssh")]
}

/// The task ended with 300 and a message that says who failed and about which host.
async fn assert_failed(house: &House, task: &TaskState, said: &[&str]) {
    let told = task.status == 300 && said.iter().all(|word| task.message.contains(word));
    assert!(told, "{said:?} in {task:#?}\n{}", house.story().await);
}

async fn assert_ok(house: &House, task: &TaskState) {
    assert_eq!(task.status, 200, "{task:#?}\n{}", house.story().await);
}

fn set(house: &House, peer: &Peer, fault: impl Into<Fault>) {
    house.lab.faults().set(peer.clone(), fault).unwrap();
}

/// Waits until no execution runs any more.
async fn quiet(house: &House) {
    let started = Instant::now();
    while !house.executions().await.iter().all(is_over) {
        assert!(started.elapsed() < LIMIT, "{}", house.story().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the job is as it is wanted.
async fn until(house: &House, job: u32, wanted: impl Fn(&JobState) -> bool) {
    let started = Instant::now();
    while !wanted(&house.lab.dashboard().job(job).unwrap()) {
        assert!(started.elapsed() < LIMIT, "{}", house.story().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_fails_ends_its_own_tasks_and_no_others() {
    let bmc = |number: u8| Peer::Bmc(format!("pod{number}"));
    let host = |number: u8| Peer::Host(format!("pod{number}"));
    let at_once = [
        (bmc(1), Kind::Refuse),
        (bmc(2), Kind::Hang),
        (bmc(3), Kind::WrongCredentials),
        (bmc(4), Kind::Lie),
        (host(5), Kind::Refuse),
        (host(6), Kind::Hang),
        (host(7), Kind::WrongCredentials),
    ];
    // When the image is on the disk and the user has been told so.
    let later = [(host(8), Kind::Refuse), (bmc(9), Kind::WrongCredentials)];
    let (healthy, hosts) = ("pod10", 10);
    let house = house(hosts, impatient()).await;
    // A BMC that does nothing is found out when there is something to do.
    house.lab.machine("pod4").unwrap().set_power(true);
    for (peer, kind) in &at_once {
        set(&house, peer, *kind);
    }
    let job = book(&house, 1..=hosts);
    until(&house, job, |job| {
        later.iter().all(|(peer, _)| {
            let (Peer::Bmc(host) | Peer::Host(host)) = peer else {
                unreachable!()
            };
            of_host(job, host)[0].status >= 200
        })
    })
    .await;
    for (peer, kind) in &later {
        set(&house, peer, *kind);
    }
    let job = house.settled(job).await;
    for (peer, _) in at_once.iter().chain(&later) {
        let (Peer::Bmc(host) | Peer::Host(host)) = peer else {
            unreachable!()
        };
        let [hardware, network] = of_host(&job, host);
        match at_once.iter().any(|(other, _)| other == peer) {
            true => assert_failed(&house, &hardware, &[words(peer), host]).await,
            false => assert_ok(&house, &hardware).await,
        }
        assert_failed(&house, &network, &[words(peer), host]).await;
    }
    for task in of_host(&job, healthy) {
        assert_ok(&house, &task).await;
    }
    let [vpn, ssh] = of_user(&job);
    assert_ok(&house, &vpn).await;
    assert_failed(&house, &ssh, &["the host itself failed", "could not be set up"]).await;
    for (peer, _) in at_once.iter().chain(&later) {
        house.lab.faults().clear(peer);
    }
    house.assert_true(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fog_fails_at_is_told_whatever_the_bot_and_the_directory_do() {
    fails_in_every_way(Peer::Fog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_switch_fails_at_is_told_whatever_the_bot_and_the_directory_do() {
    fails_in_every_way(Peer::Switch).await;
}

/// A booking for each fault of the peer, one after the other. As long as there are some left, the bot and the
/// directory have faults at the same time.
async fn fails_in_every_way(peer: Peer) {
    let kinds = |peer: &Peer| {
        let peer = peer.clone();
        EVERY_KIND.into_iter().filter(move |kind| peer.can(*kind))
    };
    let (mut bot, mut ldap) = (kinds(&Peer::Bot), kinds(&Peer::Ldap));
    let hosts = u8::try_from(kinds(&peer).count()).unwrap();
    let house = house(hosts, impatient()).await;
    for (number, kind) in (1..).zip(kinds(&peer)) {
        let bot_before = house.lab.bot().messages().len();
        let others = [(Peer::Bot, bot.next()), (Peer::Ldap, ldap.next())];
        let others = others.map(|(peer, kind)| kind.map(|kind| (peer, kind)));
        let [bot, ldap] = others.clone();
        set(&house, &peer, kind);
        for (other, kind) in others.iter().flatten() {
            set(&house, other, *kind);
        }
        let job = book(&house, [number]);
        let job = house.settled(job).await;

        let host = format!("pod{number}");
        // FOG's word is good for nothing here, but it is the host that gives it away.
        let by = match kind {
            Kind::LieDone => words(&Peer::Host(String::new())),
            _ => words(&peer),
        };
        for task in of_host(&job, &host) {
            assert_failed(&house, &task, &[by, &host]).await;
        }
        let [vpn, ssh] = of_user(&job);
        assert_failed(&house, &ssh, &["the host itself failed", &host]).await;
        match &ldap {
            Some((ldap, _)) => assert_failed(&house, &vpn, &[words(ldap)]).await,
            None => assert_ok(&house, &vpn).await,
        }
        let told = house.lab.bot().messages().len() > bot_before;
        assert!(
            told || bot.is_some(),
            "{peer} {kind:?}: the operators were not told\n{}",
            house.story().await
        );
        for (other, _) in others.iter().flatten() {
            house.lab.faults().clear(other);
        }
        house.lab.faults().clear(&peer);
        house.assert_true(&job).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for() {
    let kinds = [Kind::Refuse, Kind::Hang, Kind::Http500, Kind::CutJson, Kind::Lie];
    let mut timing = impatient();
    (timing["retries"], timing["retry_delay"]) = (json!(4), json!(1));
    let house = house(5, timing).await;
    for (number, kind) in (1..).zip(kinds) {
        let host = format!("pod{number}");
        let peers = [
            Peer::Fog,
            Peer::Switch,
            Peer::Ldap,
            Peer::Bmc(host.clone()),
            Peer::Host(host),
        ];
        // Of all lies only a post that was not taken is a trouble that passes.
        for peer in peers.iter().filter(|peer| peer.can(kind) && kind != Kind::Lie) {
            // Each time another part of the conversation is met. The directory's is short.
            let skip = match peer {
                Peer::Ldap => 0,
                _ => u32::from(number),
            };
            let fault = Fault {
                kind,
                skip,
                times: Some(2),
            };
            set(&house, peer, fault);
        }
        // The account of a BMC that was not taken is an error; what is posted when access is granted is posted again.
        let moment = match kind {
            Kind::Lie => "grant_user",
            _ => "bmc_user",
        };
        let before = of_action(&house.executions().await, moment).len();
        let job = book(&house, [number]);
        // The sensor would use up a number of faults: this one lasts for the time of a few posts.
        let started = Instant::now();
        while of_action(&house.executions().await, moment).len() == before {
            assert!(started.elapsed() < LIMIT, "{}", house.story().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        set(&house, &Peer::Dashboard, kind);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        house.lab.faults().clear(&Peer::Dashboard);
        let job = house.settled(job).await;
        for task in &job.tasks {
            assert_ok(&house, task).await;
        }
        house.assert_true(&job).await;
        let left = house.lab.faults().all();
        assert!(left.is_empty(), "{kind:?} was not met everywhere: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_that_comes_back_is_told_the_truth() {
    let house = house(2, impatient()).await;
    let statuses = |job| -> Vec<i32> {
        let job = house.lab.dashboard().job(job).unwrap();
        job.tasks.iter().map(|t| t.status).collect()
    };
    let under_way = |job: &JobState| job.tasks.iter().all(|t| t.status == 100);

    // Away until a workflow has given up on the host and wants to say so.
    let job = book(&house, [1]);
    until(&house, job, under_way).await;
    set(&house, &Peer::Dashboard, Kind::Refuse);
    let started = Instant::now();
    while of_action(&house.executions().await, "report_failure").is_empty() {
        assert!(started.elapsed() < LIMIT, "{}", house.story().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(statuses(job), [100; 4]);
    house.lab.faults().clear(&Peer::Dashboard);
    let job = house.settled(job).await;
    for task in of_host(&job, "pod1") {
        assert_failed(&house, &task, &[words(&Peer::Dashboard), "pod1"]).await;
    }
    house.assert_true(&job).await;

    // Away for so long that the whole workflow ends and nobody could be told.
    let job = book(&house, [2]);
    until(&house, job, under_way).await;
    set(&house, &Peer::Dashboard, Kind::WrongCredentials);
    quiet(&house).await;
    assert_eq!(statuses(job), [100; 4]);
    assert!(!house.lab.bot().messages().is_empty(), "the operators were told");
    house.lab.faults().clear(&Peer::Dashboard);
    let job = house.settled(job).await;
    for task in &job.tasks {
        assert_ok(&house, task).await;
    }
    house.assert_true(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_of_before_is_not_taken_for_a_new_one() {
    let house = house(3, impatient()).await;
    let job = book(&house, [2, 3]);
    let before = house.settled(job).await;
    house.assert_done(&before).await;
    // One that was there before the pack, and answers.
    let pod1 = house.lab.machine("pod1").unwrap();
    let (image, os) = (17, house.lab.fog().image_os(17).unwrap());
    pod1.install(image, os).unwrap();
    let manage = json!({"hosts": ["pod1"]});
    house.stack.run("laas.switch_vlan", manage).await.unwrap();
    pod1.set_power(true);
    let answers = |machine: &Machine| machine.addresses().iter().any(|address| address.reachable);
    assert!(pod1.wait(LIMIT, answers).await);
    // One of the pack whose tenant has taken the pack's mark away.
    let pod3 = house.lab.machine("pod3").unwrap();
    std::fs::remove_file(pod3.root().unwrap().join("etc/laas-request")).unwrap();

    set(&house, &Peer::Fog, Kind::LieDone);
    let first = book(&house, [1]);
    for (host, image) in [("pod2", 22), ("pod3", 17)] {
        house.lab.dashboard().reimage(host, image).unwrap();
    }
    let first = house.settled(first).await;
    let again = house.settled(job).await;
    for (job, host) in [(&first, "pod1"), (&again, "pod2"), (&again, "pod3")] {
        let generation = house.lab.machine(host).unwrap().system().unwrap().generation;
        assert_eq!(generation, 1, "FOG wrote nothing to `{host}`");
        let [hardware, network] = of_host(job, host);
        for task in [hardware, network] {
            assert_failed(&house, &task, &["the host itself failed", host, "still"]).await;
        }
    }
    house.lab.faults().clear(&Peer::Fog);
    house.assert_true(&first).await;
    house.assert_true(&again).await;
}
