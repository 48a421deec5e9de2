//! Each argument of each action, and each value in its example's JSON, with what nobody expects there.

use crate::hostile_values::{is_legible, pointers, renamed, values};
use crate::hosts::{NETWORKS, Stand};
use crate::pack::Pack;
use laas_core::parallel;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Of an action's error and of a line of its log, in characters.
const LONGEST: usize = 4000;

/// Linux takes 128 KiB.
const LONGEST_ARGUMENT: usize = 100_000;

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
fn instead_of(example: Option<&str>, hostile: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // The system takes no NUL.
    let texts = hostile.iter().map(text).filter(|text| !text.contains('\0'));
    let mut all: Vec<_> = texts.collect();
    let example = example.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut places = Vec::new();
    pointers(example.as_ref().unwrap_or(&Value::Null), "", &mut places);
    for place in places {
        for value in hostile {
            let mut document = example.clone().unwrap_or_default();
            *document.pointer_mut(&place).unwrap() = value.clone();
            all.push(document.to_string());
            let name = value
                .as_str()
                .and_then(|text| renamed(example.as_ref()?, &place, text));
            all.extend(name.map(|document| document.to_string()));
        }
    }
    all
}

/// Runs the action with each of its arguments in turn replaced, and says which replacements it took.
fn try_each(pack: &Pack, command: &clap::Command, words: &[&str], hostile: &[Value]) -> Vec<String> {
    let name = command.get_name();
    let executable = Path::new(env!("CARGO_BIN_EXE_plan_job")).with_file_name(name);
    let mut taken = Vec::new();
    for argument in command
        .get_arguments()
        .filter(|arg| arg.get_action().takes_values())
    {
        let flag = format!("--{}=", argument.get_long().unwrap());
        let (own, others): (Vec<&str>, Vec<&str>) = words
            .iter()
            .copied()
            .partition(|word: &&str| word.starts_with(&flag));
        for text in instead_of(own.first().map(|word| &word[flag.len()..]), hostile) {
            let given = format!("{flag}{text}");
            let args = [&others[..], &[given.as_str()]].concat();
            let ended = pack.run(executable.to_str().unwrap(), &args);
            let what = format!("{name} {given:.200}: {ended:.2000?}");
            assert!(matches!(ended.code, Some(0..=3)), "{what}");
            assert!(ended.document.is_object(), "{what}");
            if ended.code == Some(0) {
                taken.push(given);
            } else {
                let error = ended.document["error"].as_str().unwrap();
                assert!(is_legible(error, LONGEST + 1), "{what}");
            }
            for line in ended.stderr.lines() {
                let levels = ["INFO", "WARN", "ERROR"];
                let begun = levels.iter().any(|level| line.trim_start().starts_with(level));
                assert!(begun && line.chars().count() <= 2 * LONGEST, "{what}");
            }
        }
    }
    taken
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
    let hostile = values(LONGEST_ARGUMENT);
    let commands: Vec<_> = laas_actions::commands().into_iter().collect();
    // Most of the time is waited for a peer that does not answer.
    parallel::map(&commands, 8, |command| {
        let words = example(command);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        try_each(&pack, command, &words, &hostile);
        assert_eq!(pack.keys(), before, "{}", command.get_name());
    });
}

/// Everything that an action could have changed.
fn state(stand: &Stand) -> Vec<String> {
    let (lab, root) = (&stand.lab, stand.machine().root().unwrap());
    let files = Command::new("find")
        .current_dir(root)
        .args(["etc", "home", "root", "tmp", "opt", "-printf", "%p %s %T@\n"])
        .output()
        .unwrap();
    let fog = lab.fog();
    vec![
        String::from_utf8(files.stdout).unwrap(),
        stand.runtime.block_on(lab.slapd().people()).unwrap(),
        format!(
            "{:?} {:?} {:?}",
            fog.tasks(),
            fog.images(),
            fog.host_image("pod1")
        ),
        lab.switch().running(),
        format!("{:?} {:?}", lab.dashboard().posts(), lab.dashboard().host("pod1")),
        format!("{:?} {:?}", stand.machine().phase(), stand.machine().system()),
        format!("{:?}", stand.pack.keys()),
    ]
}

#[test]
fn what_a_job_could_bring_along_changes_nothing_in_the_lab() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (_, key) = stand.key_pair("alice");
    let key = format!("--key={key}");
    let task = "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da";
    let task = format!("--task={task}");
    let interfaces = format!("--interfaces={NETWORKS}");
    let networks = format!(r#"--networks=[{{"host": "pod1", "interfaces": {NETWORKS}}}]"#);
    let roles = r#"--roles=[{"host": "pod1", "role": "Jumphost"}]"#;
    let hosts = r#"--hosts=["pod1"]"#;
    // A number can be a host's name, and an empty text is an argument that is not given.
    let is_hostile = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let hostile: Vec<_> = values(LONGEST_ARGUMENT).into_iter().filter(is_hostile).collect();
    let before = state(&stand);
    for (name, words) in [
        ("set_hostname", &["--host=pod1", "--hostname=web-1"][..]),
        ("copy_keys", &["--job_id=1", "--user=3", &key, hosts]),
        ("host_network", &["--host=pod1", &interfaces]),
        ("switch_vlan", &[&networks]),
        ("fog_image", &["--host=pod1", "--image=99"]),
        ("fog_capture", &["--host=pod1", "--snapshot="]),
        ("vpn_user", &["--job_id=1", "--user=3", "--lab_token=x", &task]),
        ("opnfv_deploy", &[roles, "--installer=fuel", "--scenario=x"]),
    ] {
        let commands = laas_actions::commands();
        let command = commands
            .iter()
            .find(|command| command.get_name() == name)
            .unwrap();
        let taken = try_each(&stand.pack, command, words, &hostile);
        assert!(taken.is_empty(), "{name}: {taken:?}");
        for (before, now) in before.iter().zip(state(&stand)) {
            assert_eq!(*before, now, "{name}");
        }
    }
}
