//! What a package installs beside the executables: man pages and shell completions, made from their commands.

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::path::{Path, PathBuf};

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Beside what else is built.
pub fn place() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    target.join("docs")
}

pub fn run(out: &Path) -> anyhow::Result<()> {
    let commands = commands();
    let pages = out.join("man/man1");
    fs::create_dir_all(&pages).with_context(|| format!("can't make `{}`", pages.display()))?;
    for mut command in commands.clone() {
        let name = command.get_name().to_owned();
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        fs::write(pages.join(format!("{name}.1")), page)?;
        for shell in SHELLS {
            let directory = out.join(shell.to_string());
            fs::create_dir_all(&directory)?;
            clap_complete::generate_to(shell, &mut command, &name, &directory)?;
        }
    }
    println!(
        "man pages and completions of {} executables are in {}",
        commands.len(),
        out.display()
    );
    Ok(())
}

/// Of the pack, of the engine and of the lab.
fn commands() -> Vec<clap::Command> {
    let mut commands = laas_actions::commands();
    commands.push(laas_sensor::command());
    commands.push(laas_engine::command_line::Args::command());
    commands.push(laas_lab::command_line::Args::command());
    commands
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_executable_has_a_page_and_completions() {
        let out = tempfile::tempdir().unwrap();
        super::run(out.path()).unwrap();
        let read = |path: &str| {
            std::fs::read_to_string(out.path().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
        };
        for command in laas_actions::commands() {
            let name = command.get_name();
            let page = read(&format!("man/man1/{name}.1"));
            assert!(
                page.contains(&format!("st2 run laas.{name}").replace('-', "\\-")),
                "{page}"
            );
            for file in [
                format!("bash/{name}.bash"),
                format!("zsh/_{name}"),
                format!("fish/{name}.fish"),
            ] {
                assert!(read(&file).contains(name), "{file}");
            }
        }
        // The shell takes what was made for it.
        let checked = std::process::Command::new("bash")
            .args(["-n", &out.path().join("bash/fog_image.bash").to_string_lossy()])
            .status();
        assert!(checked.unwrap().success());
    }
}
