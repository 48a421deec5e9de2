//! Each argument of each action, and each value in its example's JSON, with what nobody expects there.

use crate::hostile_values::{pointers, values};
use crate::pack::Pack;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Of an action's error and of a line of its log, in characters.
const LONGEST: usize = 4000;

/// The example of an action, as a shell takes it apart.
fn example(command: &clap::Command) -> Vec<String> {
    let help = command.clone().render_help().to_string();
    let line = help
        .lines()
        .skip_while(|line| *line != "Example:")
        .nth(1)
        .unwrap();
    let words = Command::new("sh")
        .args(["-c", &format!("printf '%s\\0' {line}")])
        .output()
        .unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    words.split_terminator('\0').skip(1).map(str::to_owned).collect()
}

/// What stands in the argument instead of the example's value.
fn instead_of(example: Option<&str>) -> Vec<String> {
    // Linux takes 128 KiB, and no NUL.
    let hostile = || values(100_000).into_iter();
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut all: Vec<_> = hostile().map(text).filter(|text| !text.contains('\0')).collect();
    let example = example.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut places = Vec::new();
    pointers(example.as_ref().unwrap_or(&Value::Null), "", &mut places);
    for place in places {
        all.extend(hostile().map(|value| {
            let mut document = example.clone().unwrap_or_default();
            *document.pointer_mut(&place).unwrap() = value;
            document.to_string()
        }));
    }
    all
}

#[test]
fn an_argument_is_refused_in_one_line_or_touches_nothing_but_its_peer() {
    let nobody = "http://127.0.0.1:1";
    let config = json!({
        "dashboard": {"address": nobody, "lab_name": "lab"},
        "fog": {"address": nobody, "api_key": "a", "user_key": "b"},
        "timing": {"call": 1, "power": 1, "boot": 1, "image": 1},
    });
    let keys = [("hosts", json!(["pod1"])), ("lab_auth_token", json!("token"))];
    let pack = Pack::new(config, &keys);
    let before = pack.keys();
    let is_plain = |c: char| c.escape_debug().count() == 1 || "'\"\\".contains(c);
    for command in laas_actions::commands() {
        let name = command.get_name();
        let executable = Path::new(env!("CARGO_BIN_EXE_plan_job")).with_file_name(name);
        let words = example(&command);
        let takes_values = |arg: &&clap::Arg| arg.get_action().takes_values();
        for argument in command.get_arguments().filter(takes_values) {
            let flag = format!("--{}=", argument.get_long().unwrap());
            let (own, others): (Vec<_>, Vec<_>) = words
                .iter()
                .map(String::as_str)
                .partition(|word| word.starts_with(&flag));
            for text in instead_of(own.first().map(|word| &word[flag.len()..])) {
                let given = format!("{flag}{text}");
                let args = [&others[..], &[given.as_str()]].concat();
                let ended = pack.run(executable.to_str().unwrap(), &args);
                let what = format!("{name} {given:.200}: {ended:.2000?}");
                assert!(matches!(ended.code, Some(0..=3)), "{what}");
                assert!(ended.document.is_object(), "{what}");
                if ended.code != Some(0) {
                    let error = ended.document["error"].as_str().unwrap();
                    assert!(
                        error.chars().count() <= LONGEST + 1 && error.chars().all(is_plain),
                        "{what}"
                    );
                }
                for line in ended.stderr.lines() {
                    let begun = ["INFO", "WARN", "ERROR"]
                        .iter()
                        .any(|level| line.trim_start().starts_with(level));
                    assert!(begun && line.chars().count() <= 2 * LONGEST, "{what}");
                }
            }
        }
        assert_eq!(pack.keys(), before, "{name}");
    }
}
