fn main() -> std::process::ExitCode {
    laas_core::action::main::<laas_actions::wait_for_host::Args>()
}
