fn main() -> std::process::ExitCode {
    laas_sensor::main()
}
