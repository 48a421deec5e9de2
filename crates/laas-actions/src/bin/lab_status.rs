fn main() -> std::process::ExitCode {
    laas_core::action::main::<laas_actions::lab_status::Args>()
}
