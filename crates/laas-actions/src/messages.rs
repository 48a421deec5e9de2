//! What users read on their booking's page and in its mails: the templates of `messages/`, filled in.

use laas_core::Failure;
use serde_json::Value;
use tera::Tera;

/// The page shows a message as one paragraph; nobody reads more, and upstream's web server takes 1 MB at most.
const LONGEST: usize = 4000;

/// One per event, the file's stem.
const TEMPLATES: [(&str, &str); 6] = [
    ("failure", include_str!("messages/failure.tera")),
    ("hardware", include_str!("messages/hardware.tera")),
    ("keys", include_str!("messages/keys.tera")),
    ("network", include_str!("messages/network.tera")),
    ("unsupported", include_str!("messages/unsupported.tera")),
    ("vpn", include_str!("messages/vpn.tera")),
];

/// The message for an event. Facts that are missing leave out the sentence about them.
///
/// # Errors
/// There is no such event, or its facts are not the ones that it tells.
pub fn render(event: &str, facts: &Value) -> Result<String, Failure> {
    let known = TEMPLATES.iter().find(|(name, _)| *name == event);
    let Some((_, template)) = known else {
        let names: Vec<_> = TEMPLATES.iter().map(|(name, _)| *name).collect();
        return Err(Failure::input(format!(
            "`{event}` is no event; there are `{}`",
            names.join("`, `")
        )));
    };
    let context = match facts {
        Value::Null => Ok(tera::Context::new()),
        facts => tera::Context::from_value(facts.clone()),
    };
    let text = context
        .and_then(|context| Tera::one_off(template, &context, false))
        // The template engine's words would quote values, and some are passwords.
        .map_err(|_| Failure::input(format!("the facts are not those of the event `{event}`")))?;
    Ok(tidy(&text))
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
                "Host pod1 runs the image that you asked for and calls itself jump.\nIts management controller (IPMI) answers at 10.99.0.1 to the user opnfv, an operator (ipmitool -L OPERATOR); the password is in the booking's PDF.",
            ),
            (
                "hardware",
                json!({"host": "pod1", "hostname": "jump", "bmc": null}),
                "Host pod1 runs the image that you asked for and calls itself jump.",
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
                "Your SSH key opens the account opnfv on:\npod1: ssh -p 2022 opnfv@10.11.0.5",
            ),
            (
                "vpn",
                json!({"uid": "kati4", "password": "a<b&c"}),
                "Your VPN account is made.\nUser: kati4\nPassword: a<b&c",
            ),
            (
                "unsupported",
                json!({"type": "software", "installer": "Fuel", "scenario": "os-nosdn-nofeature-noha"}),
                "This lab does not install Fuel (os-nosdn-nofeature-noha) yet. The hosts are yours; please install it yourself.",
            ),
            (
                "unsupported",
                json!({"type": "malformed", "kind": "hardware", "why": "`image` is not the number of an image"}),
                "The dashboard's hardware order can't be understood, so nothing was done: `image` is not the number of an image. Please check your booking or write to the lab.",
            ),
            (
                "failure",
                json!({"failures": [{"error": "image 17 is not there", "peer": "fog", "host": "pod1", "hint": "upload it"}, {"error": "out of luck", "peer": null}], "execution": "6b04"}),
                "pod1: the imaging server failed: image 17 is not there\nthe lab failed: out of luck\nThis is not done. You can try it again with Reset on the booking's page; if it fails again, write to the lab and quote 6b04.",
            ),
        ] {
            assert_eq!(render(event, &facts).unwrap(), expected);
        }
        for what in ["hardware", "network", "vpn", "ssh", "software"] {
            let facts = json!({"type": "release", "what": what, "host": "pod1"});
            let said = render("unsupported", &facts).unwrap();
            assert!(said.starts_with("The booking is over."), "{said}");
        }
        for (kind, fact) in [("snapshot", "host"), ("ended", "what"), ("unknown", "kind")] {
            let said = render("unsupported", &json!({"type": kind, fact: "the thing"})).unwrap();
            assert!(said.contains("the thing"), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_facts() {
        let error = render("birthday", &json!({})).unwrap_err();
        assert!(error.error.contains("`birthday` is no event"), "{error}");
        let error = render("vpn", &json!({"uid": {"password": "s3cret"}})).unwrap_err();
        assert!(!error.error.contains("s3cret"), "{error}");
        let facts = json!({"uid": "a\u{0}b", "password": "x".repeat(100_000)});
        let said = render("vpn", &facts).unwrap();
        assert_eq!(said.chars().count(), LONGEST);
        assert!(said.contains("User: ab\n"), "{}", &said[..100]);
    }
}
