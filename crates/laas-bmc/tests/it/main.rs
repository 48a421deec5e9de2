//! The driver against OpenIPMI's `ipmi_sim` with the real `ipmitool`.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod ipmi;
mod sim;
