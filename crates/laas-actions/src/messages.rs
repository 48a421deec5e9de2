//! What users read on their booking's page and in its mails: the pack's `templates/`, filled in. A lab can put templates
//! of its own in their place.

mod check;

pub use check::check;

use laas_core::Failure;
use laas_core::action::Context;
use laas_core::config::Messages;
use serde_json::{Value, json};
use tera::Tera;

/// The page shows a message as one paragraph; nobody reads more, and upstream's web server takes 1 MB at most.
const LONGEST: usize = 4000;

/// Something that users are told.
pub struct Event {
    /// The stem of its template's file.
    pub name: &'static str,
    pub template: &'static str,
    /// The variables that the template can use beside `lab`; some may be missing.
    pub facts: &'static [&'static str],
}

macro_rules! event {
    ($name:literal, $($fact:literal),*) => {
        Event {
            name: $name,
            template: include_str!(concat!("../../../templates/", $name, ".tera")),
            facts: &[$($fact),*],
        }
    };
}

pub const EVENTS: &[Event] = &[
    event!("failure", "failures", "execution", "reset"),
    event!("hardware", "host", "hostname", "bmc"),
    event!("keys", "account", "port", "hosts", "unusable"),
    event!("network", "host", "hostname", "address", "interfaces"),
    event!("released",),
    event!("releasing",),
    event!("software", "host", "installer", "scenario", "found"),
    event!("snapshot", "host", "image"),
    event!("started",),
    event!("unsupported", "type", "what", "host", "kind", "why"),
    event!("unusable_key", "failures"),
    event!("vpn", "uid", "password"),
];

/// The message for an event, with the lab's own words. Facts that are missing leave out the sentence about them.
///
/// # Errors
/// There is no such event, or its facts are not the ones that it tells.
pub fn render(context: &Context, event: &str, facts: &Value) -> Result<String, Failure> {
    // A message matters more than what a lab adds to it.
    let messages = context.config().ok().map(|config| &config.messages);
    render_for(messages.unwrap_or(&Messages::default()), event, facts)
}

fn render_for(messages: &Messages, name: &str, facts: &Value) -> Result<String, Failure> {
    let Some(event) = EVENTS.iter().find(|event| event.name == name) else {
        let names: Vec<_> = EVENTS.iter().map(|event| event.name).collect();
        return Err(Failure::input(format!(
            "`{name}` is no event; there are `{}`",
            names.join("`, `")
        )));
    };
    // The template engine's words would quote values, and some are passwords.
    let unfit = || Failure::input(format!("the facts are not those of the event `{name}`"));
    let mut context = match facts {
        Value::Null => tera::Context::new(),
        facts => tera::Context::from_value(facts.clone()).map_err(|_| unfit())?,
    };
    let Messages {
        contact,
        guide,
        vpn_guide,
        ..
    } = messages;
    context.insert(
        "lab",
        &json!({"contact": contact, "guide": guide, "vpn_guide": vpn_guide}),
    );
    if let Some(own) = own_template(messages, event) {
        match Tera::one_off(&own, &context, false) {
            Ok(text) => return Ok(tidy(&text)),
            Err(_) => tracing::warn!(
                event = name,
                "the lab's own template fails, so the pack's is used"
            ),
        }
    }
    let text = Tera::one_off(event.template, &context, false).map_err(|_| unfit())?;
    Ok(tidy(&text))
}

/// The lab's template for an event. One that can't be used is no reason to tell the user nothing.
fn own_template(messages: &Messages, event: &Event) -> Option<String> {
    let path = messages.templates.as_ref()?.join(format!("{}.tera", event.name));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a template can't be read, so the pack's is used");
            return None;
        }
    };
    match check(event.name, &text, event.facts) {
        Ok(()) => Some(text),
        Err(why) => {
            tracing::warn!(path = %path.display(), why, "a template is not sound, so the pack's is used");
            None
        }
    }
}

/// Lines without empty ones in a row, and without what a page can't show.
fn tidy(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.join(" ").replace(char::is_control, "")
    });
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(event: &str, facts: &Value) -> Result<String, Failure> {
        render_for(&Messages::default(), event, facts)
    }

    #[test]
    fn messages() {
        let interfaces = json!({
            "02:00:00:00:01:01": [{"vlan_id": 11, "tagged": false}, {"vlan_id": 103, "tagged": true}],
            "02:00:00:00:01:03": [],
        });
        for (event, facts, expected) in [
            (
                "hardware",
                json!({"host": "pod1", "hostname": "jump", "bmc": {"user": "opnfv", "address": "10.99.0.1", "slot": 5}}),
                "Host pod1 runs the image that you asked for. Its hostname is jump.\nIts management controller (IPMI) has the account opnfv for you, with operator rights (ipmitool -L OPERATOR). The address and the password are on the booking's page, in the box with the heading \"PDF\" below the tasks.",
            ),
            (
                "hardware",
                json!({"host": "pod1", "hostname": "jump", "bmc": null}),
                "Host pod1 runs the image that you asked for. Its hostname is jump.",
            ),
            (
                "network",
                json!({"host": "pod1", "hostname": "jump", "address": "10.11.0.5", "interfaces": interfaces}),
                "Host pod1 (jump) is connected and answers at 10.11.0.5.\n02:00:00:00:01:01: VLAN 11, VLAN 103 tagged",
            ),
            ("network", json!({"host": "pod1"}), "Host pod1 is connected."),
            (
                "keys",
                json!({"account": "opnfv", "port": 2022, "hosts": [{"host": "pod1", "address": "10.11.0.5", "changed": true}]}),
                "Your SSH key opens the account opnfv:\npod1: ssh -p 2022 opnfv@10.11.0.5",
            ),
            (
                "keys",
                json!({"account": "opnfv", "port": 22, "hosts": [{"host": "pod1", "address": "10.11.0.5"}], "unusable": [{"user": 3, "why": "there are options before the key"}]}),
                "Your SSH key opens the account opnfv:\npod1: ssh opnfv@10.11.0.5\nOf what you have uploaded something can't be used: there are options before the key.",
            ),
            (
                "unusable_key",
                json!({"failures": [{"error": "the key of user 3 can't be used: a certificate is not a key", "host": null}]}),
                "FAILED: you have no SSH access, since the key that you have uploaded can't be used.\nthe key of user 3 can't be used: a certificate is not a key.\nA booking keeps the key that your profile had when it was made. Put one that can be used into your profile on the dashboard, and make a new booking or write to the lab.",
            ),
            (
                "vpn",
                json!({"uid": "kati4", "password": "a<b&c"}),
                "Your VPN account is ready.\nUser: kati4\nPassword: a<b&c",
            ),
            (
                "released",
                json!({}),
                "The booking is over. The lab has taken back everything that this task gave.",
            ),
            (
                "releasing",
                json!({}),
                "The booking is over. The lab is taking back what this task gave.",
            ),
            (
                "started",
                json!({}),
                "The lab is working on this task. The result will replace this message.",
            ),
            (
                "snapshot",
                json!({"host": "pod1", "image": "snapshot_5_v1"}),
                "The disk of pod1 is saved as the image snapshot_5_v1. You can book the image as soon as the lab has entered it on the dashboard.",
            ),
            (
                "software",
                json!({"host": "pod1", "installer": "Fuel", "scenario": "os-nosdn-nofeature-noha", "found": ["cfg01", "ctl01"]}),
                "Fuel (os-nosdn-nofeature-noha) is installed on pod1.\nRunning: cfg01, ctl01.\nThe log of the installation is /var/lib/laas-software/log on pod1.",
            ),
            (
                "unsupported",
                json!({"type": "malformed", "kind": "hardware", "why": "it names no image"}),
                "FAILED: the lab can't use this hardware task, so nothing was done: it names no image. Please check your booking or write to the lab.",
            ),
            (
                "failure",
                json!({"failures": [{"error": "image 17 is not there", "peer": "fog", "host": "pod1", "hint": "upload it"}, {"error": "out of luck", "peer": null}], "execution": "6b04"}),
                "FAILED: pod1: the imaging server failed: image 17 is not there\nout of luck\nThis task is not done, although the page may say DONE.\nPlease write to the lab and quote 6b04.",
            ),
            (
                "failure",
                json!({"failures": [{"error": "no system answers", "peer": "host", "host": "pod1"}], "execution": null, "reset": true}),
                "FAILED: pod1: the host itself failed: no system answers\nThis task is not done, although the page may say DONE.\nTo try again, use Change/Reset of this host on the booking's page: this erases the disk. If it fails again, write to the lab.",
            ),
        ] {
            assert_eq!(plain(event, &facts).unwrap(), expected);
        }
        for (kind, fact) in [("ended", "what"), ("unmade", "host"), ("unknown", "kind")] {
            let said = plain("unsupported", &json!({"type": kind, fact: "the thing"})).unwrap();
            assert!(said.contains("the thing"), "{said}");
        }
    }

    /// The page shows a failure as done, and a reset erases a disk; addresses are the hosts' own and no others.
    #[test]
    fn no_message_does_harm() {
        let host = json!({"host": "pod1", "address": "203.0.113.5"});
        let facts = json!({
            "failures": [{"error": "no", "peer": "bmc", "host": "pod1"}], "execution": "6b04",
            "host": "pod1", "hostname": "jump", "address": "203.0.113.5", "interfaces": {}, "hosts": [host],
            "bmc": {"user": "opnfv", "address": "10.99.0.1"}, "account": "opnfv", "port": 22,
            "installer": "Fuel", "scenario": "os", "found": ["cfg01"], "image": "snapshot_5_v1",
            "uid": "kati4", "password": "pw", "what": "the software", "kind": "hardware", "why": "it names no image",
        });
        for event in EVENTS {
            for (kind, reset) in [
                ("ended", false),
                ("unmade", false),
                ("unknown", true),
                ("malformed", true),
            ] {
                let mut facts = facts.clone();
                facts["type"] = json!(kind);
                facts["reset"] = json!(reset);
                let said = plain(event.name, &facts).unwrap();
                let name = event.name;
                let failed = ["failure", "unsupported", "unusable_key"].contains(&name);
                assert_eq!(said.starts_with("FAILED: "), failed, "{name}: {said}");
                let resets = name == "failure" && reset;
                assert_eq!(said.contains("Reset"), resets, "{name}: {said}");
                assert_eq!(said.contains("erases the disk"), resets, "{name}: {said}");
                assert!(!said.contains("10.99.0.1"), "{name}: {said}");
                let told = ["keys", "network"].contains(&name);
                assert_eq!(said.contains("203.0.113.5"), told, "{name}: {said}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_facts() {
        let error = plain("birthday", &json!({})).unwrap_err();
        assert!(error.error.contains("`birthday` is no event"), "{error}");
        let error = plain("vpn", &json!({"uid": {"password": "s3cret"}})).unwrap_err();
        assert!(!error.error.contains("s3cret"), "{error}");
        let facts = json!({"uid": "a\u{0}b", "password": "x".repeat(100_000)});
        let said = plain("vpn", &facts).unwrap();
        assert_eq!(said.chars().count(), LONGEST);
        assert!(said.contains("User: ab\n"), "{}", &said[..100]);
    }

    #[test]
    fn every_template_of_the_pack_is_sound_and_in_the_list() {
        for event in EVENTS {
            assert_eq!(
                check(event.name, event.template, event.facts),
                Ok(()),
                "{}",
                event.name
            );
        }
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
        let files = std::fs::read_dir(directory).unwrap().count();
        assert_eq!(files, EVENTS.len());
    }

    #[test]
    fn a_lab_has_words_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let messages = Messages {
            templates: Some(directory.path().to_owned()),
            contact: Some("noc@lab.example".to_owned()),
            vpn_guide: Some("https://lab.example/vpn".to_owned()),
            ..Messages::default()
        };
        let facts = json!({"uid": "ada-berg", "password": "pw"});
        let packs = render_for(&messages, "vpn", &facts).unwrap();
        assert!(
            packs.ends_with("How to connect: https://lab.example/vpn"),
            "{packs}"
        );
        let failure = render_for(&messages, "failure", &json!({"failures": []})).unwrap();
        assert!(failure.contains("write to noc@lab.example"), "{failure}");

        let own = directory.path().join("vpn.tera");
        std::fs::write(&own, "Welcome {{ uid }}, {{ password }}, {{ lab.contact }}").unwrap();
        let said = render_for(&messages, "vpn", &facts).unwrap();
        assert_eq!(said, "Welcome ada-berg, pw, noc@lab.example");
        // Whatever is wrong with it, the user is told.
        for broken in ["{{ uid", "{{ user }}", "{{ uid.name.more }}", "{% include 'x' %}"] {
            std::fs::write(&own, broken).unwrap();
            assert_eq!(render_for(&messages, "vpn", &facts).unwrap(), packs, "{broken}");
        }
        std::fs::remove_file(&own).unwrap();
        std::fs::create_dir(&own).unwrap();
        assert_eq!(render_for(&messages, "vpn", &facts).unwrap(), packs);
    }
}
