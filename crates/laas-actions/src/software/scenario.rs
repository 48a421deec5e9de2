//! Scenarios of OPNFV: `<system>-<network>-<feature>-<ha or noha>`, such as `os-nosdn-nofeature-noha`.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

const LONGEST: usize = 64;

/// A scenario as a booking names it. It holds nothing but lower-case letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Scenario([String; 4]);

/// A set of scenarios: `os-{nosdn,odl}-nofeature-noha`, where a part is a word, several of which any will do, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// An empty part takes any word.
    parts: [Vec<String>; 4],
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct ScenarioError {
    text: String,
    what: &'static str,
}

fn error(text: &str, what: &'static str) -> ScenarioError {
    let text = text.chars().take(LONGEST).collect::<String>();
    ScenarioError {
        text: text.escape_debug().to_string(),
        what,
    }
}

fn is_word(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(ok)
}

impl Scenario {
    /// What it is made on: `os` for OpenStack, `k8` for Kubernetes.
    pub fn vim(&self) -> &str {
        &self.0[0]
    }

    /// The network's controller, `nosdn` if there is none.
    pub fn sdn(&self) -> &str {
        &self.0[1]
    }

    pub fn feature(&self) -> &str {
        &self.0[2]
    }

    /// `ha` or `noha`.
    pub fn ha(&self) -> &str {
        &self.0[3]
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let parts: Vec<_> = text.split('-').collect();
        let what = "a scenario like `os-nosdn-nofeature-noha`";
        match <[&str; 4]>::try_from(parts) {
            Ok(parts) if text.len() <= LONGEST && parts.iter().all(|part| is_word(part)) => {
                Ok(Self(parts.map(str::to_owned)))
            }
            _ => Err(error(text, what)),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("-"))
    }
}

impl From<Scenario> for String {
    fn from(scenario: Scenario) -> Self {
        scenario.to_string()
    }
}

impl Pattern {
    pub fn has(&self, scenario: &Scenario) -> bool {
        let fits = |(part, word): (&Vec<String>, &String)| part.is_empty() || part.contains(word);
        self.parts.iter().zip(&scenario.0).all(fits)
    }
}

impl FromStr for Pattern {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let what = "a set of scenarios like `os-{nosdn,odl}-nofeature-*`";
        let part = |part: &str| -> Option<Vec<String>> {
            if part == "*" {
                return Some(Vec::new());
            }
            let inner = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let words: Vec<_> = inner.unwrap_or(part).split(',').map(str::to_owned).collect();
            let sound = words.iter().all(|word| is_word(word)) && (inner.is_some() || words.len() == 1);
            sound.then_some(words)
        };
        let parts: Option<Vec<_>> = text.split('-').map(part).collect();
        match parts.map(<[Vec<String>; 4]>::try_from) {
            Some(Ok(parts)) => Ok(Self {
                text: text.to_owned(),
                parts,
            }),
            _ => Err(error(text, what)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios() {
        let scenario: Scenario = "os-odl_l2-kvm_ovs-noha".parse().unwrap();
        let parts = (scenario.vim(), scenario.sdn(), scenario.feature(), scenario.ha());
        assert_eq!(parts, ("os", "odl_l2", "kvm_ovs", "noha"));
        assert_eq!(scenario.to_string(), "os-odl_l2-kvm_ovs-noha");
        for bad in [
            "",
            "os-nosdn-noha",
            "os-nosdn-nofeature-noha-x",
            "os-nosdn--noha",
            "os-nosdn-nofeature-noha\n",
            "os-nosdn-$(reboot)-noha",
            "os-nosdn-`id`-noha",
            "os-nosdn-a;b-noha",
            "os-nosdn-../../etc-noha",
            "OS-nosdn-nofeature-noha",
            "-l-x-y",
            &format!("os-nosdn-{}-noha", "x".repeat(100)),
        ] {
            let error = bad.parse::<Scenario>().unwrap_err().to_string();
            assert!(error.len() < 400 && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, scenario, has) in [
            ("os-{nosdn,odl}-nofeature-noha", "os-odl-nofeature-noha", true),
            ("os-{nosdn,odl}-nofeature-noha", "os-ovn-nofeature-noha", false),
            ("os-{nosdn,odl}-nofeature-noha", "os-odl-nofeature-ha", false),
            ("*-*-*-*", "k8-ovn-lb-noha", true),
            ("os-nosdn-*-ha", "os-nosdn-x-ha", true),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(
                pattern.has(&scenario.parse().unwrap()),
                has,
                "{pattern} {scenario}"
            );
        }
        for bad in [
            "",
            "*",
            "os-a,b-c-ha",
            "os-{a-c-ha",
            "os-{}-c-ha",
            "os-$(x)-c-ha",
            "a-b-c-d-e",
        ] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
