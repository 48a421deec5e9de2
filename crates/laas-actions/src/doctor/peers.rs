//! The dashboard, the bot, and everybody's clock.

use super::Lab;
use super::inventory::TOKEN;
use super::rounds::{Check, Report};
use laas_core::Failure;
use laas_core::http::{Http, Tls};
use laas_core::parallel;
use laas_dashboard::{Dashboard, DashboardError, List};
use serde_json::Value;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

const DASHBOARD: &str = "dashboard";
const BOT: &str = "bot";
/// A dashboard is a small web site.
const AT_ONCE: u64 = 8;
/// Logs can't be laid side by side with more, and certificates begin to look as if they were not valid yet.
const MOST_SKEW: i64 = 60;

pub fn checks(lab: &Arc<Lab>) -> Vec<Check> {
    let mut checks = Vec::new();
    let with = lab.clone();
    checks.push(Check::new(DASHBOARD, None, move |report| {
        if let Err(failure) = dashboard(&with, report) {
            report.failed(DASHBOARD, failure);
        }
    }));
    if let Some(config) = lab.config.bot().cloned() {
        let call = lab.call;
        checks.push(Check::new(BOT, None, move |report| {
            // Whatever it answers, it is there; what it takes is told by a message only, which would be one.
            let asked =
                Http::new(&config.address, &config.tls, call).and_then(|http| http.send(http.get(&[])));
            if let Err(error) = asked {
                report.failed(BOT, error);
            }
        }));
    }
    let mut clocks: Vec<(&'static str, String, String, Tls)> = Vec::new();
    if let Ok(fog) = lab.config.fog() {
        clocks.push(("fog", "FOG".to_owned(), fog.address.clone(), fog.tls.clone()));
    }
    if let Ok(dashboard) = lab.config.dashboard() {
        let (address, tls) = (dashboard.address.clone(), dashboard.tls.clone());
        clocks.push((DASHBOARD, "the dashboard".to_owned(), address, tls));
    }
    for (peer, name, address, tls) in clocks {
        let call = lab.call;
        checks.push(Check::new(peer, None, move |report| {
            clock(peer, &name, &address, &tls, call, report)
        }));
    }
    checks
}

fn dashboard(lab: &Lab, report: &mut Report) -> Result<(), Failure> {
    let (Ok(config), Some(token)) = (lab.config.dashboard(), lab.entries.value(TOKEN)) else {
        return Ok(());
    };
    let dashboard = Dashboard::new(config, token, lab.call)?;
    dashboard.jobs(List::New)?;
    let answers = parallel::map(&lab.hosts, AT_ONCE, |host| dashboard.is_booked(&host.name));
    for (host, answer) in lab.hosts.iter().zip(answers) {
        let unknown = match answer {
            Ok(Some(_)) => continue,
            Ok(None) => true,
            // So a dashboard of 2022 says that it does not know the host.
            Err(DashboardError::Answer { status: 500, .. }) => true,
            Err(error) => {
                report.failed_for(DASHBOARD, Some(host.name.as_str()), error);
                continue;
            }
        };
        if unknown {
            let what = format!("the dashboard does not know the host `{}`", host.name);
            let hint =
                "its name there must be that of the inventory, and its lab that of `dashboard.lab_name`";
            report.find(DASHBOARD, Some(host.name.as_str()), what, hint);
        }
    }
    Ok(())
}

/// What a peer's clock says. That it can't be asked is said by the check of the peer itself.
fn clock(
    peer: &'static str,
    name: &str,
    address: &str,
    tls: &Tls,
    call: std::time::Duration,
    report: &mut Report,
) {
    let Ok(http) = Http::new(address, tls, call) else {
        return;
    };
    // Where FOG 1.6 says its version; to others it is a page that is not there.
    let Ok(answer) = http.send(http.get(&["system", "info"])) else {
        return;
    };
    if peer == "fog"
        && let Ok(info) = answer.json::<Value>()
        && let Some(version) = info.get("version").and_then(Value::as_str)
    {
        report
            .versions
            .insert("fog".to_owned(), version.chars().take(40).collect());
    }
    let Some(said) = answer
        .date
        .as_deref()
        .and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok())
    else {
        return;
    };
    let ahead = (said - OffsetDateTime::now_utc()).whole_seconds();
    if ahead.abs() > MOST_SKEW {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let what = format!(
            "the clock of {name} is {} s {direction} this machine's",
            ahead.abs()
        );
        report.find(
            peer,
            None,
            what,
            "set both by NTP: `timedatectl` shows whether this machine's is",
        );
    }
}
