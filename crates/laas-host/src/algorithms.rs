//! Why a server and libssh2 come to no connection: what each of them offers.

use ssh2::MethodType;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// SSH_MSG_KEXINIT (RFC 4253 §12).
const KEXINIT: u8 = 20;
/// RFC 4253 §6.1: an implementation must take packets of up to 35000 bytes.
const LONGEST: usize = 35_000;
/// Of a server's list, in characters.
const LONGEST_LIST: usize = 300;
/// In the order in which the server sends its lists; MAC and compression matter only with some ciphers.
const KINDS: [(MethodType, &str); 4] = [
    (MethodType::Kex, "key exchange"),
    (MethodType::HostKey, "host key"),
    (MethodType::CryptCs, "cipher"),
    (MethodType::CryptSc, "cipher"),
];

/// The first kind of algorithm of which the two have none in common, with both lists.
pub fn mismatch(session: &ssh2::Session, server: SocketAddr, timeout: Duration) -> Option<String> {
    let offered = offered(server, timeout)?;
    KINDS.iter().zip(offered).find_map(|((method, name), theirs)| {
        let ours = session.supported_algs(*method).ok()?;
        let common = theirs.split(',').any(|their| ours.contains(&their));
        let theirs: String = theirs.chars().take(LONGEST_LIST).collect();
        (!common).then(|| {
            format!(
                "its {name} is one of `{theirs}`, the pack's of `{}`",
                ours.join(",")
            )
        })
    })
}

/// What the server says it can do, before anything is encrypted.
fn offered(server: SocketAddr, timeout: Duration) -> Option<Vec<String>> {
    let mut stream = TcpStream::connect_timeout(&server, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    stream.write_all(b"SSH-2.0-laas\r\n").ok()?;
    let mut stream = stream.take(2 * LONGEST as u64);
    // Other lines may come before the one with its version (RFC 4253 §4.2).
    while !line(&mut stream)?.starts_with(b"SSH-") {}
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let mut packet = vec![0; (length <= LONGEST).then_some(length)?];
    stream.read_exact(&mut packet).ok()?;
    name_lists(&packet)
}

fn line(stream: &mut impl Read) -> Option<Vec<u8>> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" {
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    Some(line)
}

/// Of a packet: the length of its padding, the message's number, a cookie of 16 bytes, and lists of names.
fn name_lists(packet: &[u8]) -> Option<Vec<String>> {
    let (_, message) = packet.split_first()?;
    let mut rest = message.strip_prefix(&[KEXINIT])?.get(16..)?;
    let mut lists = Vec::new();
    for _ in KINDS {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        lists.push(String::from_utf8(tail.get(..length)?.to_vec()).ok()?);
        rest = &tail[length..];
    }
    lists
        .iter()
        .all(|list| list.bytes().all(|c| c.is_ascii_graphic()))
        .then_some(lists)
}
