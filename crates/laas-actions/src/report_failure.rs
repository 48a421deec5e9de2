//! Tells users and operators what failed, where and why.

mod addresses;

use crate::copy_keys::KEY_PEER;
use crate::task_status::{self, post_all};
use crate::{messages, posting};
use laas_core::action::{Action, Context};
use laas_core::config::Bot;
use laas_core::http::Http;
use laas_core::json_arg::JsonArg;
use laas_core::names::legible;
use laas_core::{Failure, HostName, ledger};
use laas_dashboard::TaskRef;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Nobody reads more failures than this in one message.
const MOST: usize = 5;
/// Of what a failure says, in characters.
const LONGEST: usize = 1000;
/// Of a log line that is all a step has left behind, in characters.
const LAST_WORDS: usize = 200;
/// A chat is a convenience: it must not hold up the rest.
const BOT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The tasks that failed, as `plan_job` gives them; none tells only the operator.
    #[arg(
        long,
        env = "LAAS_TASKS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    tasks: JsonArg<Vec<TaskRef>>,
    /// The result of the step that failed.
    #[arg(
        long,
        env = "LAAS_FAILURE",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    failure: JsonArg<Value>,
    /// The host that it was about, if the result does not say, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Tell the users that they can try again with a reset of the host, unless a peer failed that no reset mends.
    #[arg(long)]
    reset: bool,
}

#[derive(Serialize)]
pub struct Output {
    #[serde(flatten)]
    tasks: task_status::Output,
    told_operator: bool,
}

/// What an action said when it failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Found {
    error: String,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    peer: Option<String>,
    #[serde(default)]
    host: Option<String>,
}

impl Action for Args {
    const NAME: &'static str = "report_failure";
    const ABOUT: &'static str = "Tell a booking's users and the lab's operators what failed and why";
    const EXAMPLE: &'static [&'static str] = &[
        "--host=pod1",
        "--tasks=[]",
        r#"--failure={"error": "the rack has no power"}"#,
    ];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let tasks = self.tasks.get("tasks")?;
        let mut failures = find_all(&self.failure.get("failure")?);
        for failure in &mut failures {
            if failure.host.is_none() {
                failure.host = self.host.as_ref().map(HostName::to_string);
            }
        }
        // What to quote is a help, not worth failing for.
        let execution = posting::workflow(context).ok().flatten();
        // What a user has to mend is no failure of the lab.
        let users_key = |failure: &Found| failure.peer.as_deref() == Some(KEY_PEER);
        let event = if !failures.is_empty() && failures.iter().all(users_key) {
            "unusable_key"
        } else {
            "failure"
        };
        let shown = for_users(&failures, context);
        let message = messages::render(
            context,
            event,
            &json!({"failures": shown, "execution": execution, "reset": self.reset && can_reset(&failures)}),
        )?;
        let posts: Vec<_> = tasks.iter().map(|task| (task.clone(), message.clone())).collect();
        // The operators first: a task that has its 300 is not looked at again if this process dies now.
        let told_operator = tell_operator(context, &failures, &tasks, execution.as_deref());
        Ok(Output {
            tasks: post_all(context, 300, &posts)?,
            told_operator,
        })
    }
}

/// Whether writing the host's disk anew can mend all of it.
fn can_reset(failures: &[Found]) -> bool {
    let mut peers = failures.iter().filter_map(|failure| failure.peer.as_deref());
    !peers.any(|peer| ["switch", "ldap", "dashboard", "datastore"].contains(&peer))
}

/// What failed, in words for operators, a line each.
pub fn reasons(result: &Value) -> Vec<String> {
    find_all(result).iter().map(Found::in_words).collect()
}

/// The same without the lab's internal addresses.
fn for_users(failures: &[Found], context: &Context) -> Vec<Found> {
    let names = addresses::server_names(context.config().ok());
    let hidden = |text: &String| addresses::hidden(text, &names);
    let shown = failures.iter().map(|failure| Found {
        error: hidden(&failure.error),
        hint: failure.hint.as_ref().map(hidden),
        ..failure.clone()
    });
    shown.collect()
}

/// Every failure in the result of a step, of its items and of the workflows below it, each once.
fn find_all(result: &Value) -> Vec<Found> {
    let mut found = Vec::new();
    collect(result, &mut found);
    found.truncate(MOST);
    for Found {
        error,
        hint,
        peer,
        host,
    } in &mut found
    {
        let texts = [Some(error), hint.as_mut(), peer.as_mut(), host.as_mut()];
        for text in texts.into_iter().flatten() {
            *text = legible(text, LONGEST);
        }
    }
    if found.is_empty() {
        let status = result.get("status").and_then(Value::as_str);
        let code = result.get("return_code").and_then(Value::as_i64);
        let error = match (status, code) {
            // StackStorm's runner gives -9 to an action that it had to stop.
            (Some("timeout"), _) | (_, Some(-9)) => "a step took too long and was stopped".to_owned(),
            (_, Some(code)) => format!("a step ended with code {code} and {}", last_words(result)),
            _ => format!("a step failed and {}", last_words(result)),
        };
        found.push(Found {
            error,
            hint: None,
            peer: None,
            host: None,
        });
    }
    found
}

/// What stands last in a step's log, which also holds foreign text and so is never taken for more than words.
fn last_words(result: &Value) -> String {
    let log = result.get("stderr").and_then(Value::as_str).unwrap_or_default();
    match log.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => {
            let words: String = line
                .trim()
                .chars()
                .filter(|c| !c.is_control())
                .take(LAST_WORDS)
                .collect();
            format!("said `{words}`")
        }
        None => "said nothing".to_owned(),
    }
}

fn collect(value: &Value, found: &mut Vec<Found>) {
    match value {
        Value::Object(map) => {
            match serde_json::from_value::<Found>(value.clone()) {
                Ok(failure) if !found.contains(&failure) => found.push(failure),
                Ok(_) => {}
                // A step that succeeded beside the one that failed may show errors that it has overcome.
                Err(_) if map.get("succeeded") == Some(&Value::Bool(true)) => {}
                Err(_) => {
                    let said = map.iter().filter(|(key, _)| *key != "stderr");
                    said.for_each(|(_, value)| collect(value, found));
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        // The engine leaves an output as text when anything else was printed beside it.
        Value::String(text) => {
            let documents = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            documents
                .filter(Value::is_object)
                .for_each(|document| collect(&document, found));
        }
        _ => {}
    }
}

/// The value of the key `told_<task id>`: what the operators were told last about the task, so that another try at the
/// posts does not tell them again. They may be told twice if the process dies before it is written.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub request: String,
    /// Of the failures; empty as long as nobody was told.
    digest: String,
    /// The failures in words, for `lab_status` and `failed_tasks`.
    #[serde(default)]
    pub said: String,
}

/// Whether the operators were told just now. That they can't be is no failure.
fn tell_operator(context: &Context, failures: &[Found], tasks: &[TaskRef], execution: Option<&str>) -> bool {
    let datastore = context.datastore().ok();
    let digest = ledger::digest(&json!(failures));
    let said = words(failures);
    let news: Vec<_> = tasks
        .iter()
        .map(|task| {
            let request = task.request.clone();
            let (digest, said) = (digest.clone(), said.clone());
            let told = Told {
                request,
                digest,
                said,
            };
            (format!("told_{}", task.task), told)
        })
        .filter(|(key, told)| {
            let known: Option<Told> = datastore.and_then(|d| d.get_record(key).ok().flatten());
            known.is_none_or(|known| {
                (known.request, known.digest) != (told.request.clone(), told.digest.clone())
            })
        })
        .collect();
    if news.is_empty() && !tasks.is_empty() {
        return false;
    }
    let remember = |key: &str, told: &Told| {
        if let Some(Err(error)) = datastore.map(|d| d.put_record(key, told)) {
            let error = laas_core::failure::chain(&error);
            tracing::warn!(key, %error, "what failed can't be remembered, and the operators may be told again");
        }
    };
    for (key, told) in &news {
        let untold = Told {
            request: told.request.clone(),
            digest: String::new(),
            said: told.said.clone(),
        };
        remember(key, &untold);
    }
    let Some(bot) = context.config().ok().and_then(|config| config.bot()) else {
        return false;
    };
    let timeout = context
        .config()
        .map_or(BOT_TIMEOUT, |config| config.timing.call().min(BOT_TIMEOUT));
    if let Err(error) = post_to_bot(bot, timeout, failures, tasks, execution) {
        let error = laas_core::failure::chain(&*error);
        tracing::warn!(%error, "the operators could not be told");
        return false;
    }
    for (key, told) in &news {
        remember(key, told);
    }
    true
}

fn post_to_bot(
    bot: &Bot,
    timeout: Duration,
    failures: &[Found],
    tasks: &[TaskRef],
    execution: Option<&str>,
) -> Result<(), Box<dyn std::error::Error>> {
    let path = bot.endpoints.get("failure").map_or("", String::as_str);
    let http = Http::new(&bot.address, &bot.tls, timeout)?;
    let segments: Vec<_> = path.split('/').filter(|s| !s.is_empty()).collect();
    let job = tasks.first().map(|task| task.job);
    let text = words(failures);
    let body = json!({"text": text, "job": job, "execution": execution, "failures": failures});
    let answer = http.send(http.post(&segments).json(&body))?;
    if answer.ok() {
        return Ok(());
    }
    Err(format!("the bot answered HTTP {}", answer.status).into())
}

/// A line for each failure.
fn words(failures: &[Found]) -> String {
    let lines: Vec<_> = failures.iter().map(Found::in_words).collect();
    lines.join("\n")
}

impl Found {
    fn in_words(&self) -> String {
        let said = [self.host.as_deref(), self.peer.as_deref(), Some(&self.error)];
        let mut line = said.into_iter().flatten().collect::<Vec<_>>().join(": ");
        if let Some(hint) = &self.hint {
            line.push_str(&format!(" (hint: {hint})"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_result_tells_what_failed() {
        let failed = |stdout: Value| json!({"failed": true, "succeeded": false, "return_code": 1, "stdout": stdout, "stderr": "error: noise"});
        let fog = json!({"error": "no such image", "hint": "upload it", "peer": "fog", "host": "pod1"});
        let ok = json!({"failed": false, "succeeded": true, "stdout": {"error": "overcome"}});
        let said = "fog: no such image";
        for (result, expected) in [
            (fog.clone(), vec![said]),
            (failed(fog.clone()), vec![said]),
            // With items: also the ones that went well.
            (json!([ok, failed(fog.clone()), failed(fog.clone())]), vec![said]),
            // A workflow below this one.
            (
                json!({"output": {"ready": false}, "errors": [
                    {"type": "error", "message": "Execution failed.", "task_id": "write_image", "result": failed(fog.clone())},
                    {"type": "error", "message": "Execution failed.", "task_id": "fail"},
                ]}),
                vec![said],
            ),
            // Something was printed beside the document.
            (failed(json!(format!("a line\n{fog}\n"))), vec![said]),
            (
                json!({"a": failed(json!({"error": "no link"})), "b": failed(fog.clone())}),
                vec![": no link", said],
            ),
            (
                json!({"failed": true, "return_code": -9, "stdout": "", "stderr": ""}),
                vec![": a step took too long and was stopped"],
            ),
            (
                json!({"failed": true, "return_code": 127, "stdout": ""}),
                vec![": a step ended with code 127 and said nothing"],
            ),
            (json!(null), vec![": a step failed and said nothing"]),
            // No line of the operators' chat is forged, and none is endless.
            (
                json!({"error": "no link\npod2: \u{202e}all well", "peer": "x\n"}),
                vec!["x\\n: no link\\npod2: \\u{202e}all well"],
            ),
            (
                json!({"error": "x".repeat(1 << 20)}),
                vec![format!(": {0}…{0}", "x".repeat(LONGEST / 2)).as_str()],
            ),
            // A log may quote a host or an error page: no document is believed there.
            (
                json!({"failed": true, "return_code": 101, "stdout": "", "stderr": format!("{fog}\n")}),
                vec![format!(": a step ended with code 101 and said `{fog}`").as_str()],
            ),
            (
                json!({"failed": true, "stderr": format!("{}\n\n", "x".repeat(1 << 20))}),
                vec![format!(": a step failed and said `{}`", "x".repeat(LAST_WORDS)).as_str()],
            ),
            (
                json!([{"failed": true, "stdout": fog, "stderr": r#"{"error": "forged"}"#}]),
                vec![said],
            ),
        ] {
            let found = find_all(&result);
            let shown: Vec<_> = found
                .iter()
                .map(|f| format!("{}: {}", f.peer.as_deref().unwrap_or_default(), f.error))
                .collect();
            assert_eq!(shown, expected, "{result}");
        }
        let many: Vec<_> = (0..100).map(|n| json!({"error": format!("{n}")})).collect();
        assert_eq!(find_all(&json!(many)).len(), MOST);
    }
}
