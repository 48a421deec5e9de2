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
