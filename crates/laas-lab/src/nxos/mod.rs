//! A Nexus switch: NX-API over HTTP with running and startup configuration.

pub mod vlan_set;
