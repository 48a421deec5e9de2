//! What a software task asks for, and the documents that it points to.

use laas_core::HostName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// The most hosts of a task, as everywhere.
const MOST_HOSTS: usize = 400;
const LONGEST_TEXT: usize = 200;

/// An OPNFV installation, as a booking asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opnfv {
    /// As the dashboard calls it; whether there is such an installer is for others to say.
    pub installer: String,
    pub scenario: String,
    /// The pod's descriptor file.
    pub pdf: Option<DocumentPath>,
    /// The installer's descriptor file.
    pub idf: Option<DocumentPath>,
    pub roles: Vec<Role>,
}

/// A host's part in the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub host: HostName,
    /// `Jumphost`, `Compute`, …
    pub role: String,
}

/// The path of a document on the dashboard's own server, `/api/labs/UNH_IOL/booking/1/pdf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPath(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is no path of a document below the dashboard's root")]
pub struct DocumentPathError {
    text: String,
}

impl DocumentPath {
    pub fn segments(&self) -> Vec<&str> {
        self.0.split('/').skip(1).collect()
    }
}

impl FromStr for DocumentPath {
    type Err = DocumentPathError;

    fn from_str(text: &str) -> Result<Self, DocumentPathError> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let segment = |part: &str| !part.is_empty() && part.chars().all(ok) && !part.starts_with('.');
        let below = text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(segment));
        if !below || text.len() > LONGEST_TEXT {
            return Err(DocumentPathError {
                text: text.escape_debug().take(LONGEST_TEXT).collect(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DocumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DocumentPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DocumentPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Opnfv {
    /// Reads the value of a software task's `opnfv`; `None` if it asks for nothing, as after the end of the booking.
    ///
    /// # Errors
    /// It asks for something that can't be understood.
    pub fn read(opnfv: &Map<String, Value>) -> Result<Option<Self>, String> {
        if opnfv.is_empty() {
            return Ok(None);
        }
        let text = |name: &str| match opnfv.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if is_plain(text) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("`{name}` is no plain text of a sensible length")),
        };
        let path = |name: &str| match text(name)?.filter(|text| !text.is_empty()) {
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|error| format!("`{name}`: {error}")),
            None => Ok(None),
        };
        Ok(Some(Self {
            installer: text("installer")?.ok_or("`installer` is missing")?.to_owned(),
            scenario: text("scenario")?.ok_or("`scenario` is missing")?.to_owned(),
            pdf: path("pdf")?,
            idf: path("idf")?,
            roles: read_roles(opnfv.get("roles"))?,
        }))
    }
}

/// Whether it is short, and holds nothing that a terminal or a quoted word would not show as it is.
fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST_TEXT && text.escape_debug().eq(text.chars())
}

/// `[{"pod1": "Jumphost"}, {"pod2": "Compute"}]`
fn read_roles(roles: Option<&Value>) -> Result<Vec<Role>, String> {
    let entries = match roles {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) if entries.len() <= MOST_HOSTS => entries,
        Some(_) => return Err("`roles` is no list of a sensible length".to_owned()),
    };
    let mut read = Vec::new();
    for entry in entries {
        for (host, role) in entry.as_object().ok_or("a role names no host")? {
            let role = role.as_str().filter(|role| is_plain(role));
            read.push(Role {
                host: host
                    .parse()
                    .map_err(|error: laas_core::names::ParseError| error.to_string())?,
                role: role.ok_or("a role is no plain text")?.to_owned(),
            });
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Option<Opnfv>, String> {
        Opnfv::read(value.as_object().unwrap())
    }

    #[test]
    fn what_the_dashboard_hands_out() {
        let value = json!({
            "installer": "Fuel", "scenario": "os-nosdn-nofeature-noha",
            "pdf": "/api/labs/UNH_IOL/booking/1/pdf", "idf": "/api/labs/UNH_IOL/booking/1/idf",
            "roles": [{"pod1": "Jumphost"}, {"pod2": "Compute"}],
        });
        let opnfv = read(&value).unwrap().unwrap();
        assert_eq!(
            opnfv.pdf.unwrap().segments(),
            ["api", "labs", "UNH_IOL", "booking", "1", "pdf"]
        );
        assert_eq!(
            (opnfv.roles[0].host.as_str(), opnfv.roles[0].role.as_str()),
            ("pod1", "Jumphost")
        );
        assert_eq!(read(&json!({})).unwrap(), None);
    }

    #[test]
    fn hostile_words_stay_outside() {
        let good = json!({"installer": "Fuel", "scenario": "x", "roles": []});
        for (key, value) in [
            ("installer", json!(17)),
            ("installer", json!("x".repeat(1 << 20))),
            ("scenario", json!(null)),
            ("pdf", json!("http://evil.example.org/pdf")),
            ("pdf", json!("//evil.example.org/pdf")),
            ("pdf", json!("/api/../admin")),
            ("pdf", json!("/api/%2e%2e/admin")),
            ("idf", json!("/api/labs/x?next=http://evil")),
            ("idf", json!("/api/labs/x\r\nHost: evil")),
            ("idf", json!("api/labs")),
            ("roles", json!({"pod1": "Jumphost"})),
            ("roles", json!([{"pod1; reboot": "Jumphost"}])),
            ("roles", json!([{"../pod1": "Jumphost"}])),
            ("roles", json!([{"pod1": ["Jumphost"]}])),
        ] {
            let mut hostile = good.clone();
            hostile[key] = value;
            let why = read(&hostile).unwrap_err();
            assert!(why.len() < 300 && !why.contains('\n'), "{why}");
        }
    }
}
