//! VPN users as entries of an LDAP directory.
//!
//! No password crosses the wire before TLS stands: `ldap://` means StartTLS here.

mod directory;
mod error;
mod names;
mod server;
mod starttls;

pub use directory::{Added, Directory, Session};
pub use error::VpnError;
pub use names::candidates;
