//! The README's table of actions, made from the actions' YAML.

use crate::metadata;
use anyhow::Context;
use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- Written by `cargo xtask check-pack --fix`. -->\n";
const END: &str = "<!-- End of what is written. -->\n";

/// The README as it is and as it should be.
pub fn render(root: &Path) -> anyhow::Result<(String, String)> {
    let path = root.join("README.md");
    let present =
        std::fs::read_to_string(&path).with_context(|| format!("can't read `{}`", path.display()))?;
    let mut paths: Vec<_> = std::fs::read_dir(root.join("actions"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let mut table = String::from("\n| action | what it does |\n|---|---|\n");
    for path in paths {
        let (_, action) = metadata::read(&path)?;
        let text = |name: &str| action[name].as_str().unwrap_or_default().to_owned();
        let workflow = if action["runner_type"] == "orquesta" {
            " (workflow)"
        } else {
            ""
        };
        writeln!(
            table,
            "| `{}`{workflow} | {} |",
            text("name"),
            text("description")
        )?;
    }
    table.push('\n');
    let wanted = replace(&present, &table).context("README.md has lost the place of the table of actions")?;
    Ok((present, wanted))
}

fn replace(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_is_replaced() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replace(&text, "new\n"), Some(format!("a\n{BEGIN}new\n{END}b\n")));
        assert_eq!(replace("a\n", "new\n"), None);
    }
}
