//! An action's YAML, made from its clap command: one truth for the flags, the descriptions and the defaults.
//!
//! What a command can't say stays as the YAML has it: the type of a structured parameter and whether it is required,
//! the action's own `timeout`.

use anyhow::Context as _;
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};
use serde_yaml::{Mapping, Value};
use std::any::TypeId;
use std::fmt::Write;

/// How clap arguments that hold JSON are declared (`laas_core::json_arg`).
const JSON: &str = "JSON";
/// StackStorm's own default for a script is 60 s; an action's must lie above the deadlines it keeps itself.
const TIMEOUT: u64 = 180;

/// The text of `actions/<name>.yaml`; `present` is the file as it is, or nothing for a new action.
pub fn render(command: &Command, present: &Value) -> String {
    let name = command.get_name();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let args: Vec<&Arg> = command
        .get_arguments()
        .filter(|a| !matches!(a.get_action(), ArgAction::Help | ArgAction::Version))
        .collect();
    let mut text = format!(
        "---\nname: {name}\npack: laas\ndescription: {}\nrunner_type: local-shell-script\nentry_point: bin/{name}\n\
         enabled: true\nparameters:\n",
        scalar(&about)
    );
    let parameters = &present["parameters"];
    let required = |arg: &&&Arg| is_required(arg, &parameters[long(arg)]);
    let (first, then): (Vec<&&Arg>, Vec<&&Arg>) = args.iter().partition(required);
    for arg in first.iter().chain(&then) {
        parameter(&mut text, arg, &parameters[long(arg)]);
    }
    let timeout = parameters["timeout"]["default"].as_u64().unwrap_or(TIMEOUT);
    let _ = write!(
        text,
        "  timeout:\n    default: {timeout}\n  env:\n    type: object\n    immutable: true\n    default:\n"
    );
    let _ = writeln!(
        text,
        "      LAAS_CONFIG: \"{{{{ config_context | to_json_string | json_escape }}}}\""
    );
    for arg in args.iter().filter(|a| is_json(a)) {
        let name = long(arg);
        let variable = format!("LAAS_{}", name.to_uppercase());
        let _ = writeln!(
            text,
            "      {variable}: \"{{{{ {name} | to_json_string | json_escape }}}}\""
        );
    }
    text
}

fn parameter(text: &mut String, arg: &Arg, present: &Value) {
    let _ = writeln!(text, "  {}:\n    type: {}", long(arg), kind(arg, present));
    if is_required(arg, present) {
        text.push_str("    required: true\n");
    }
    let is_text = kind(arg, present) == "string";
    let shown = |text: &str| if is_text { scalar(text) } else { text.to_owned() };
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|v| shown(v.get_name()))
        .collect();
    if !values.is_empty() && !is_flag(arg) {
        let _ = writeln!(text, "    enum: [{}]", values.join(", "));
    }
    if is_flag(arg) {
        text.push_str("    default: false\n");
    } else if let Some(default) = arg.get_default_values().first().filter(|_| !is_json(arg)) {
        let _ = writeln!(text, "    default: {}", shown(&default.to_string_lossy()));
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "    description: {}", scalar(help.trim_end_matches('.')));
}

fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

fn is_json(arg: &Arg) -> bool {
    arg.get_value_names()
        .is_some_and(|names| names.iter().any(|n| n == JSON))
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn is_required(arg: &Arg, present: &Value) -> bool {
    if is_json(arg) {
        present["required"].as_bool().unwrap_or(false)
    } else {
        arg.is_required_set()
    }
}

fn kind(arg: &Arg, present: &Value) -> String {
    let parsed: &ValueParser = arg.get_value_parser();
    let integer = [
        TypeId::of::<u64>(),
        TypeId::of::<u32>(),
        TypeId::of::<u16>(),
        TypeId::of::<u8>(),
    ];
    if is_flag(arg) {
        "boolean".to_owned()
    } else if is_json(arg) {
        present["type"].as_str().unwrap_or("object").to_owned()
    } else if integer.iter().any(|i| parsed.type_id() == *i) || present["type"] == "integer" {
        // A type of the house's own can be a number as well.
        "integer".to_owned()
    } else {
        "string".to_owned()
    }
}

/// A string as YAML, quoted only where it must be.
fn scalar(text: &str) -> String {
    let quoted = serde_yaml::to_string(&Value::from(text)).unwrap_or_default();
    // YAML 1.1, which StackStorm's parser speaks, takes these for booleans.
    if matches!(
        text.to_ascii_lowercase().as_str(),
        "on" | "off" | "yes" | "no" | "y" | "n"
    ) {
        return format!("'{text}'");
    }
    quoted.trim_end().to_owned()
}

/// The YAML of a file; an empty mapping if there is none.
pub fn read(path: &std::path::Path) -> anyhow::Result<(String, Value)> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let value = serde_yaml::from_str(&text).with_context(|| path.display().to_string())?;
            Ok((text, value))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok((String::new(), Mapping::new().into())),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
    }
}
