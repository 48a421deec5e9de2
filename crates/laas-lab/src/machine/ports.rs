//! Ports that all machines of a lab share.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;

/// Where ports are kept: an address that no part of a lab uses otherwise.
const ANCHOR: Ipv4Addr = Ipv4Addr::new(127, 96, 255, 255);

/// The ports of SSH, of IPMI and of Redfish on all machines of a lab.
///
/// Labs that run side by side use the same addresses; as each keeps its ports
/// on one address for as long as it lives, they never meet.
#[derive(Debug, Clone)]
pub struct Ports {
    /// TCP, on each address a machine has got.
    pub ssh: u16,
    /// UDP, on each BMC's address.
    pub bmc: u16,
    /// TCP, on the address of each BMC with a Redfish service.
    pub redfish: u16,
    /// Held, not used.
    _kept: Arc<(TcpListener, UdpSocket, TcpListener)>,
}

impl Ports {
    /// Takes free ports until the last clone is dropped.
    ///
    /// # Errors
    /// What binding says.
    pub fn take() -> io::Result<Self> {
        let (ssh, bmc) = (TcpListener::bind((ANCHOR, 0))?, UdpSocket::bind((ANCHOR, 0))?);
        let redfish = TcpListener::bind((ANCHOR, 0))?;
        Ok(Self {
            ssh: ssh.local_addr()?.port(),
            bmc: bmc.local_addr()?.port(),
            redfish: redfish.local_addr()?.port(),
            _kept: Arc::new((ssh, bmc, redfish)),
        })
    }
}
