//! Addresses for what is started anew under the same one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use uuid::Uuid;

/// A port on an address that hardly anybody else has: between the end of a daemon and its next start nobody takes it, be
/// it another lab that starts or a connection that goes out.
///
/// # Errors
/// What binding says.
pub fn free_address() -> io::Result<SocketAddr> {
    let [third, fourth, ..] = *Uuid::new_v4().as_bytes();
    TcpListener::bind((Ipv4Addr::new(127, 95, third, fourth.clamp(1, 254)), 0))?.local_addr()
}
