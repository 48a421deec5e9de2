//! Changes the administrator password of a host's BIOS.
//!
//! Nobody can log in with it over the network, so there is one proof only: what the firmware says about the settings
//! that it took when the host started last. It says so of all settings together. Where it can't be known whether they
//! were this action's, a change from the new password to itself is asked for, which the firmware makes only if the new
//! one is in force.

mod record;

use crate::bmcs;
use crate::bookings::Guard;
use laas_bmc::bios::{Bios, Settled};
use laas_bmc::power::{self, Command, Patience};
use laas_bmc::{Bmc, BmcError, Power};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::wait::{Backoff, Deadline, Ended};
use laas_core::{Classify, Failure, HostName, Kind, Secret, inventory};
use record::{Next, Record, Stage};
use serde::Serialize;
use std::time::Duration;

/// Every BIOS takes so many letters and digits.
const PASSWORD_LENGTH: usize = 16;
/// In one run: one to learn which password is in force, one to change it. What is in doubt even then waits for the next
/// run.
const RESETS: u8 = 2;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// What this change is for; another one gets another password, e.g. 2026-11. Without it a host gets one once.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// The (encrypted) datastore key of the new password, e.g. bios_of_the_lab; a random one is made without it.
    #[arg(long, value_name = "KEY")]
    password_key: Option<String>,
    /// The (encrypted) datastore key of the password that the BIOS has now, e.g. bios_of_the_factory, if this action
    /// did not set it; none is taken to be set without it.
    #[arg(long, value_name = "KEY")]
    old_password_key: Option<String>,
    /// Reset the host, so that the change is made and proven now; a host that is off is switched on and off again.
    #[arg(long)]
    reset: bool,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    host: HostName,
    /// The (encrypted) datastore key with the password that counts, and the next one.
    key: String,
    /// Whether a change waits for the host's next start; run the action again after it.
    pending: bool,
    /// Whether the password that counts was seen to be the right one.
    proven: bool,
}

/// One run.
struct Work<'a> {
    args: &'a Args,
    context: &'a Context,
    bmc: &'a dyn Bmc,
    bios: &'a dyn Bios,
    record: Record,
    changed: bool,
    resets: u8,
}

impl Action for Args {
    const NAME: &'static str = "bios_password";
    const ABOUT: &'static str =
        "Change the administrator password of a host's BIOS, and prove it once the host has started";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--reset", "--dry_run"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if self.reset && !self.dry_run {
            self.guard.check(context, &self.host, None)?;
        }
        let held = bmcs::hold(context, &self.host)?;
        let bmc = held.bmc.as_ref();
        let bios = bmc.bios().ok_or_else(|| {
            Failure::input(format!("the BMC of `{}` can't change the BIOS", self.host))
                .hint("set `bmc.driver` of the host to `redfish`, if the BMC has it")
                .peer(bmcs::PEER)
                .host(&self.host)
        })?;
        let stored = Record::load(context, &self.host)?;
        let record = match (stored, &self.old_password_key) {
            // The operator knows better, unless a change is under way.
            (Some(record), Some(key)) if record.next.is_none() => self.told(context, record, key)?,
            (Some(record), _) => record,
            (None, Some(key)) => self.told(context, Record::default(), key)?,
            (None, None) => Record::default(),
        };
        let mut work = Work {
            args: &self,
            context,
            bmc,
            bios,
            record,
            changed: false,
            resets: 0,
        };
        work.run()?;
        Ok(Output {
            changed: work.changed,
            key: record::key(&self.host),
            pending: work.record.next.is_some(),
            proven: work.record.proven,
            host: self.host,
        })
    }
}

impl Args {
    /// The record with the old password that the operator names.
    fn told(&self, context: &Context, mut record: Record, key: &str) -> Result<Record, Failure> {
        let password = self.read(context, key)?;
        if password != record.password {
            let other = std::mem::replace(&mut record.password, password);
            record.doubt(other);
            record.proven = false;
        }
        Ok(record)
    }

    fn read(&self, context: &Context, key: &str) -> Result<Secret, Failure> {
        let read = inventory::read(context.datastore()?, key);
        read.at_peer("datastore").of_host(&self.host)
    }

    /// The password that is to be set; nothing if the one that counts is it.
    fn wanted(&self, context: &Context, record: &Record) -> Result<Option<Secret>, Failure> {
        if let Some(key) = &self.password_key {
            let password = self.read(context, key)?;
            let fits = !password.is_empty()
                && password.expose().len() <= 31
                && password.expose().chars().all(|c| c.is_ascii_graphic());
            if !fits {
                return Err(Failure::input(format!(
                    "the password in the key `{key}` must be 1 to 31 printable ASCII characters without spaces"
                ))
                .host(&self.host));
            }
            return Ok((password != record.password || !record.proven).then_some(password));
        }
        if record.proven && (self.request.is_none() || self.request == record.request) {
            return Ok(None);
        }
        let random = Secret::random(PASSWORD_LENGTH);
        random
            .map(Some)
            .map_err(|e| Failure::input(format!("the operating system gives no random numbers: {e}")))
    }
}

impl Work<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        // What an earlier run has begun comes first.
        for _ in 0..2 {
            if self.record.next.is_none() && !self.begin()? {
                return Ok(());
            }
            if self.args.dry_run || !self.finish()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins the change to the password that is to be set; false if the one that counts is it.
    fn begin(&mut self) -> Result<bool, Failure> {
        let Some(password) = self.args.wanted(self.context, &self.record)? else {
            return Ok(false);
        };
        self.changed = true;
        self.record.next = Some(Next {
            password,
            request: self.args.request.clone(),
            stage: Stage::Stored,
            mark: self.at_bmc(self.bios.settled())?.mark,
            taken: false,
            reset: false,
        });
        if !self.args.dry_run {
            // Before the BMC hears of it, so that the password of a BIOS is always known here.
            self.store()?;
        }
        Ok(true)
    }

    /// Goes on with the change that is under way; true if it is at its end, false if it waits for the host's start.
    fn finish(&mut self) -> Result<bool, Failure> {
        loop {
            let settled = self.at_bmc(self.bios.settled())?;
            if self.record.next.as_ref().is_some_and(|n| n.mark != settled.mark) {
                self.judge(&settled)?;
            }
            // What was cut off is told once more, which is no harm before the host has started.
            match self.record.next.as_ref().map(|n| n.stage) {
                None => return Ok(true),
                Some(Stage::Stored) => self.send(Stage::Sent)?,
                Some(Stage::Doubt) => self.send(Stage::Checked)?,
                Some(Stage::Sent | Stage::Checked) if !self.args.reset => return Ok(false),
                Some(Stage::Sent | Stage::Checked) if self.resets < RESETS => self.reset()?,
                Some(Stage::Sent | Stage::Checked) => {
                    let error = format!("the change is not proven after {RESETS} resets");
                    return Err(Failure::new(Kind::Unreachable, error)
                        .hint("run it again: it goes on where it is")
                        .peer(bmcs::PEER)
                        .host(&self.args.host));
                }
            }
        }
    }

    /// The firmware has taken settings since the change's stage began.
    fn judge(&mut self, settled: &Settled) -> Result<(), Failure> {
        let Some(next) = &mut self.record.next else {
            return Ok(());
        };
        self.changed = true;
        let (stage, taken) = (next.stage, next.taken);
        settled.mark.clone_into(&mut next.mark);
        next.reset = false;
        let refused = match stage {
            Stage::Sent | Stage::Checked if settled.is_success() => {
                self.record.promote();
                false
            }
            Stage::Stored | Stage::Doubt => {
                next.stage = Stage::Doubt;
                false
            }
            // It took some and refused some.
            Stage::Sent if settled.took => {
                next.stage = Stage::Doubt;
                false
            }
            // The new one is not in force, and it may be that the BMC never heard of it.
            Stage::Checked if !taken => {
                next.stage = Stage::Stored;
                false
            }
            Stage::Sent | Stage::Checked => {
                self.record.give_up();
                true
            }
        };
        self.store()?;
        if refused {
            Err(self.refused(settled))
        } else {
            Ok(())
        }
    }

    /// Tells the BMC: to go from the old one to the new one, or to check by going from the new one to itself.
    fn send(&mut self, stage: Stage) -> Result<(), Failure> {
        let Some(next) = &self.record.next else {
            return Ok(());
        };
        let old = match stage {
            Stage::Checked => &next.password,
            _ => &self.record.password,
        };
        self.at_bmc(self.bios.change_password(old, &next.password))?;
        self.changed = true;
        let mark = self.at_bmc(self.bios.settled())?.mark;
        if let Some(next) = &mut self.record.next {
            next.taken |= stage == Stage::Sent;
            // The host was just starting: whether it took these settings or older ones is not known.
            next.stage = if next.mark == mark { stage } else { Stage::Doubt };
            next.mark = mark;
        }
        self.store()
    }

    /// Has the host start, and waits until the firmware has taken the settings.
    fn reset(&mut self) -> Result<(), Failure> {
        let timing = &self.context.config()?.timing;
        let patience = Patience {
            limit: Duration::from_secs(timing.power),
            poll: timing.poll(),
            force: false,
        };
        let before = self.at_bmc(self.bmc.power())?;
        let is_under_way = self.record.next.as_ref().is_some_and(|n| n.reset) && before == Power::On;
        // A host that an earlier run has reset is not disturbed while it starts.
        if is_under_way && self.wait(timing.boot, timing.poll())? {
            return Ok(());
        }
        self.changed = true;
        self.resets += 1;
        if let Some(next) = &mut self.record.next {
            next.reset = true;
        }
        self.store()?;
        let command = match before {
            Power::On => Command::Reset,
            Power::Off => Command::On,
        };
        self.at_bmc(power::run(self.bmc, command, before, &patience))?;
        if !self.wait(timing.boot, timing.poll())? {
            // The BMC may have said that it took the change and have lost it: the next run tells it again.
            if let Some(next) = &mut self.record.next {
                next.stage = match next.stage {
                    Stage::Stored | Stage::Sent => Stage::Stored,
                    Stage::Doubt | Stage::Checked => Stage::Doubt,
                };
                next.reset = false;
            }
            self.store()?;
            let error = format!("the firmware has not taken its settings after {} s", timing.boot);
            return Err(Failure::new(Kind::Unreachable, error)
                .hint("look at the host's console; if it is only slow, raise `timing.boot`")
                .peer(bmcs::PEER)
                .host(&self.args.host));
        }
        if before == Power::Off {
            self.at_bmc(power::run(self.bmc, Command::Off, Power::On, &patience))?;
        }
        Ok(())
    }

    /// Whether the firmware has taken settings within so many seconds.
    fn wait(&self, seconds: u64, poll: Duration) -> Result<bool, Failure> {
        let deadline = Deadline::seconds(seconds);
        let mut backoff = Backoff::new(Duration::from_millis(100), poll);
        let mark = self.record.next.as_ref().map(|n| n.mark.as_str());
        loop {
            match self.bios.settled() {
                Ok(settled) if mark != Some(&settled.mark) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == Kind::Unreachable => tracing::warn!(%error, "still waiting"),
                Err(error) => return self.at_bmc(Err(error)),
            }
            match backoff.pause(&deadline) {
                Ok(()) => {}
                Err(Ended::Deadline) => return Ok(false),
                Err(source) => {
                    let address = self.bmc.address().to_owned();
                    return self.at_bmc(Err(BmcError::Waiting { address, source }));
                }
            }
        }
    }

    fn refused(&self, settled: &Settled) -> Failure {
        let said = match settled.refusals.is_empty() {
            true => "nothing".to_owned(),
            false => settled.refusals.join(", "),
        };
        Failure::new(
            Kind::Refused,
            format!(
                "the firmware of `{}` did not take its new settings: {said}",
                self.args.host
            ),
        )
        .hint(format!(
            "the BIOS may have another password than `{}` says; what was tried is in its `doubtful`. Name the right one as \
             `old_password_key`",
            record::key(&self.args.host)
        ))
        .peer(bmcs::PEER)
        .host(&self.args.host)
    }

    fn at_bmc<T>(&self, result: Result<T, BmcError>) -> Result<T, Failure> {
        result.at_peer(bmcs::PEER).of_host(&self.args.host)
    }

    fn store(&self) -> Result<(), Failure> {
        self.record.store(self.context, &self.args.host)
    }
}
