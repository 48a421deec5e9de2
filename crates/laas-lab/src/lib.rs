//! A lab without hardware: every outside system the pack talks to, on
//! loopback, with real state behind it.
//!
//! Where a real daemon can be had it runs as a child (slapd, sshd, ipmi_sim);
//! the rest answers as the real systems were seen to answer. Nothing here is
//! shared with the clients, so that a mistake in one cannot cancel out in the
//! other.

pub mod bot;
pub mod cabling;
pub mod checks;
pub mod command_line;
pub mod control;
pub mod dashboard;
pub mod demo;
pub mod eos;
pub mod faults;
pub mod fog;
pub mod http;
pub mod inventory;
pub mod lab;
mod loopback;
pub mod machine;
pub mod nxos;
pub mod pace;
pub mod slapd;
pub mod stack;
pub mod switch;
