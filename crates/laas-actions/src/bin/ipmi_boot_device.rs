fn main() -> std::process::ExitCode {
    laas_core::action::main::<laas_actions::ipmi_boot_device::Args>()
}
