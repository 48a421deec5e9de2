//! How long the lab takes over what takes a real lab minutes.

use std::time::Duration;

/// The time each slow thing takes. Tests use [`Pace::zero`], people
/// [`Pace::demo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From power on, or the end of a shutdown, to a system that answers.
    pub boot: Duration,
    /// From the wish to shut down to power off or reboot.
    pub shutdown: Duration,
    /// Writing a whole image to a disk.
    pub imaging: Duration,
    /// Between two looks of the dashboard at ended bookings and hosts to
    /// free. The real one's timers fire once a minute.
    pub poll: Duration,
    /// A call to a switch.
    pub switch: Duration,
}

impl Pace {
    /// No artificial delay at all. The dashboard's timer still needs a
    /// period; it is short enough not to be noticed.
    pub const fn zero() -> Self {
        Self {
            boot: Duration::ZERO,
            shutdown: Duration::ZERO,
            imaging: Duration::ZERO,
            poll: Duration::from_millis(50),
            switch: Duration::ZERO,
        }
    }

    /// Slow enough for a person to see each step happen.
    pub const fn demo() -> Self {
        Self {
            boot: Duration::from_millis(1500),
            shutdown: Duration::from_millis(500),
            imaging: Duration::from_secs(5),
            poll: Duration::from_secs(1),
            switch: Duration::from_millis(100),
        }
    }
}
