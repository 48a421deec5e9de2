//! Power, proven: a command has succeeded when the BMC reports the state that was asked for.

use crate::{Bmc, BmcError, Button, Power};
use laas_core::wait::{Backoff, Deadline, Ended};
use laas_core::{Classify, Kind};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Command {
    /// Only says whether the host is on.
    Status,
    On,
    /// Hard, at once.
    Off,
    /// As the power button does: the system shuts down by itself.
    Soft,
    /// Hard off if it is on, then on: two states that can be read back, which the BMC's own cycle has not.
    Cycle,
    /// Restarts a running host without taking its power. That the BMC took the order and the host is on afterwards is all
    /// that a BMC can prove: it was on before.
    Reset,
}

/// How patient to be.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For each change of power, until the BMC reports it.
    pub limit: Duration,
    /// The longest pause between two looks.
    pub poll: Duration,
    /// Whether a host that does not shut down in time is switched off hard.
    pub force: bool,
}

/// The state in which `command` leaves a host that is in `now`.
///
/// # Errors
/// A host that is off can't be reset: who asks for it is wrong about the host.
pub fn aim(command: Command, now: Power, address: &str) -> Result<Power, BmcError> {
    match command {
        Command::Status => Ok(now),
        Command::On | Command::Cycle => Ok(Power::On),
        Command::Off | Command::Soft => Ok(Power::Off),
        Command::Reset if now == Power::On => Ok(Power::On),
        Command::Reset => Err(BmcError::ResetOfOff {
            address: address.to_owned(),
        }),
    }
}

/// Whether `command` does anything to a host that is in `now`.
pub fn acts(command: Command, now: Power) -> bool {
    match command {
        Command::Status => false,
        Command::On => now == Power::Off,
        Command::Off | Command::Soft => now == Power::On,
        Command::Cycle | Command::Reset => true,
    }
}

/// Does it to a host that is in `now`, and waits until the BMC reports the state that was asked for.
///
/// # Errors
/// The BMC can't be asked, refuses, or says yes and does nothing.
pub fn run(bmc: &dyn Bmc, command: Command, now: Power, patience: &Patience) -> Result<Power, BmcError> {
    let wanted = aim(command, now, bmc.address())?;
    if !acts(command, now) {
        return Ok(now);
    }
    match command {
        Command::Status => Ok(now),
        Command::On => turn(bmc, Button::On, wanted, patience),
        Command::Off => turn(bmc, Button::Off, wanted, patience),
        Command::Reset => {
            bmc.press(Button::Reset)?;
            until(bmc, Button::Reset, wanted, patience)
        }
        Command::Cycle => {
            if now == Power::On {
                turn(bmc, Button::Off, Power::Off, patience)?;
            }
            turn(bmc, Button::On, wanted, patience)
        }
        Command::Soft => match turn(bmc, Button::Soft, wanted, patience) {
            Err(error) if patience.force && error.kind() != Kind::Cancelled => {
                tracing::warn!(%error, "switching off hard");
                turn(bmc, Button::Off, wanted, patience)
            }
            result => result,
        },
    }
}

fn turn(bmc: &dyn Bmc, button: Button, wanted: Power, patience: &Patience) -> Result<Power, BmcError> {
    tracing::info!(bmc = bmc.address(), %button, "told the BMC");
    match bmc.press(button) {
        Ok(()) => {}
        // The BMC may have obeyed and its answer be lost, or be busy with it already: its state decides.
        Err(error) if error.kind() == Kind::Unreachable => {
            tracing::warn!(%error, "no clear answer");
            if bmc.power()? != wanted {
                bmc.press(button)?;
            }
        }
        Err(error) => return Err(error),
    }
    until(bmc, button, wanted, patience)
}

fn until(bmc: &dyn Bmc, button: Button, wanted: Power, patience: &Patience) -> Result<Power, BmcError> {
    let deadline = Deadline::after(patience.limit);
    let mut backoff = Backoff::new(Duration::from_millis(100), patience.poll);
    loop {
        let look = bmc.power();
        match &look {
            Ok(found) if *found == wanted => return Ok(wanted),
            Ok(_) => {}
            // A BMC that is busy switching may be silent for a while.
            Err(error) if error.kind() == Kind::Unreachable => tracing::warn!(%error, "still waiting"),
            Err(_) => return look,
        }
        match (backoff.pause(&deadline), look) {
            (Ok(()), _) => {}
            (Err(Ended::Deadline), Ok(found)) => {
                return Err(BmcError::PowerStays {
                    address: bmc.address().to_owned(),
                    button,
                    found,
                    seconds: patience.limit.as_secs(),
                });
            }
            (Err(Ended::Deadline), Err(error)) => return Err(error),
            (Err(source), _) => {
                return Err(BmcError::Waiting {
                    address: bmc.address().to_owned(),
                    source,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use std::cell::RefCell;

    #[test]
    fn a_bmc_that_falls_silent_is_asked_again_and_told_no_more_than_needed() {
        use Power::{Off, On};
        // What is answered to the button, what is seen afterwards, how often it is pressed, how it ends.
        for (presses, looks, pressed, reached) in [
            (vec![], vec![Some(Off), Some(Off), Some(On)], 1, true),
            (vec![], vec![None, None, Some(On)], 1, true),
            (vec![None], vec![Some(On)], 1, true),
            (vec![None], vec![Some(Off), Some(Off), Some(On)], 2, true),
            (vec![None], vec![None], 1, false),
            (vec![None, None], vec![Some(Off)], 2, false),
            (vec![], vec![None], 1, false),
            (vec![], vec![Some(Off)], 1, false),
        ] {
            let case = format!("{presses:?} {looks:?}");
            let bmc = Fake {
                looks: RefCell::new(looks.into()),
                presses: RefCell::new(presses.into()),
                ..Fake::default()
            };
            // A case that ends well must not depend on the time that it takes.
            let limit = Duration::from_millis(if reached { 60_000 } else { 20 });
            let patience = Patience {
                limit,
                poll: Duration::from_millis(1),
                force: false,
            };
            let end = run(&bmc, Command::On, Off, &patience);
            assert_eq!(end.is_ok(), reached, "{case}: {end:?}");
            assert_eq!(bmc.pressed.borrow().len(), pressed, "{case}");
        }
    }
}
