//! Tells the dashboard that tasks are under way, done or failed.

use crate::messages;
use crate::posting::{Posted, Poster};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use laas_core::action::{Action, Context};
use laas_core::json_arg::JsonArg;
use laas_core::names::TaskId;
use laas_core::{Failure, Kind};
use laas_dashboard::TaskRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How the message of each task with status 300 begins.
const FAILED: &str = "FAILED";

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// 100 under way, 200 proven done, 300 failed, e.g. 100.
    #[arg(long, value_name = "STATUS")]
    status: Status,
    /// The tasks as `plan_job` gives them, each with an event and its facts or with a message if it has one.
    #[arg(
        long,
        env = "LAAS_TASKS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    tasks: JsonArg<Vec<Told>>,
    /// The event that the users of all tasks without one of their own are told, e.g. released.
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// What the users of all tasks without a message of their own are told, e.g. "The lab is moving".
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

/// The states that the dashboard and its users understand.
#[derive(Clone, Copy)]
enum Status {
    UnderWay = 100,
    Done = 200,
    Failed = 300,
}

impl ValueEnum for Status {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::UnderWay, Self::Done, Self::Failed]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::UnderWay => "100",
            Self::Done => "200",
            Self::Failed => "300",
        }))
    }
}

/// A task and what its user is told.
#[derive(Clone, Deserialize)]
struct Told {
    #[serde(flatten)]
    task: TaskRef,
    #[serde(default)]
    event: Option<String>,
    #[serde(default)]
    facts: Map<String, Value>,
    /// What kind of task is unsupported; one more fact.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Default, Serialize)]
pub struct Output {
    pub changed: bool,
    pub posted: Vec<TaskId>,
    /// Given out anew meanwhile: nothing was posted.
    pub superseded: Vec<TaskId>,
    /// Of a booking that was deleted.
    pub gone: Vec<TaskId>,
}

impl Action for Args {
    const NAME: &'static str = "task_status";
    const ABOUT: &'static str = "Tell the dashboard and its users how far tasks are";
    const EXAMPLE: &'static [&'static str] = &["--status=100", "--tasks=[]", "--message=The lab is moving"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let tasks = self.tasks.get("tasks")?;
        let posts = tasks.into_iter().map(|told| {
            let message = told.message(context, self.event.as_deref(), self.message.as_deref())?;
            Ok((told.task, message))
        });
        let posts: Vec<_> = posts.collect::<Result<_, Failure>>()?;
        post_all(context, self.status as u16, &posts)
    }
}

impl Told {
    fn message(
        &self,
        context: &Context,
        event: Option<&str>,
        message: Option<&str>,
    ) -> Result<String, Failure> {
        // An engine passes a parameter without a value as an empty one.
        let event = self.event.as_deref().or(event).filter(|event| !event.is_empty());
        if let Some(event) = event {
            let mut facts = self.facts.clone();
            if let Some(kind) = &self.kind {
                facts.insert("type".to_owned(), json!(kind));
            }
            return messages::render(context, event, &Value::Object(facts));
        }
        let message = self.message.as_deref().or(message);
        Ok(message.unwrap_or_default().to_owned())
    }
}

/// The page shows a failed task as done, so that the message has to say what it is, also one that a lab has written.
fn failed(message: &str) -> String {
    match message {
        "" => FAILED.to_owned(),
        message if message.starts_with(FAILED) => message.to_owned(),
        message => format!("{FAILED}: {message}"),
    }
}

/// Posts the same status to all tasks. One that is refused does not keep the others from being told; when the
/// dashboard can't be reached, there is no point in going on.
///
/// # Errors
/// The first failure; what was done beside it is in `done`.
pub fn post_all(context: &Context, status: u16, posts: &[(TaskRef, String)]) -> Result<Output, Failure> {
    let mut output = Output::default();
    if posts.is_empty() {
        return Ok(output);
    }
    let poster = Poster::new(context)?;
    let mut first_failure = None;
    for (task, message) in posts {
        let id = task.task.clone();
        let message = match status {
            300 => &failed(message),
            _ => message,
        };
        match poster.finish(task, status, message, None) {
            Ok(Posted::Posted) => output.posted.push(id),
            Ok(Posted::Already) => {}
            Ok(Posted::Superseded) => output.superseded.push(id),
            Ok(Posted::Gone) => output.gone.push(id),
            Err(failure) => {
                let passing = matches!(failure.kind, Kind::Unreachable | Kind::Cancelled);
                first_failure.get_or_insert(failure);
                if passing {
                    break;
                }
            }
        }
    }
    output.changed = !output.posted.is_empty();
    match first_failure {
        Some(mut failure) => {
            failure.done = Some(json!(output));
            Err(failure)
        }
        None => Ok(output),
    }
}
