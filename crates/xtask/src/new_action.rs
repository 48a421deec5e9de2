//! The beginning of an action, complete enough that `check-pack` and the tests pass.

use crate::{check_pack, metadata};
use anyhow::{Context, bail};
use std::path::Path;

const TEMPLATE: &str = r#"//! NAME: say here what it is for.

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
    const NAME: &'static str = "NAME";
    const ABOUT: &'static str = "Say in one sentence what it does";
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        // Read, compare, write the difference, read back.
        let _ = (context.datastore()?, self.dry_run);
        Err(Failure::input(format!("NAME does nothing to `{}` yet", self.host)))
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
    std::fs::write(&lib, with_line(&text, name)?)?;
    std::fs::write(&module, TEMPLATE.replace("NAME", name))?;
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

/// The list of actions with one more line, in alphabetical order.
fn with_line(text: &str, name: &str) -> anyhow::Result<String> {
    let (head, rest) = text
        .split_once("\nactions! {\n")
        .context("`lib.rs` has no list `actions!`")?;
    let (list, tail) = rest
        .split_once("}\n")
        .context("the list `actions!` does not end")?;
    let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
    lines.push(format!("    {name},"));
    lines.sort();
    lines.dedup();
    Ok(format!("{head}\nactions! {{\n{}\n}}\n{tail}", lines.join("\n")))
}
