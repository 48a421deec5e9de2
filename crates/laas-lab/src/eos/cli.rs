//! The command line: what the commands of one request do, one after the other.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Session, State};
use crate::nxos::config::{Config, Context, LineError};

const RELEASE: &str = "4.28.3M";
/// So many sessions may be open, as `show configuration sessions` says.
const MOST_PENDING: usize = 5;

/// Where the commands of one request are.
#[derive(Debug, Default)]
pub struct Shell {
    mode: Mode,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Unprivileged,
    Privileged,
    Configuring(Context),
    InSession(String, Context),
}

/// What a command says, as a person sees it and, where there is such a form, as JSON.
#[derive(Debug, Default)]
pub struct Said {
    pub text: String,
    pub json: Option<Value>,
}

impl Said {
    fn text(text: String) -> Self {
        Self { text, json: None }
    }

    fn nothing() -> Self {
        Self {
            text: String::new(),
            json: Some(json!({})),
        }
    }
}

impl Shell {
    /// In the running configuration.
    pub fn configuring() -> Self {
        Self {
            mode: Mode::Configuring(Context::default()),
        }
    }

    /// Does one command. `input` is what it is given when it asks.
    pub fn run(&mut self, state: &mut State, command: &str, input: Option<&str>) -> Result<Said, String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match (words.as_slice(), &mut self.mode) {
            (["enable"], _) => {
                if state.enable_password.is_some() && state.enable_password.as_deref() != input {
                    return Err("Bad secret".into());
                }
                self.mode = Mode::Privileged;
                Ok(Said::nothing())
            }
            (["show", "version"], _) => Ok(Said {
                text: format!("Arista DCS-7050TX-64-R\nSoftware image version: {RELEASE}\n"),
                json: Some(json!({"version": RELEASE, "modelName": "DCS-7050TX-64-R"})),
            }),
            (["show", "vlan"], _) => Ok(show_vlan(&state.running)),
            (_, Mode::Unprivileged) => Err("Invalid input (privileged mode required)".into()),
            (["show", "running-config"], _) => Ok(Said::text(whole(&state.running))),
            (["show", "running-config", "diffs"], _) => Ok(Said::text(diffs(state))),
            (["show", "configuration", "sessions"], _) => Ok(show_sessions(state)),
            (["copy", "running-config", "startup-config"] | ["write"] | ["write", "memory"], _) => {
                state.startup = state.running.clone();
                state.counters.saves += 1;
                Ok(Said::text("Copy completed successfully.\n".into()))
            }
            (["no", "configure", "session", name], _) => {
                let known = state.sessions.remove(*name);
                known
                    .map(|_| Said::nothing())
                    .ok_or_else(|| format!("No session named {name}"))
            }
            (["configure"] | ["configure", "terminal"], _) => {
                self.mode = Mode::Configuring(Context::default());
                Ok(Said::nothing())
            }
            (["configure", "session", name], _) => {
                open(state, name)?;
                self.mode = Mode::InSession((*name).into(), Context::default());
                Ok(Said::nothing())
            }
            (["abort"], Mode::InSession(name, _)) => {
                state.sessions.remove(name.as_str());
                self.mode = Mode::Privileged;
                Ok(Said::nothing())
            }
            (["commit"], Mode::InSession(name, _)) => {
                let session = state.sessions.get_mut(name.as_str()).ok_or("No such session")?;
                let mut running = state.running.clone();
                replay(&mut running, &session.lines)?;
                state.running = running;
                session.completed = true;
                state.counters.lines.append(&mut session.lines);
                self.mode = Mode::Privileged;
                Ok(Said::nothing())
            }
            (["end"], _) => {
                self.mode = Mode::Privileged;
                Ok(Said::nothing())
            }
            (_, Mode::Privileged) => Err(invalid(command)),
            (_, Mode::Configuring(context)) => {
                apply(&mut state.running, context, command)?;
                state.counters.lines.push(command.into());
                Ok(Said::nothing())
            }
            (_, Mode::InSession(name, context)) => {
                let session = state.sessions.get_mut(name.as_str()).ok_or("No such session")?;
                // Tried on a copy: the running configuration changes at the commit.
                let mut copy = state.running.clone();
                replay(&mut copy, &session.lines)?;
                apply(&mut copy, context, command)?;
                session.lines.push(command.into());
                Ok(Said::nothing())
            }
        }
    }
}

/// Opens a session, or goes on with one that was left.
fn open(state: &mut State, name: &str) -> Result<(), String> {
    match state.sessions.get(name) {
        Some(Session { completed: false, .. }) => return Ok(()),
        Some(_) => return Err(format!("Session {name} is already completed")),
        None => {}
    }
    // The last one that was completed is remembered.
    let pending = state
        .sessions
        .values()
        .filter(|session| !session.completed)
        .count();
    if pending >= MOST_PENDING {
        return Err(
            "Maximum number of pending sessions has been reached. Please commit or abort previous sessions \
                    before creating a new one."
                .into(),
        );
    }
    state.sessions.retain(|_, session| !session.completed);
    state.sessions.insert(name.into(), Session::default());
    Ok(())
}

fn replay(config: &mut Config, lines: &[String]) -> Result<(), String> {
    let mut context = Context::default();
    lines
        .iter()
        .try_for_each(|line| apply(config, &mut context, line))
}

fn apply(config: &mut Config, context: &mut Context, line: &str) -> Result<(), String> {
    config.apply(context, line).map_err(|error| match error {
        LineError::Syntax(_) => invalid(line),
        LineError::Execution(text) => text.trim().into(),
    })
}

fn invalid(command: &str) -> String {
    let last = command.split_whitespace().enumerate().last();
    let (place, token) = last.unwrap_or_default();
    format!("Invalid input (at token {place}: '{token}')")
}

pub fn whole(config: &Config) -> String {
    let mut text =
        format!("! Command: show running-config\n! device: lab-switch (DCS-7050TX-64-R, EOS-{RELEASE})\n!\n");
    for (vlan, settings) in config.vlans.iter().filter(|(vlan, _)| **vlan != 1) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "vlan {vlan}");
        if let Some(name) = &settings.name {
            let _ = writeln!(text, "   name {name}");
        }
        if !settings.active {
            let _ = writeln!(text, "   state suspend");
        }
        text.push_str("!\n");
    }
    for port in config.ports.keys() {
        let _ = writeln!(text, "{}!", config.port_section(*port));
    }
    text.push_str("interface Management1\n   ip address 10.0.0.2/24\n!\nend\n");
    text
}

/// As `diff -u` says it; nothing if all is saved.
fn diffs(state: &State) -> String {
    if state.running == state.startup {
        return String::new();
    }
    let (startup, running) = (whole(&state.startup), whole(&state.running));
    let only = |mark: char, these: &str, those: &str| {
        let lines = these
            .lines()
            .filter(|line| !those.lines().any(|other| other == *line));
        lines.map(|line| format!("{mark}{line}\n")).collect::<String>()
    };
    format!(
        "--- flash:/startup-config\n+++ system:/running-config\n{}{}",
        only('-', &startup, &running),
        only('+', &running, &startup)
    )
}

fn show_sessions(state: &State) -> Said {
    let mut text = format!(
        "Maximum number of completed sessions: 1\nMaximum number of pending sessions: {MOST_PENDING}\n\n  \
         Name                 State         User    Terminal\n  -------------------- ------------- ------- --------\n"
    );
    let mut sessions = json!({});
    for (name, session) in &state.sessions {
        let shown = if session.completed { "completed" } else { "pending" };
        let _ = writeln!(text, "  {name:<20} {shown}");
        sessions[name] = json!({"state": shown, "instances": {}});
    }
    Said {
        text,
        json: Some(json!({"sessions": sessions, "maxSavedSessions": 1, "maxOpenSessions": MOST_PENDING})),
    }
}

fn show_vlan(config: &Config) -> Said {
    let mut text =
        "VLAN  Name                             Status    Ports\n----- ----------- --------- -------\n"
            .to_owned();
    let mut vlans = json!({});
    for (vlan, settings) in &config.vlans {
        let name = settings.name.clone().unwrap_or_else(|| match vlan {
            1 => "default".into(),
            _ => format!("VLAN{vlan:04}"),
        });
        let status = if settings.active { "active" } else { "suspended" };
        let _ = writeln!(text, "{vlan:<5} {name:<32} {status}");
        vlans[vlan.to_string()] = json!({"name": name, "status": status, "dynamic": false, "interfaces": {}});
    }
    Said {
        text,
        json: Some(json!({"vlans": vlans, "sourceDetail": ""})),
    }
}
