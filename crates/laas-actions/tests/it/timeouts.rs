//! No engine stops an action that keeps to its own deadlines.

use laas_actions::software::installer::MOST_TIMEOUT;
use laas_core::config::{MOST_BOOT, MOST_CALL, MOST_IMAGE, MOST_POWER, MOST_UPDATE, MOST_WIPE};
use std::collections::BTreeMap;
use std::path::Path;

/// How long each action can take when the configuration allows as much as it may: the waits that it makes one after the
/// other, and as many exchanges as it has with peers that answer at the last moment.
const LONGEST: &[(&str, u64)] = &[
    // The lock, two resets of a host that is off, each after one that was under way, and the answers.
    ("bios_password", 5 * MOST_POWER + 3 * MOST_BOOT + 30 * MOST_CALL),
    // The lock, and by Redfish what the BMC, its interfaces and three chassis say.
    ("bmc_info", MOST_POWER + 20 * MOST_CALL),
    // The lock, the answers to look at, a list (by Redfish of sixteen accounts, one by one), a login, the account with a
    // long password and then with a short one, and the dashboard.
    ("bmc_user", MOST_POWER + 50 * MOST_CALL),
    // An hour in which hosts are begun, and the last one.
    ("boot_booked_hosts", 3600 + 2 * MOST_POWER + 15 * MOST_CALL),
    // Its tasks are forgotten one by one.
    ("close_job", 40 * MOST_CALL),
    // Twice as many hosts as go side by side.
    ("copy_keys", 2 * 10 * MOST_CALL),
    // It ends in time by itself, as `lab_status` does.
    ("doctor", 30),
    // The ledger, the job, and what was told of each of its tasks.
    ("failed_tasks", 20 * MOST_CALL),
    // The preparation, and the end after the wait.
    ("fog_capture", MOST_IMAGE + 60 * MOST_CALL),
    ("fog_image", MOST_IMAGE + 10 * MOST_CALL),
    ("fog_wipe", MOST_WIPE + 10 * MOST_CALL),
    ("host_network", 12 * MOST_CALL),
    // A datastore that answers at the last moment a few times.
    ("inventory", 3 * MOST_CALL),
    ("ipmi_boot_device", MOST_POWER + 12 * MOST_CALL),
    // The lock, a soft off that is waited for in vain, and a hard one; each press may be tried twice.
    ("ipmi_power", 3 * MOST_POWER + 20 * MOST_CALL),
    // The lock, and the wait for its proof.
    ("jenkins_agent", 15 * MOST_CALL),
    ("lab_status", 30),
    // Two looks at a dashboard that answers for thirty hosts, and the repair of a switch.
    ("network_audit", 120 * MOST_CALL),
    // Ten times as many hosts as go side by side.
    ("note_systems", 10 * MOST_CALL),
    // The longest deployment, a host that starts anew at its end, and what is asked before and after.
    ("opnfv_deploy", MOST_TIMEOUT + 2 * MOST_BOOT + 20 * MOST_CALL),
    // A job that is nowhere is looked for in every list, and its tasks one by one.
    ("plan_job", 40 * MOST_CALL),
    // What FOG, the BMC, the switches and the dashboard are asked before a host is touched.
    ("preflight", 50 * MOST_CALL),
    ("prepare_capture", 15 * MOST_CALL),
    ("reboot_host", MOST_BOOT + 10 * MOST_CALL),
    ("report_failure", 12 * MOST_CALL),
    // As many places as go side by side.
    ("resolve_host", 4 * MOST_CALL),
    ("set_hostname", 10 * MOST_CALL),
    ("set_password", 10 * MOST_CALL),
    // The lock, and a free session for each of three reads.
    ("switch_show", 18 * MOST_CALL),
    // The lock and four slow calls of each write and save; every read may wait for a free session.
    ("switch_vlan", 40 * MOST_CALL),
    ("task_status", 10 * MOST_CALL),
    ("update_host", MOST_UPDATE + 10 * MOST_CALL),
    // The lock, two looks at everything, and a few accounts to remove.
    ("vpn_audit", 20 * MOST_CALL),
    ("vpn_user", 20 * MOST_CALL),
    ("wait_for_host", MOST_BOOT + 10 * MOST_CALL),
];

#[test]
fn every_timeout_lies_above_the_deadlines_of_its_action() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../actions");
    let mut timeouts = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let action: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        if action["runner_type"] != "orquesta" {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let timeout = action["parameters"]["timeout"]["default"].as_u64().unwrap();
            timeouts.insert(name, timeout);
        }
    }
    let names: Vec<_> = timeouts.keys().map(String::as_str).collect();
    let expected: Vec<_> = LONGEST.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected);
    for (name, longest) in LONGEST {
        assert!(
            timeouts[*name] >= *longest,
            "{name}: {} < {longest}",
            timeouts[*name]
        );
    }
}
