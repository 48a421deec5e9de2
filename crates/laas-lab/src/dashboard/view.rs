//! What tests and the lab's operator see of the dashboard beyond the lab's API.

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::spec::Refused;
use super::state::{Booking, State};
use super::task::{Task, TaskType};

/// A job with the state that the lab's API does not show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobState {
    pub job: u32,
    /// Whether the job was turned into its cleanup.
    pub complete: bool,
    pub booking: u32,
    pub lab: String,
    /// The lab ids of the booked hosts; absent once they were freed.
    pub hosts: Option<Vec<String>>,
    /// By type: hardware, network, access, software, snapshot.
    pub tasks: Vec<TaskState>,
}

/// A task with its status and message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskState {
    #[serde(rename = "type")]
    pub task_type: TaskType,
    pub id: String,
    pub status: i32,
    pub lab_token: String,
    pub message: String,
    /// A host's lab id or a user's id; empty for software.
    pub subject: String,
    /// What `GET …/<task>` answers.
    pub delta: Value,
}

/// A host as the API shows it, and the booking that holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostState {
    pub working: bool,
    /// Absent when the host is free.
    pub booking: Option<u32>,
}

/// A BMC account as it stands in the PDF of the booking.
#[derive(Clone, Debug, PartialEq)]
pub struct BmcAccount {
    pub address: String,
    pub user: String,
    pub password: String,
}

/// A mail that the dashboard sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub body: String,
}

/// A POST to a task, as received.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    pub at: OffsetDateTime,
    pub job: u32,
    pub task: String,
    pub task_type: TaskType,
    /// A host's lab id or a user's id; empty for software.
    pub subject: String,
    /// What the task asked for when the POST came, which tells a late 200 from a true one.
    pub delta: Value,
    /// The posted fields, verbatim.
    pub status: Option<String>,
    pub message: Option<String>,
    pub lab_token: Option<String>,
    /// Whether the dashboard took them.
    pub saved: bool,
}

/// A task on the page that users watch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PageRow {
    pub title: &'static str,
    pub status: PageStatus,
    /// The lab's message; absent while there is none, `--secret--` for another user's access.
    pub response: Option<String>,
}

/// All that users see of a task's status: an error is shown as done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum PageStatus {
    #[serde(rename = "PENDING")]
    Pending,
    #[serde(rename = "IN PROGRESS")]
    InProgress,
    #[serde(rename = "DONE")]
    Done,
}

impl State {
    pub fn job(&self, id: u32) -> Option<JobState> {
        self.bookings.get(&id).map(job_state)
    }

    pub fn jobs(&self) -> Vec<JobState> {
        self.bookings.values().map(job_state).collect()
    }

    pub fn page(&self, id: u32, reader: i64) -> Result<Vec<PageRow>, Refused> {
        let booking = self.bookings.get(&id).ok_or(Refused::UnknownBooking(id))?;
        let rows = TaskType::PAGE.into_iter().flat_map(|(task_type, title)| {
            let tasks = booking
                .tasks
                .iter()
                .filter(move |task| task.task_type() == task_type);
            tasks.map(move |task| page_row(task, title, reader))
        });
        Ok(rows.collect())
    }
}

fn job_state(booking: &Booking) -> JobState {
    let mut tasks: Vec<TaskState> = booking
        .tasks
        .iter()
        .map(|task| TaskState {
            task_type: task.task_type(),
            id: task.id.clone(),
            status: task.status,
            lab_token: task.lab_token.clone(),
            message: task.message.clone(),
            subject: task.subject(),
            delta: task.delta(),
        })
        .collect();
    tasks.sort_by_key(|task| task.task_type);
    JobState {
        job: booking.id,
        complete: booking.complete,
        booking: booking.id,
        lab: booking.lab.clone(),
        hosts: booking
            .hosts
            .as_ref()
            .map(|hosts| hosts.iter().map(|host| host.labid.clone()).collect()),
        tasks,
    }
}

fn page_row(task: &Task, title: &'static str, reader: i64) -> PageRow {
    let status = match task.status {
        ..100 => PageStatus::Pending,
        100..200 => PageStatus::InProgress,
        200.. => PageStatus::Done,
    };
    let secret = task.secret_of().is_some_and(|user| user != reader);
    let response = match task.message.as_str() {
        "" => None,
        _ if secret => Some("--secret--".to_owned()),
        message => Some(message.to_owned()),
    };
    PageRow {
        title,
        status,
        response,
    }
}
