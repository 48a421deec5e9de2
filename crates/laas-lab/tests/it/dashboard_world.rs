//! A dashboard on a port, and the people, hosts and bookings that stood when the captures began.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use laas_lab::dashboard::{
    BookedHost, BookingSpec, CaptureBooking, Dashboard, HostSpec, OpnfvSpec, Role, TaskState, TaskType,
    UserSpec, Vlan,
};
use reqwest::Method;
use reqwest::blocking::{Client, Response};
use serde_json::Value;
use time::macros::datetime;
use tokio::runtime::Runtime;

pub const TOKEN: &str = "labtoken0123456789abcdefghijklmnopqrstuvwxyzA";
pub const OTHER_TOKEN: &str = "othertoken0123456789abcdefghijklmnopqrstuvwxy";

/// A dashboard behind a TCP port.
pub struct Served {
    pub dashboard: Dashboard,
    pub client: Client,
    address: SocketAddr,
    // Ends the server with the test.
    _runtime: Runtime,
}

impl Served {
    pub fn new() -> Self {
        let dashboard = Dashboard::new("UNH_IOL", TOKEN, &[("OTHER_LAB", OTHER_TOKEN)]);
        let runtime = Runtime::new().unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let router = dashboard.router();
        runtime.spawn(async move { axum::serve(listener, router).await });
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            dashboard,
            client,
            address,
            _runtime: runtime,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn send(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Response {
        let body = serde_urlencoded::to_string(form).unwrap();
        let url = self.url(&format!("/api/labs/UNH_IOL/{path}"));
        self.client
            .request(method, url)
            .header("auth-token", TOKEN)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .unwrap()
    }

    pub fn get(&self, path: &str) -> Value {
        let response = self.send(Method::GET, path, &[]);
        assert_eq!(response.status(), 200, "{path}");
        response.json().unwrap()
    }

    /// Posts to the task whatever job it belongs to, and answers the HTTP status.
    pub fn post(&self, task: &TaskState, form: &[(&str, &str)]) -> u16 {
        self.send(Method::POST, &format!("jobs/1/{}", task.id), form)
            .status()
            .as_u16()
    }

    pub fn task(&self, job: u32, task_type: TaskType, subject: &str) -> TaskState {
        let tasks = self.dashboard.job(job).unwrap().tasks;
        tasks
            .into_iter()
            .find(|task| task.task_type == task_type && task.subject == subject)
            .unwrap()
    }

    /// The ids of the tasks in one of the three lists.
    pub fn listed(&self, list: &str) -> BTreeSet<String> {
        let jobs = self.get(&format!("jobs/{list}"));
        let payloads = jobs
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["payload"].as_object().unwrap());
        let groups = payloads.flat_map(|payload| payload.values());
        groups
            .flat_map(|group| group.as_object().unwrap().keys().cloned())
            .collect()
    }
}

pub fn full_capture_booking() -> CaptureBooking {
    let key = |name: &str, user: &str| {
        Some(format!(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyFor{name} {user}@example\n"
        ))
    };
    CaptureBooking {
        alice_key: key("Alice", "alice"),
        bob_key: key("Bob", "bob"),
        software: true,
        snapshot: true,
    }
}

pub fn with_capture_booking() -> Served {
    let served = Served::new();
    assert_eq!(served.dashboard.book_capture(full_capture_booking()), Ok(1));
    served
}

pub fn one_host(labid: &str) -> BookingSpec {
    let host = BookedHost {
        labid: labid.to_owned(),
        image: 17,
        hostname: "Host_1.lab".to_owned(),
        role: Role::default(),
        networks: [].into(),
    };
    BookingSpec {
        owner: 3,
        collaborators: vec![],
        hosts: vec![host],
        opnfv: None,
        snapshot: None,
    }
}

/// The users, hosts and bookings that stood when the captures began.
pub fn captured_world() -> Served {
    let served = Served::new();
    let dashboard = &served.dashboard;
    dashboard.set_time(datetime!(2026-11-23 14:53:41 UTC));
    for number in 1..=6 {
        let macs = [1, 2, 3].map(|port| format!("02:00:00:00:0{number}:0{port}"));
        let spec = HostSpec::new(&format!("pod{number}"), &[&macs[0], &macs[1], &macs[2]]);
        dashboard.add_host(spec).unwrap();
    }
    let arm = HostSpec::new("arm1", &["02:00:00:00:41:01", "02:00:00:00:41:02"]);
    dashboard
        .add_host(HostSpec {
            host_type: "gigabyte-arm".to_owned(),
            ..arm
        })
        .unwrap();
    let other = HostSpec::new("srv1", &["02:00:00:00:51:01"]);
    dashboard
        .add_host(HostSpec {
            lab: Some("OTHER_LAB".to_owned()),
            ..other
        })
        .unwrap();
    dashboard.add_user(UserSpec {
        id: 5,
        username: "carol".to_owned(),
        email: "carol@example.org".to_owned(),
        ssh_key: None,
    });
    dashboard.book_capture(full_capture_booking()).unwrap();
    for (labid, owner, image, hostname, mac, vlan) in [
        ("arm1", 5, 31, "quickhost", "02:00:00:00:41:01", 12),
        ("srv1", 4, 17, "solo", "02:00:00:00:51:01", 21),
    ] {
        let mut spec = BookingSpec {
            owner,
            ..one_host(labid)
        };
        let networks = [(mac.to_owned(), vec![Vlan::untagged(vlan)])].into();
        spec.hosts[0] = BookedHost {
            image,
            hostname: hostname.to_owned(),
            role: Role::Jumphost,
            networks,
            labid: labid.to_owned(),
        };
        spec.opnfv = (labid == "srv1").then(|| fuel([0, 0, 0, vlan]));
        dashboard.book(spec).unwrap();
    }
    served
}

/// Two hosts as in the observed bookings: on the first port the public and the second VLAN, on the second the others.
pub fn two_hosts(first: u8, owner: i64, collaborators: &[i64], vlans: [u16; 4]) -> BookingSpec {
    let [public, mgmt, admin, private] = vlans;
    let host = |number: u8, image, hostname: &str, role| BookedHost {
        labid: format!("pod{number}"),
        image,
        hostname: hostname.to_owned(),
        role,
        networks: [
            (
                format!("02:00:00:00:0{number}:01"),
                vec![Vlan::untagged(public), Vlan::tagged(mgmt)],
            ),
            (
                format!("02:00:00:00:0{number}:02"),
                vec![Vlan::untagged(admin), Vlan::tagged(private)],
            ),
        ]
        .into(),
    };
    BookingSpec {
        owner,
        collaborators: collaborators.to_vec(),
        hosts: vec![
            host(first, 17, "jump", Role::Jumphost),
            host(first + 1, 22, "compute1", Role::Compute),
        ],
        opnfv: Some(fuel([admin, mgmt, private, public])),
        snapshot: None,
    }
}

fn fuel([admin, mgmt, private, public]: [u16; 4]) -> OpnfvSpec {
    let scenario = "os-nosdn-nofeature-noha".to_owned();
    OpnfvSpec {
        installer: "Fuel".to_owned(),
        scenario,
        admin,
        mgmt,
        private,
        public,
    }
}
