//! The actions' real executables against real daemons and the lab's peers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod bios_password;
mod bmc;
mod bmc_faults;
mod bmc_revoke;
mod boot_booked_hosts;
mod claims;
mod dashboard;
mod doctor;
mod fog_capture;
mod fog_image;
mod fog_image_choice;
mod fog_image_kills;
mod fog_names;
mod fog_wipe;
mod given_up;
mod host_network;
mod hostile_arguments;
mod hostile_inventory;
mod hostile_job;
#[path = "../../../../tests/hostile.rs"]
mod hostile_values;
mod hosts;
mod inventory;
mod ipmitool;
mod jenkins_agent;
mod keys;
mod lab_status;
mod logins;
mod network_audit;
mod note_systems;
mod opnfv_deploy;
mod pack;
mod redfish;
#[path = "../../../laas-bmc/tests/it/sim.rs"]
mod sim;
mod snapshots;
mod switch_vlan;
mod timeouts;
mod two_switches;
mod updates;
mod vpn_user;
mod wire;
