//! The beginning of an action, complete enough that `check-pack` and the tests pass.

use crate::{check_pack, metadata};
use anyhow::{Context, bail};
use std::path::Path;

const TEMPLATE: &str = r#"//! @NAME@: say here what it is for.

use laas_core::action::{Action, Context};
use laas_core::{Failure, HostName};
use serde::Serialize;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
}

impl Action for Args {
    const NAME: &'static str = "@NAME@";
    const ABOUT: &'static str = "Say in one sentence what it does";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--dry_run"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        // Read, compare, write the difference, read back.
        let _ = (context.datastore()?, self.dry_run);
        Err(Failure::input(format!("@NAME@ does nothing to `{}` yet", self.host)))
    }
}
"#;

pub fn run(root: &Path, name: &str) -> anyhow::Result<()> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') || name.starts_with('_') {
        bail!("`{name}` is not a name of lower-case letters and `_`");
    }
    let crate_dir = root.join("crates/laas-actions/src");
    let module = crate_dir.join(format!("{name}.rs"));
    if module.exists() {
        bail!("`{}` exists already", module.display());
    }
    let lib = crate_dir.join("lib.rs");
    let text = std::fs::read_to_string(&lib)?;
    std::fs::write(&lib, with_action(&text, name)?)?;
    std::fs::write(&module, TEMPLATE.replace("@NAME@", name))?;
    std::fs::write(
        crate_dir.join(format!("bin/{name}.rs")),
        check_pack::executable(name),
    )?;
    // clap's names live as long as the process, and so may this one.
    let command = clap::Command::new(&*name.to_owned().leak())
        .about("Say in one sentence what it does")
        .arg(
            clap::Arg::new("host")
                .long("host")
                .required(true)
                .help("The host's name in the inventory, e.g. pod1."),
        )
        .arg(
            clap::Arg::new("dry_run")
                .long("dry_run")
                .action(clap::ArgAction::SetTrue)
                .help("Show what would change and change nothing."),
        );
    let yaml = metadata::render(&command, &serde_yaml::Value::Null);
    std::fs::write(root.join(format!("actions/{name}.yaml")), yaml)?;
    println!(
        "Next: write crates/laas-actions/src/{name}.rs and its test in crates/laas-actions/tests/it, then\n      \
         cargo xtask check-pack --fix"
    );
    Ok(())
}

/// `lib.rs` with the module declared and its command in the list, each in its place in the alphabet.
fn with_action(text: &str, name: &str) -> anyhow::Result<String> {
    let text = with_line(text, "pub mod ", &format!("pub mod {name};"))?;
    with_line(
        &text,
        "        command::<",
        &format!("        command::<{name}::Args>(),"),
    )
}

fn with_line(text: &str, prefix: &str, line: &str) -> anyhow::Result<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines
        .iter()
        .rposition(|l| l.starts_with(prefix))
        .with_context(|| format!("`lib.rs` has no line that begins with `{}`", prefix.trim()))?;
    let place = lines
        .iter()
        .position(|l| l.starts_with(prefix) && *l > line)
        .unwrap_or(last + 1);
    lines.insert(place, line);
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_stays_in_order() {
        let text =
            "pub mod bmc_user;\npub mod posting;\n\nvec![\n        command::<bmc_user::Args>(),\n    ]\n";
        let wanted = "pub mod bmc_user;\npub mod host_report;\npub mod posting;\n\nvec![\n        \
                      command::<bmc_user::Args>(),\n        command::<host_report::Args>(),\n    ]\n";
        assert_eq!(with_action(text, "host_report").unwrap(), wanted);
        assert!(with_action("nothing", "host_report").is_err());
    }
}
