//! Network cards, sending and hearing whole Ethernet frames.

use std::ffi::CString;
use std::io::Error;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::namespace::Namespace;

pub type Mac = [u8; 6];

pub const BROADCAST: Mac = [0xff; 6];

/// The type of frames for experiments that leave no site (IEEE 802, local experimental).
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// The type that says that a VLAN's tag follows (IEEE 802.1Q).
const TAGGED: [u8; 2] = [0x81, 0x00];
/// The bits of a tag that are the VLAN's number.
const VLAN_BITS: u16 = 0x0fff;
/// Holds what is heard between two looks, however late the second is.
const BUFFER: libc::c_int = 64 << 20;

/// A socket on the only card of a namespace.
pub struct Card {
    socket: OwnedFd,
    pub mac: Mac,
}

/// A frame as it came off the wire.
#[derive(Debug)]
pub struct Heard {
    pub from: Mac,
    /// The tags that it bears, the outer one first.
    pub tags: Vec<u16>,
    /// What we wrote into it, if we did.
    pub text: Option<String>,
}

impl Card {
    pub fn open(namespace: &Namespace, name: &str, mac: Mac) -> Self {
        let name = CString::new(name).unwrap();
        let socket = namespace.within(|| {
            let all = (libc::ETH_P_ALL as u16).to_be();
            // SAFETY: each call gets pointers to values of the type and the length it expects, which outlive it; the
            // descriptor is new and ours.
            unsafe {
                let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
                let socket = checked(libc::socket(libc::AF_PACKET, kind, all.into()) as isize);
                let socket = OwnedFd::from_raw_fd(socket as i32);
                let mut address: libc::sockaddr_ll = zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = all;
                address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
                assert_ne!(address.sll_ifindex, 0, "{}", Error::last_os_error());
                let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                let status = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length);
                checked(status as isize);
                socket
            }
        });
        let card = Self { socket, mac };
        card.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER);
        card.option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
        card.option(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1);
        card
    }

    /// Sends a frame with these tags, the outer one first.
    pub fn send(&self, to: Mac, tags: &[u16], text: &str) {
        let mut frame = [to, self.mac].concat();
        for tag in tags {
            frame.extend(TAGGED);
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(EXPERIMENT);
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend(text.as_bytes());
        frame.resize(frame.len().max(60), 0);
        loop {
            // SAFETY: the pointer and the length are those of `frame`.
            let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
            if sent >= 0 {
                return;
            }
            // The card's queue is full for the moment.
            let error = Error::last_os_error();
            let full = [Some(libc::EAGAIN), Some(libc::ENOBUFS)].contains(&error.raw_os_error());
            assert!(full, "{error}");
            std::thread::yield_now();
        }
    }

    /// Everything that came since the last call.
    pub fn heard(&self) -> Vec<Heard> {
        let frames = std::iter::from_fn(|| self.next()).collect();
        // SAFETY: a statistic of zeros is one.
        let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the pointers are to values of the types that the option has, and outlive the call.
        checked(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        } as isize);
        assert_eq!(statistics.tp_drops, 0, "frames came that nobody could look at");
        frames
    }

    fn next(&self) -> Option<Heard> {
        let mut frame = [0_u8; 2048];
        let mut control = [0_u64; 16];
        let mut part = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: the message points to buffers of the lengths it says, which outlive the calls; the kernel's control
        // messages are walked with its own macros and are aligned as `control` is.
        let (length, outer) = unsafe {
            let mut message: libc::msghdr = zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0);
            if length < 0 && Error::last_os_error().raw_os_error() == Some(libc::EAGAIN) {
                return None;
            }
            checked(length);
            (length as usize, outer_tag(&message))
        };
        let (from, mut rest) = (frame[6..12].try_into().unwrap(), &frame[12..length]);
        let mut tags: Vec<u16> = outer.into_iter().collect();
        while let Some([high, low, inner @ ..]) = rest.strip_prefix(&TAGGED) {
            tags.push(u16::from_be_bytes([*high, *low]) & VLAN_BITS);
            rest = inner;
        }
        let text = rest.strip_prefix(&EXPERIMENT).map(|text| {
            let length = usize::from(u16::from_be_bytes([text[0], text[1]]));
            String::from_utf8(text[2..2 + length].to_vec()).unwrap()
        });
        Some(Heard { from, tags, text })
    }

    fn option(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the pointer is to an integer, as these options want one, and outlives the call.
        let status = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                length,
            )
        };
        checked(status as isize);
    }
}

/// The tag that the kernel took off the frame before it showed it to us.
///
/// # Safety
/// The message is one that `recvmsg` has filled.
unsafe fn outer_tag(message: &libc::msghdr) -> Option<u16> {
    // SAFETY: by what the caller promises.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(here) = header.as_ref() {
            if (here.cmsg_level, here.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
                let data = libc::CMSG_DATA(header)
                    .cast::<libc::tpacket_auxdata>()
                    .read_unaligned();
                let valid = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
                return valid.then_some(data.tp_vlan_tci & VLAN_BITS);
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

fn checked(status: isize) -> isize {
    assert!(status >= 0, "{}", Error::last_os_error());
    status
}
