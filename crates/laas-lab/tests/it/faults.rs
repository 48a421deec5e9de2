//! Faults as the clients of HTTP meet them.

use std::time::Duration;

use laas_lab::dashboard::CaptureBooking;
use laas_lab::faults::{Fault, Kind, Peer};
use laas_lab::inventory::SWITCH_USER;
use laas_lab::lab::{Lab, LabOptions};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

struct Stand {
    lab: Lab,
    client: Client,
}

/// What a client gets: a status and a body, or nothing.
#[derive(Debug)]
enum Got {
    Answer {
        status: StatusCode,
        html: bool,
        body: String,
    },
    Nothing {
        hung: bool,
    },
}

impl Stand {
    /// A lab of one host, and a client that waits no longer than it has to.
    async fn new() -> Self {
        let lab = Lab::start(LabOptions {
            hosts: 2,
            ..LabOptions::default()
        })
        .await
        .expect("a lab");
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(3))
            // On a connection that it has used before, the client may ask twice on its own.
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");
        Self { lab, client }
    }

    fn request(&self, peer: &Peer) -> RequestBuilder {
        let access = self.lab.access();
        match peer {
            Peer::Dashboard => self
                .client
                .get(format!("{}/api/labs/UNH_IOL/jobs/new", access.dashboard))
                .header("auth-token", &access.lab_token),
            Peer::Fog => self
                .client
                .get(format!("{}/host", access.fog))
                .header("fog-api-token", &access.fog_tokens[0])
                .header("fog-user-token", &access.fog_tokens[1]),
            Peer::Switch => self
                .client
                .post(format!("{}/ins", access.switch))
                .basic_auth(SWITCH_USER, Some(&access.switch_password))
                .json(&json!({"ins_api": {
                    "version": "1.0", "type": "cli_show", "chunk": "0", "sid": "1",
                    "input": "show version", "output_format": "json",
                }})),
            _ => self.client.post(format!("{}/notify", access.bot)).body("text"),
        }
    }

    async fn ask(&self, peer: &Peer) -> Got {
        let answer = match self.request(peer).send().await {
            Ok(answer) => answer,
            Err(error) => {
                return Got::Nothing {
                    hung: error.is_timeout(),
                };
            }
        };
        let status = answer.status();
        let kind = answer
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        let html = kind.is_some_and(|kind| kind.starts_with("text/html"));
        let body = answer.text().await.expect("a whole body");
        Got::Answer { status, html, body }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_peer_fails_in_every_way_it_can_and_recovers() {
    let stand = Stand::new().await;
    let is_json = |body: &str| serde_json::from_str::<Value>(body).is_ok();
    for peer in [Peer::Dashboard, Peer::Fog, Peer::Switch, Peer::Bot] {
        for kind in [
            Kind::Refuse,
            Kind::Hang,
            Kind::Http500,
            Kind::Html,
            Kind::CutJson,
            Kind::WrongCredentials,
        ] {
            if !peer.can(kind) {
                continue;
            }
            let fault = Fault {
                kind,
                skip: 1,
                times: Some(2),
            };
            stand
                .lab
                .faults()
                .set(peer.clone(), fault)
                .expect("a fault it can have");
            for turn in 0..4 {
                let got = stand.ask(&peer).await;
                let fails = (1..3).contains(&turn);
                let as_expected = match (&got, fails, kind) {
                    (
                        Got::Answer {
                            status,
                            html: false,
                            body,
                        },
                        false,
                        _,
                    ) => status.is_success() && is_json(body),
                    (Got::Nothing { hung }, true, Kind::Refuse) => !hung,
                    (Got::Nothing { hung }, true, Kind::Hang) => *hung,
                    (Got::Answer { status, html, .. }, true, Kind::Http500) => {
                        status.as_u16() == 500 && *html
                    }
                    (Got::Answer { status, html, .. }, true, Kind::Html) => status.is_success() && *html,
                    (Got::Answer { status, body, .. }, true, Kind::CutJson) => {
                        status.is_success() && !body.is_empty() && !is_json(body)
                    }
                    (Got::Answer { status, .. }, true, Kind::WrongCredentials) => {
                        matches!(status.as_u16(), 401 | 403)
                    }
                    _ => false,
                };
                assert!(as_expected, "{peer} {kind:?}, request {turn}: {got:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_dashboard_takes_a_post_and_forgets_it() {
    let stand = Stand::new().await;
    let dashboard = stand.lab.dashboard();
    let booking = dashboard
        .book_capture(CaptureBooking::default())
        .expect("free hosts");
    let task = dashboard.job(booking).expect("a job").tasks[0].id.clone();
    let access = stand.lab.access();
    let post = async || {
        let answer = stand
            .client
            .post(format!(
                "{}/api/labs/UNH_IOL/jobs/{booking}/{task}",
                access.dashboard
            ))
            .header("auth-token", &access.lab_token)
            .form(&[("status", "100")])
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        dashboard.job(booking).expect("a job").tasks[0].status
    };
    stand
        .lab
        .faults()
        .set(
            Peer::Dashboard,
            Fault {
                times: Some(1),
                ..Kind::Lie.into()
            },
        )
        .expect("it can");
    assert_eq!(post().await, 0);
    assert_eq!(post().await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_lasts_ends_when_it_is_cleared() {
    let stand = Stand::new().await;
    stand.lab.faults().set(Peer::Fog, Kind::Refuse).expect("FOG can");
    for _ in 0..3 {
        assert!(matches!(
            stand.ask(&Peer::Fog).await,
            Got::Nothing { hung: false }
        ));
    }
    stand.lab.faults().clear(&Peer::Fog);
    assert!(matches!(stand.ask(&Peer::Fog).await, Got::Answer { .. }));
}
