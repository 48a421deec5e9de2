//! What a lab's users and operators do, over HTTP: for scripts and for
//! looking at a lab that runs.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dashboard::{BookingSpec, CaptureBooking, Refused, UserSpec};
use crate::faults::{Fault, FaultError, Peer};
use crate::lab::Lab;
use crate::machine::{Machine, Phase};

/// The control API of a lab.
///
/// - `GET /state`: jobs, hosts, FOG's tasks, the switches, mails, messages, faults
/// - `POST /users` `{id, username, email, ssh_key}`
/// - `POST /bookings`: a booking, or `{"capture": {…}}` for the observed one
/// - `POST /bookings/<id>/end`, `/cancel`, `/delete`
/// - `POST /hosts/<name>/reimage` `{image}`, `/snapshot`, `/power` `{on}`
/// - `POST /faults` `{peer, kind, skip, times}`, `DELETE /faults/<peer>`
/// - `POST /switch/reload`: both of them restart
pub fn router(lab: Arc<Lab>) -> Router {
    Router::new()
        .route("/state", get(state))
        .route("/users", post(add_user))
        .route("/bookings", post(book))
        .route("/bookings/{id}/{deed}", post(change_booking))
        .route("/hosts/{name}/{deed}", post(change_host))
        .route("/faults", post(set_fault))
        .route("/faults/{peer}", delete(clear_fault))
        .route("/switch/reload", post(reload))
        .with_state(lab)
}

type Handle = State<Arc<Lab>>;

#[derive(Deserialize)]
#[serde(untagged)]
enum Booking {
    Capture { capture: CaptureBooking },
    Spec(BookingSpec),
}

#[derive(Deserialize)]
struct User {
    id: i64,
    username: String,
    email: String,
    ssh_key: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Deed {
    image: Option<i64>,
    on: Option<bool>,
}

#[derive(Deserialize)]
struct WantedFault {
    peer: Peer,
    #[serde(flatten)]
    fault: Fault,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Fault(#[from] FaultError),
    #[error("there is no `{0}`")]
    Unknown(String),
    #[error("`{0}` is missing from the body")]
    Missing(&'static str),
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Missing(_) | Self::Fault(_) => StatusCode::BAD_REQUEST,
            Self::Refused(_) => StatusCode::CONFLICT,
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

type Answer = Result<Json<Value>, ControlError>;

fn done() -> Answer {
    Ok(Json(json!({"done": true})))
}

async fn state(State(lab): Handle) -> Json<Value> {
    Json(json!({
        "jobs": lab.dashboard().jobs(),
        "mails": lab.dashboard().mails(),
        "hosts": lab.machines().iter().map(|machine| host(&lab, machine)).collect::<Vec<_>>(),
        "fog": lab.fog().tasks(),
        "switch": lab.switch().counters(),
        "eos": lab.eos().counters(),
        "bot": lab.bot().messages(),
        "faults": lab.faults().all(),
    }))
}

fn host(lab: &Lab, machine: &Machine) -> Value {
    let spec = machine.host();
    let (phase, percent) = match machine.phase() {
        Phase::Off => ("off", None),
        Phase::Pxe => ("pxe", None),
        Phase::Imaging { percent } => ("imaging", Some(percent)),
        Phase::Booting => ("booting", None),
        Phase::Up => ("up", None),
        Phase::ShuttingDown => ("shutting_down", None),
        Phase::Dead => ("dead", None),
    };
    let system = machine.system().map(|system| {
        json!({
            "image": system.image, "os": system.os.id, "version": system.os.version,
            "generation": system.generation,
        })
    });
    let ports = spec.nics.iter().map(|nic| {
        let port = lab.port_state(&spec.name, &nic.mac).unwrap_or_default();
        json!({
            "mac": nic.mac, "switch": nic.socket.switch, "port": nic.socket.port, "native": port.native,
            "vlans": port.allowed.to_string(),
        })
    });
    let addresses = machine.addresses().into_iter().map(|address| {
        json!({
            "address": address.address, "vlan": address.vlan, "tagged": address.tagged,
            "mac": address.mac, "reachable": address.reachable,
        })
    });
    json!({
        "name": spec.name,
        "power": machine.power(),
        "phase": phase,
        "percent": percent,
        "system": system,
        "hostname": machine.hostname(),
        "dashboard": lab.dashboard().host(&spec.name),
        "ports": ports.collect::<Vec<_>>(),
        "addresses": addresses.collect::<Vec<_>>(),
    })
}

async fn add_user(State(lab): Handle, Json(user): Json<User>) -> Answer {
    let User {
        id,
        username,
        email,
        ssh_key,
    } = user;
    lab.dashboard().add_user(UserSpec {
        id,
        username,
        email,
        ssh_key,
    });
    done()
}

async fn book(State(lab): Handle, Json(booking): Json<Booking>) -> Answer {
    let id = match booking {
        Booking::Capture { capture } => lab.dashboard().book_capture(capture)?,
        Booking::Spec(spec) => lab.dashboard().book(spec)?,
    };
    Ok(Json(json!({"booking": id})))
}

async fn change_booking(State(lab): Handle, Path((id, deed)): Path<(u32, String)>) -> Answer {
    match deed.as_str() {
        "end" => lab.dashboard().end(id)?,
        "cancel" => lab.dashboard().cancel(id)?,
        "delete" => lab.dashboard().delete(id)?,
        _ => return Err(ControlError::Unknown(deed)),
    }
    done()
}

async fn change_host(
    State(lab): Handle,
    Path((name, deed)): Path<(String, String)>,
    body: Option<Json<Deed>>,
) -> Answer {
    let machine = lab.machine(&name);
    let machine = machine.ok_or_else(|| ControlError::Unknown(name.clone()))?;
    let Json(wanted) = body.unwrap_or_default();
    match deed.as_str() {
        "reimage" => {
            let image = wanted.image.ok_or(ControlError::Missing("image"))?;
            lab.dashboard().reimage(&name, image)?;
        }
        "snapshot" => {
            lab.dashboard().snapshot(&name)?;
        }
        "power" => machine.set_power(wanted.on.ok_or(ControlError::Missing("on"))?),
        _ => return Err(ControlError::Unknown(deed)),
    }
    done()
}

async fn set_fault(State(lab): Handle, Json(wanted): Json<WantedFault>) -> Answer {
    if let Peer::Bmc(host) | Peer::Host(host) = &wanted.peer {
        // A fault of a host that does not exist would wait for ever.
        lab.machine(host)
            .ok_or_else(|| ControlError::Unknown(host.clone()))?;
    }
    lab.faults().set(wanted.peer, wanted.fault)?;
    done()
}

async fn clear_fault(State(lab): Handle, Path(peer): Path<String>) -> Answer {
    lab.faults().clear(&peer.parse()?);
    done()
}

async fn reload(State(lab): Handle) -> Answer {
    lab.switch().reload();
    lab.eos().reload();
    done()
}
