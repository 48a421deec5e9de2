//! The lab's peers, each asked over its real protocol.

// Clippy's allowance for tests does not reach the functions they share.
#![allow(clippy::unwrap_used)]

mod at_random;
mod booking;
mod branches;
mod dashboard;
mod dashboard_people;
mod dashboard_replay;
mod dashboard_world;
mod dice;
mod faults;
mod faults_booking;
mod fog;
mod guards;
mod house;
mod jenkins;
mod kills;
mod lab;
mod lost_actions;
mod machine;
mod machine_bmc;
mod machine_disk;
mod machine_redfish;
mod machine_wire;
mod nxos;
mod operate;
mod operator;
mod release;
mod secrets;
mod slapd;
mod unmade;
#[path = "../../../../tests/venv.rs"]
mod venv;
