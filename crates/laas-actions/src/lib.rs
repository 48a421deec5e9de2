//! One module per action; `src/bin/<action>.rs` is one line each.

mod bmcs;
mod bookings;
mod fog_tasks;
mod hosts;
pub mod posting;
mod settings;
mod side_by_side;
pub mod software;
mod switches;
mod table;
mod vpn_accounts;

pub mod bios_password;
pub mod bmc_info;
pub mod bmc_user;
pub mod boot_booked_hosts;
pub mod close_job;
pub mod copy_keys;
pub mod doctor;
pub mod failed_tasks;
pub mod fog_capture;
pub mod fog_image;
pub mod fog_wipe;
pub mod host_network;
pub mod inventory;
pub mod ipmi_boot_device;
pub mod ipmi_power;
pub mod jenkins_agent;
pub mod lab_status;
pub mod messages;
pub mod network_audit;
pub mod note_systems;
pub mod opnfv_deploy;
pub mod plan_job;
pub mod preflight;
pub mod prepare_capture;
pub mod reboot_host;
pub mod report_failure;
pub mod resolve_host;
pub mod set_hostname;
pub mod set_password;
pub mod switch_show;
pub mod switch_vlan;
pub mod task_status;
pub mod update_host;
pub mod vpn_audit;
pub mod vpn_user;
pub mod wait_for_host;

use laas_core::action::command;

/// The command of every action, which `cargo xtask check-pack` compares with the YAML.
pub fn commands() -> Vec<clap::Command> {
    vec![
        command::<bios_password::Args>(),
        command::<bmc_info::Args>(),
        command::<bmc_user::Args>(),
        command::<boot_booked_hosts::Args>(),
        command::<close_job::Args>(),
        command::<copy_keys::Args>(),
        command::<doctor::Args>(),
        command::<failed_tasks::Args>(),
        command::<fog_capture::Args>(),
        command::<fog_image::Args>(),
        command::<host_network::Args>(),
        command::<inventory::Args>(),
        command::<ipmi_boot_device::Args>(),
        command::<ipmi_power::Args>(),
        command::<jenkins_agent::Args>(),
        command::<network_audit::Args>(),
        command::<lab_status::Args>(),
        command::<note_systems::Args>(),
        command::<opnfv_deploy::Args>(),
        command::<plan_job::Args>(),
        command::<preflight::Args>(),
        command::<reboot_host::Args>(),
        command::<prepare_capture::Args>(),
        command::<report_failure::Args>(),
        command::<resolve_host::Args>(),
        command::<set_hostname::Args>(),
        command::<switch_show::Args>(),
        command::<set_password::Args>(),
        command::<switch_vlan::Args>(),
        command::<task_status::Args>(),
        command::<update_host::Args>(),
        command::<vpn_audit::Args>(),
        command::<vpn_user::Args>(),
        command::<wait_for_host::Args>(),
        command::<fog_wipe::Args>(),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_is_sound() {
        for command in super::commands() {
            command.clone().debug_assert();
            let help = command.clone().render_long_help().to_string();
            for line in help.lines() {
                let breakable = line.trim().contains(' ');
                assert!(line.len() <= 80 || !breakable, "{}: {line}", command.get_name());
            }
            assert!(
                !help.contains("[env: ") && !help.contains("[default: ]"),
                "{help}"
            );
        }
    }

    #[test]
    fn every_command_shows_an_example_that_it_would_take() {
        for command in super::commands() {
            let help = command.clone().render_help().to_string();
            let (_, example) = help
                .split_once("\nExample:\n")
                .unwrap_or_else(|| panic!("{} has no example", command.get_name()));
            let (line, _) = example.split_once("\n  st2 run ").unwrap();
            // As a shell would take it apart.
            let words = std::process::Command::new("sh")
                .args(["-c", &format!("printf '%s\\0' {line}")])
                .output();
            let words = String::from_utf8(words.unwrap().stdout).unwrap();
            let words = words.split_terminator('\0');
            command
                .try_get_matches_from(words)
                .unwrap_or_else(|e| panic!("`{line}`: {e}"));
        }
    }
}
