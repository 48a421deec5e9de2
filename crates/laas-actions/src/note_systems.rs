//! Notes which systems run on hosts before they get another, so that an old one is not taken for the new one.

use crate::fog_image;
use crate::hosts::{self, Before, Failed};
use laas_core::action::{Action, Context};
use laas_core::json_arg::JsonArg;
use laas_core::{Failure, HostName, parallel};
use laas_host::HostKey;
use serde::{Deserialize, Serialize};

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The hosts as `plan_job` gives them, e.g. [{"host": "pod1", "hardware": {"request": "aebe085c:0a1b2c3d4e5f6071:0"}}].
    #[arg(
        long,
        env = "LAAS_HOSTS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    hosts: JsonArg<Vec<Planned>>,
    /// Show what answers and remember nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Deserialize)]
struct Planned {
    host: HostName,
    /// Nothing is to be deployed without it.
    hardware: Option<Deploy>,
}

#[derive(Clone, Deserialize)]
struct Deploy {
    request: String,
}

#[derive(Serialize)]
pub struct Output {
    /// Whether anything was noted that was not known.
    changed: bool,
    hosts: Vec<Noted>,
}

/// What is known of one host's systems before its deploy.
#[derive(Serialize)]
struct Noted {
    host: HostName,
    changed: bool,
    #[serde(flatten)]
    before: Before,
}

impl Action for Args {
    const NAME: &'static str = "note_systems";
    const ABOUT: &'static str =
        "Note which systems run on hosts before a deploy, so that none of them is taken for the new one";
    const EXAMPLE: &'static [&'static str] =
        &[r#"--hosts=[{"host": "pod1", "hardware": {"request": "by-hand-1"}}]"#];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let planned = self.hosts.get("hosts")?;
        let dry_run = self.dry_run;
        let config = context.config()?;
        context.datastore()?;
        let deploys: Vec<(&HostName, &str)> = planned
            .iter()
            .filter_map(|p| Some((&p.host, p.hardware.as_ref()?.request.as_str())))
            .collect();
        let results = parallel::map(&deploys, config.timing.concurrency, |(host, request)| {
            note(context, host, request, dry_run).map_err(|failure| Failed::one(host, failure))
        });
        let (mut noted, mut failed) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(host) => noted.push(host),
                Err(host) => failed.push(host),
            }
        }
        match hosts::merged(failed) {
            Some(mut failure) => {
                let names: Vec<_> = noted.iter().map(|n| &n.host).collect();
                failure.done = Some(serde_json::json!({ "hosts": names }));
                Err(failure)
            }
            None => Ok(Output {
                changed: noted.iter().any(|n| n.changed),
                hosts: noted,
            }),
        }
    }
}

fn note(context: &Context, name: &HostName, request: &str, dry_run: bool) -> Result<Noted, Failure> {
    let noted = |changed, before| Noted {
        host: name.clone(),
        changed,
        before,
    };
    // Once per deploy: the next time it may be the new system that answers.
    if let Some(before) = Before::load(context, name)?.filter(|b| b.request == request) {
        return Ok(noted(false, before));
    }
    let host = hosts::load_alone(context, name)?;
    let keys = match fog_image::has_begun(context, name, request)? {
        true => Vec::new(),
        // A host that is off tells nothing, which is no reason to stop.
        false => hosts::login_anywhere(context, &host)?.host_keys(context.config()?.timing.call()),
    };
    let before = Before {
        request: request.to_owned(),
        fingerprints: keys.iter().map(HostKey::fingerprint).collect(),
    };
    if !dry_run {
        before.store(context, name)?;
    }
    Ok(noted(true, before))
}
