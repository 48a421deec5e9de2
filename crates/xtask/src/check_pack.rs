//! Whether command, YAML and executable of every action agree, and whether an engine could run the pack.

use crate::{metadata, readme, stackstorm};
use anyhow::{Context, anyhow, bail};
use laas_actions::messages::{self, EVENTS};
use laas_actions::software;
use std::path::Path;

pub fn run(root: &Path, fix: bool) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let commands = laas_actions::commands();
    for command in &commands {
        let name = command.get_name();
        let path = root.join("actions").join(format!("{name}.yaml"));
        let (text, present) =
            metadata::read(&path).with_context(|| format!("can't read `{}`", path.display()))?;
        let wanted = metadata::render(command, &present);
        if text != wanted {
            if fix {
                std::fs::write(&path, &wanted)?;
                println!("wrote actions/{name}.yaml");
            } else {
                problems.push(format!(
                    "actions/{name}.yaml: {}",
                    first_difference(&text, &wanted)
                ));
            }
        }
        let main = root
            .join("crates/laas-actions/src/bin")
            .join(format!("{name}.rs"));
        if std::fs::read_to_string(&main).unwrap_or_default() != executable(name) {
            problems.push(format!(
                "crates/laas-actions/src/bin/{name}.rs is not the one line of `{name}`"
            ));
        }
    }
    for file in ["actions", "crates/laas-actions/src/bin"] {
        for entry in std::fs::read_dir(root.join(file))? {
            let path = entry?.path();
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let (_, value) = match path.extension().and_then(|e| e.to_str()) {
                Some("yaml") => metadata::read(&path)?,
                Some("rs") => (String::new(), serde_yaml::Value::Null),
                _ => continue,
            };
            if value["runner_type"] != "orquesta" && !commands.iter().any(|c| c.get_name() == stem) {
                problems.push(format!(
                    "{file}/{stem}: no action of this name is in the list of `laas-actions`"
                ));
            }
        }
    }
    problems.extend(templates(root)?);
    problems.extend(installers(root)?);
    problems.extend(stackstorm::check(root)?);
    let (present, wanted) = readme::render(root)?;
    if present != wanted && fix {
        std::fs::write(root.join("README.md"), wanted)?;
        println!("wrote README.md");
    } else if present != wanted {
        problems.push(format!("README.md: {}", first_difference(&present, &wanted)));
    }
    if problems.is_empty() {
        println!(
            "check-pack: {} actions agree with their YAML; the pack fits together and StackStorm's models",
            commands.len()
        );
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    bail!(
        "{} problems; `cargo xtask check-pack --fix` writes the actions' YAML anew",
        problems.len()
    )
}

/// What is wrong with the messages' templates.
fn templates(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(root.join("templates"))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let event = EVENTS.iter().find(|event| event.name == name);
        match event.map(|event| messages::check(&name, &text, event.facts)) {
            Some(Ok(())) => {}
            Some(Err(why)) => problems.push(format!("templates/{name}.tera: {why}")),
            None => problems.push(format!("templates/{name}.tera: there is no event of this name")),
        }
    }
    Ok(problems)
}

/// What is wrong with the installers of `software/`.
fn installers(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let found = software::of_directory(&root.join("software")).map_err(|failure| anyhow!("{failure}"))?;
    for files in &found {
        if let Err(why) = software::check(files) {
            problems.push(format!("software/{}: {why}", files.name));
        }
    }
    let built_in: Vec<_> = software::built_in().into_iter().map(|files| files.name).collect();
    let names: Vec<_> = found.into_iter().map(|files| files.name).collect();
    if names != built_in {
        problems.push(format!(
            "software/ holds `{}`, and `built_in!` of crates/laas-actions/src/software.rs names `{}`",
            names.join("`, `"),
            built_in.join("`, `")
        ));
    }
    Ok(problems)
}

/// The one line that an executable's `main.rs` is.
pub fn executable(name: &str) -> String {
    format!(
        "fn main() -> std::process::ExitCode {{\n    laas_core::action::main::<laas_actions::{name}::Args>()\n}}\n"
    )
}

fn first_difference(present: &str, wanted: &str) -> String {
    let mut lines = present.lines().zip(wanted.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((n, (a, b))) => format!("line {}: `{}` should be `{}`", n + 1, a.trim(), b.trim()),
        None => format!(
            "has {} lines and should have {}",
            present.lines().count(),
            wanted.lines().count()
        ),
    }
}
