fn main() -> std::process::ExitCode {
    laas_core::action::main::<laas_actions::vpn_audit::Args>()
}
