//! The one exchange before TLS stands: StartTLS, RFC 4511 section 4.14.

use std::io::{self, Read, Write};

/// An extended request, message 1, with the name `1.3.6.1.4.1.1466.20037` and no value, in BER.
const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// More than any answer needs; whatever announces more is no LDAP server.
const ANSWER_LIMIT: usize = 4096;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const EXTENDED_RESPONSE: u8 = 0x78;

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No { code: u32, said: String },
    Garbled,
}

/// Asks for TLS; after `Yes` the handshake follows on the same stream.
///
/// # Errors
/// The stream broke off or was too slow.
pub fn ask(stream: &mut (impl Read + Write)) -> io::Result<Answer> {
    stream.write_all(REQUEST)?;
    let mut message = Vec::new();
    // Byte by byte, since what follows the answer belongs to TLS.
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        message.push(byte[0]);
        if message[0] != SEQUENCE || message.len() > ANSWER_LIMIT {
            return Ok(Answer::Garbled);
        }
        if element(&message).is_some() {
            return Ok(read(&message).unwrap_or(Answer::Garbled));
        }
    }
}

fn read(message: &[u8]) -> Option<Answer> {
    let (SEQUENCE, envelope, _) = element(message)? else {
        return None;
    };
    let (INTEGER, [1], rest) = element(envelope)? else {
        return None;
    };
    let (EXTENDED_RESPONSE, response, _) = element(rest)? else {
        return None;
    };
    let (ENUMERATED, [code], rest) = element(response)? else {
        return None;
    };
    let (OCTET_STRING, _matched_dn, rest) = element(rest)? else {
        return None;
    };
    let (OCTET_STRING, said, _) = element(rest)? else {
        return None;
    };
    Some(match *code {
        0 => Answer::Yes,
        code => Answer::No {
            code: code.into(),
            said: String::from_utf8_lossy(said).chars().take(200).collect(),
        },
    })
}

/// The tag and the value of the first element, and what follows it; `None` if it is not whole.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Some servers always write long lengths.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |sum, d| sum << 8 | usize::from(*d)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Peer(io::Cursor<Vec<u8>>);

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whatever_is_answered_is_survived() {
        let yes = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        let long =
            b"\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00";
        let no = b"\x30\x0e\x02\x01\x01\x78\x09\x0a\x01\x34\x04\x00\x04\x02no";
        let refused = Answer::No {
            code: 52,
            said: "no".into(),
        };
        let flood = [&b"\x30\x84\xff\xff\xff\xff"[..], &vec![0x30; 10_000]].concat();
        let cases: [(&[u8], Option<Answer>); 11] = [
            (yes, Some(Answer::Yes)),
            (long, Some(Answer::Yes)),
            (no, Some(refused)),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", Some(Answer::Garbled)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(Answer::Garbled)),
            (b"\x30\x00", Some(Answer::Garbled)),
            (b"\x30\x03\x02\x01\x01", Some(Answer::Garbled)),
            (b"\x30\x05\x02\x01\x01\x78\x00", Some(Answer::Garbled)),
            (&flood, Some(Answer::Garbled)),
            (&yes[..9], None),
            (b"", None),
        ];
        for (said, expected) in cases {
            let found = ask(&mut Peer(io::Cursor::new(said.to_vec()))).ok();
            assert_eq!(found, expected, "{said:x?}");
        }
    }
}
