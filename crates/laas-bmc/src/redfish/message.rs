//! What a BMC says about a request: message ids of DMTF's and the makers' registries.
//!
//! Only the ids are read. Messages and their arguments quote the value that was wrong, which can be a password.

use serde_json::Value;

/// More than any BMC sends with one answer.
const LIMIT: usize = 5;

/// The ids in a body, e.g. `Base.1.8.PropertyValueNotInList`; none if it is no such body.
///
/// `error.@Message.ExtendedInfo[].MessageId` is the specification's (DSP0266, "Error responses"). iLO 4 spells it
/// `MessageID`, and has the list as `Messages` beside `"Type": "ExtendedError…"` (HPE, ilo-rest-api-docs, "Error
/// messages").
pub fn ids(body: &str) -> Vec<String> {
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        return Vec::new();
    };
    let error = &body["error"];
    let lists = [
        &error["@Message.ExtendedInfo"],
        &body["@Message.ExtendedInfo"],
        &body["Messages"],
    ];
    let mut found = ids_of(lists.iter().find(|l| !l.is_null()).unwrap_or(&&Value::Null));
    if found.is_empty() {
        found.extend(error["code"].as_str().and_then(id));
    }
    found
}

/// The ids of a list of messages.
pub fn ids_of(list: &Value) -> Vec<String> {
    // DSP0266 has a list; some services send its one message without.
    let messages = list.as_array().map_or(std::slice::from_ref(list), Vec::as_slice);
    let spelled = |m: &Value| {
        let text = m["MessageId"].as_str().or(m["MessageID"].as_str());
        text.and_then(id)
    };
    messages.iter().filter_map(spelled).take(LIMIT).collect()
}

/// Whether the id says that all is well. iLO 4 has a colon before the last word, others a dot.
pub fn is_success(id: &str) -> bool {
    name(id) == "Success"
}

/// The last word of an id, which names the message in any version of its registry.
pub fn name(id: &str) -> &str {
    id.rsplit(['.', ':']).next().unwrap_or(id)
}

fn id(text: &str) -> Option<String> {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    (!text.is_empty() && text.len() <= 120 && text.chars().all(ok)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_however_they_are_spelled() {
        for (body, expected) in [
            (
                r#"{"error": {"code": "iLO.0.10.ExtendedInfo", "message": "See below",
                    "@Message.ExtendedInfo": [{"MessageArgs": ["hunter2"], "MessageId": "Base.1.4.PropertyValueNotInList"}]}}"#,
                &["Base.1.4.PropertyValueNotInList"][..],
            ),
            (
                r#"{"Messages": [{"MessageID": "Base.0.10:Success"}, {"MessageID": "iLO.0.10.SystemResetRequired"}],
                    "Name": "Extended Error Information", "Type": "ExtendedError.0.9.6"}"#,
                &["Base.0.10:Success", "iLO.0.10.SystemResetRequired"],
            ),
            (
                r#"{"error": {"code": "Base.1.0.GeneralError", "message": "hunter2", "@Message.ExtendedInfo":
                    [{"@odata.type": "/redfish/v1/$metadata#Message.1.0.0.Message", "MessageId": "Base.1.0.GeneralError"}]}}"#,
                &["Base.1.0.GeneralError"],
            ),
            (
                r#"{"error": {"code": "Base.1.0.GeneralError"}}"#,
                &["Base.1.0.GeneralError"],
            ),
            (
                r#"{"error": {"@Message.ExtendedInfo": {"MessageId": "Base.1.0.NotImplemented"}}}"#,
                &["Base.1.0.NotImplemented"],
            ),
            (
                r#"{"error": {"@Message.ExtendedInfo": [{"MessageId": "hunter2 is wrong"}]}}"#,
                &[],
            ),
            ("<html>hunter2</html>", &[]),
            ("", &[]),
            ("[]", &[]),
            ("null", &[]),
            (r#"{"error": "hunter2"}"#, &[]),
        ] {
            assert_eq!(ids(body), expected, "{body}");
        }
    }

    #[test]
    fn success_is_success_in_every_registry() {
        for (id, good) in [
            ("Base.1.0:Success", true),
            ("Base.1.18.Success", true),
            ("Success", true),
            ("iLO.0.10.SystemResetRequired", false),
            ("Base.1.0.NoSuccess", false),
        ] {
            assert_eq!(is_success(id), good, "{id}");
        }
    }
}
