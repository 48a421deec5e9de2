//! `cargo xtask bench`: what an action, a booking, a switch's ports and the engine cost. Speed is measured here and asserted nowhere.

mod action;
mod booking;
mod engine;
mod network;
mod process;
mod table;

use laas_lab::dashboard::{BookedHost, BookingSpec, UserSpec, Vlan};
use laas_lab::inventory::HostSpec;
use laas_lab::lab::Lab;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum What {
    /// Each executable as it does its work against the lab: CPU, memory, size.
    Action,
    /// Bookings of 1, 10 and 50 hosts against a lab that takes no time.
    Booking,
    /// 200 workflows of ten steps at once.
    Engine,
    /// 1, 10 and 100 ports of a Nexus and of an Arista switch: calls, saves, time.
    Network,
}

pub fn run(root: &Path, what: What, json: bool) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        return Err(again_as_release(root));
    }
    // Both, as the demo does it: built alone, the engine's libraries have other features and are built once more.
    let build_engine = "build --quiet --locked --release -p laas-engine -p laas-lab";
    build(root, "cargo", &build_engine.split(' ').collect::<Vec<_>>())?;
    let runtime = tokio::runtime::Runtime::new()?;
    match what {
        What::Action => {
            build(root, "scripts/stage-pack.sh", &["release"])?;
            runtime.block_on(action::run(root, json))
        }
        What::Booking => {
            build(root, "scripts/stage-pack.sh", &["release"])?;
            runtime.block_on(booking::run(root, json))
        }
        What::Engine => runtime.block_on(engine::run(root, json)),
        What::Network => {
            build(root, "scripts/stage-pack.sh", &["release"])?;
            runtime.block_on(network::run(root, json))
        }
    }
}

/// The lab lives in this process; built for debugging it would take the time that is measured.
fn again_as_release(root: &Path) -> anyhow::Error {
    let error = Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "xtask",
            "--",
        ])
        .args(std::env::args_os().skip(1))
        .current_dir(root)
        .exec();
    anyhow::Error::from(error).context("can't run `cargo`")
}

fn build(root: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    crate::succeed(Command::new(program).args(arguments).current_dir(root))
}

/// The engine of the release build.
fn engine_executable(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target).join("release/laas-engine")
}

/// Books these hosts of the lab for these users, as the observed booking does: two networks on each of two cards.
fn book(lab: &Lab, hosts: impl Iterator<Item = u8>, users: &[i64]) -> anyhow::Result<u32> {
    for user in users {
        lab.dashboard().add_user(UserSpec {
            id: *user,
            username: format!("user{user}"),
            email: format!("user{user}@example.org"),
            ssh_key: Some(std::fs::read_to_string(
                lab.files()["ssh_key"].with_extension("pub"),
            )?),
        });
    }
    let hosts = hosts.map(|number| {
        let host = HostSpec::numbered(number);
        let carried = [
            vec![Vlan::untagged(11), Vlan::tagged(103)],
            vec![Vlan::untagged(104), Vlan::tagged(105)],
        ];
        BookedHost {
            labid: host.name,
            // The inventory's Ubuntu image of odd and of even hosts.
            image: if number % 2 == 1 { 17 } else { 22 },
            hostname: format!("node{number}"),
            role: Default::default(),
            networks: host.nics.into_iter().map(|nic| nic.mac).zip(carried).collect(),
        }
    });
    let [owner, collaborators @ ..] = users else {
        anyhow::bail!("a booking has an owner");
    };
    Ok(lab.dashboard().book(BookingSpec {
        owner: *owner,
        collaborators: collaborators.to_vec(),
        hosts: hosts.collect(),
        opnfv: None,
        snapshot: None,
    })?)
}
