//! VPN users as entries of an LDAP directory.
//!
//! No password crosses the wire before TLS stands: `ldap://` means StartTLS here.

mod directory;
mod error;
mod mark;
mod names;
mod server;
mod starttls;

pub use directory::{Added, Directory, Session, Whose};
pub use error::VpnError;
pub use mark::Mark;
pub use names::candidate;
