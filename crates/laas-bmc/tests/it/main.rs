//! The drivers against OpenIPMI's `ipmi_sim` with the real `ipmitool`, and against sushy-tools' emulator.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod ipmi;
mod redfish;
mod sim;
mod sushy;
#[path = "../../../../tests/venv.rs"]
mod venv;
