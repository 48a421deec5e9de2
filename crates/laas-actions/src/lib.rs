//! One module per action; `src/bin/<action>.rs` is one line each.

mod bmcs;
mod hosts;
mod messages;
pub mod posting;

/// Declares the modules of the actions and the list that `cargo xtask check-pack` compares with the YAML.
macro_rules! actions {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// The command of every action.
        pub fn commands() -> Vec<clap::Command> {
            vec![$(laas_core::action::command::<$name::Args>()),*]
        }
    };
}

// One line each, in alphabetical order.
actions! {
    bmc_user,
    copy_keys,
    fog_image,
    host_network,
    ipmi_boot_device,
    ipmi_power,
    plan_job,
    report_failure,
    set_hostname,
    switch_vlan,
    task_status,
    vpn_user,
    wait_for_host,
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_is_sound() {
        for command in super::commands() {
            command.debug_assert();
        }
    }
}
