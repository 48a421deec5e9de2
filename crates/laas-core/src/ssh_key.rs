//! SSH public keys of users, as they were uploaded: checked at the door.

use crate::{Classify, Kind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::str::FromStr;

/// Types that OpenSSH 9 accepts by default.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// RSA with 16384 bits, the most that OpenSSH knows, takes 2800; the rest is for a comment.
const LONGEST: usize = 16 << 10;
/// How OpenSSH's private keys begin in base64, also where somebody has left out the line before.
const OPENSSH_PRIVATE: &str = "b3BlbnNzaC1rZXktdjE";

/// A public key without options; whatever comment the user gave it is left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: String,
    base64: String,
}

/// Why a user's key can't be used, and what its user can do. Never quotes what may be secret.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("there is no key: upload the `.pub` file that `ssh-keygen -t ed25519` makes")]
    Empty,
    #[error("it has more than {LONGEST} bytes, which no key has: upload the `.pub` file")]
    Long,
    #[error(
        "a private key was uploaded. Others have seen it, so it is compromised: take it out of use wherever it opens \
         something, make a new pair with `ssh-keygen -t ed25519`, and upload its `.pub` file only"
    )]
    Private,
    #[error(
        "the public key is in PEM format, not OpenSSH's: upload what `ssh-keygen -i -m PKCS8 -f FILE` prints (for \
         `BEGIN RSA PUBLIC KEY`: `-m PEM`)"
    )]
    Pem,
    #[error("a certificate is not a key: upload the `.pub` file without `-cert` in its name")]
    Certificate,
    #[error(
        "there are options before the key: upload the line from its type on, such as `ssh-ed25519 AAAA…`"
    )]
    Options,
    #[error("SSH servers no longer accept keys of the type `ssh-dss`: make one with `ssh-keygen -t ed25519`")]
    Dss,
    #[error("a line is no SSH public key: upload the `.pub` file that `ssh-keygen -t ed25519` makes")]
    Unknown,
    #[error("the key is cut or garbled ({0}): upload the `.pub` file itself instead of copying its text")]
    Garbled(&'static str),
}

impl Classify for KeyError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// What stands in an upload at one place.
enum Part<'a> {
    Line(&'a str),
    /// RFC 4716, as PuTTY exports it: its base64.
    Rfc4716(String),
    Bad(KeyError),
}

/// All keys of an upload: each one, or why it can't be used.
pub fn read_upload(text: &str) -> Vec<Result<PublicKey, KeyError>> {
    let mut keys = Vec::new();
    for part in parts(text) {
        let key = match part {
            Part::Line(line) => line.parse(),
            Part::Rfc4716(base64) => rfc4716(&base64),
            Part::Bad(error) => Err(error),
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.is_empty() {
        keys.push(Err(KeyError::Empty));
    }
    keys
}

/// The upload without anything that may be secret: lines of public keys stay as they are, and of everything else only
/// what it was. [`read_upload`] reads it as it reads the upload.
pub fn without_secrets(text: &str) -> String {
    let lines = parts(text).into_iter().map(|part| match part {
        Part::Line(line) if line.split_whitespace().any(is_type) => line.replace(char::is_control, " "),
        Part::Line(line) => marker(line.parse::<PublicKey>().err()).to_owned(),
        Part::Rfc4716(base64) => {
            rfc4716(&base64).map_or_else(|error| marker(Some(error)).to_owned(), |key| key.line())
        }
        Part::Bad(error) => marker(Some(error)).to_owned(),
    });
    let mut kept = Vec::new();
    for line in lines {
        if !kept.contains(&line) {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// What is left of what may be secret; reads as the same error.
fn marker(error: Option<KeyError>) -> &'static str {
    match error {
        Some(KeyError::Private) => "-----BEGIN PRIVATE KEY----- -----END PRIVATE KEY-----",
        Some(KeyError::Pem) => "-----BEGIN PUBLIC KEY----- -----END PUBLIC KEY-----",
        Some(KeyError::Garbled(_)) => "ssh-ed25519 …",
        _ => "…",
    }
}

/// Comments and empty lines are left out.
fn parts(text: &str) -> Vec<Part<'_>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    let mut parts = Vec::new();
    while let Some(line) = lines.next() {
        // Up to its last line, or to a key in one line if that is missing.
        let mut block = |last: &str| {
            let mut inside = Vec::new();
            while !line.contains(last)
                && let Some(line) = lines.next_if(|line| !begins_with_type(line))
            {
                if line.contains(last) {
                    break;
                }
                inside.push(line);
            }
            inside
        };
        let part = if line.starts_with("-----BEGIN ") {
            block("-----END ");
            Part::Bad(match line {
                _ if line.contains("PRIVATE") => KeyError::Private,
                _ if line.contains("PUBLIC") => KeyError::Pem,
                _ => KeyError::Unknown,
            })
        } else if line.starts_with("---- BEGIN ") {
            let body = rfc4716_body(&block("---- END "));
            if line.contains("PRIVATE") {
                Part::Bad(KeyError::Private)
            } else {
                Part::Rfc4716(body)
            }
        } else if line.starts_with("PuTTY-User-Key-File") {
            block("Private-MAC:");
            Part::Bad(KeyError::Private)
        } else if line.contains(OPENSSH_PRIVATE) {
            block("-----END ");
            Part::Bad(KeyError::Private)
        } else {
            Part::Line(line)
        };
        parts.push(part);
    }
    parts
}

/// Without its headers, each of which may go on in the next line after a `\`.
fn rfc4716_body(lines: &[&str]) -> String {
    let mut body = String::new();
    let mut continued = false;
    for line in lines {
        let header = continued || line.contains(':');
        continued = header && line.ends_with('\\');
        if !header {
            body.push_str(line);
        }
    }
    body
}

fn rfc4716(base64: &str) -> Result<PublicKey, KeyError> {
    let blob = STANDARD
        .decode(base64)
        .map_err(|_| KeyError::Garbled("this is not base64"))?;
    let kind = (blob.split_first_chunk::<4>())
        .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?))
        .and_then(|kind| std::str::from_utf8(kind).ok())
        .ok_or(KeyError::Garbled("a field is cut"))?;
    format!("{kind} {base64}").parse()
}

fn is_type(word: &str) -> bool {
    TYPES.contains(&word) || word == "ssh-dss" || is_certificate(word)
}

fn is_certificate(word: &str) -> bool {
    word.strip_suffix("-cert-v01@openssh.com").is_some_and(|kind| {
        TYPES
            .iter()
            .any(|known| known.trim_end_matches("@openssh.com") == kind)
    })
}

fn begins_with_type(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(is_type)
}

/// One line.
impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(KeyError::Long);
        }
        if text.contains(['\n', '\r']) {
            return Err(KeyError::Unknown);
        }
        let mut words = text.split([' ', '\t']).filter(|w| !w.is_empty());
        let kind = words.next().ok_or(KeyError::Empty)?;
        if kind == "ssh-dss" {
            return Err(KeyError::Dss);
        }
        if is_certificate(kind) {
            return Err(KeyError::Certificate);
        }
        if !TYPES.contains(&kind) {
            return Err(if words.any(is_type) {
                KeyError::Options
            } else {
                KeyError::Unknown
            });
        }
        let base64 = words
            .next()
            .ok_or(KeyError::Garbled("nothing follows the type"))?;
        let blob = STANDARD
            .decode(base64)
            .map_err(|_| KeyError::Garbled("this is not base64"))?;
        check_blob(kind, &blob)?;
        // Encoded anew, so that what is written is what was checked.
        Ok(Self {
            kind: kind.to_owned(),
            base64: STANDARD.encode(blob),
        })
    }
}

/// Length-prefixed fields, the first of which repeats the type (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's
/// PROTOCOL.u2f).
fn check_blob(kind: &str, blob: &[u8]) -> Result<(), KeyError> {
    let mut rest = blob;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest
            .split_first_chunk::<4>()
            .ok_or(KeyError::Garbled("a field is cut"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let field = tail.get(..length).ok_or(KeyError::Garbled("a field is cut"))?;
        fields.push(field);
        rest = &tail[length..];
    }
    if fields.first() != Some(&kind.as_bytes()) {
        return Err(KeyError::Garbled("the type inside is another one"));
    }
    let curve = kind.strip_prefix("ecdsa-sha2-").map(str::as_bytes);
    let fits = match (kind, &fields[1..]) {
        ("ssh-ed25519", [key]) | ("sk-ssh-ed25519@openssh.com", [key, _]) => key.len() == 32,
        // Exponent and modulus; OpenSSH refuses less than 1024 bits.
        ("ssh-rsa", [_, modulus]) => modulus.len() >= 128,
        ("sk-ecdsa-sha2-nistp256@openssh.com", [curve, key, _]) => *curve == b"nistp256" && !key.is_empty(),
        (_, [name, key]) => Some(*name) == curve && !key.is_empty(),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(KeyError::Garbled("the key has the wrong length"))
    }
}

impl PublicKey {
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// `type base64`, without a comment.
    pub fn line(&self) -> String {
        format!("{} {}", self.kind, self.base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    #[test]
    fn keys_at_the_door() {
        let key: PublicKey = format!(" {ED25519}  alice@example; rm -rf /\n").parse().unwrap();
        assert_eq!(key.line(), ED25519);
        let blob = "AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        let bad = [
            String::new(),
            format!("command=\"reboot\" {ED25519}"),
            format!("{ED25519}\n{ED25519}"),
            format!("ssh-dss {blob}"),
            format!("ssh-rsa {blob}"),
            "ssh-ed25519".to_owned(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForBob bob@example".to_owned(),
            "ssh-ed25519 $(reboot)".to_owned(),
            "x".repeat(1 << 20),
        ];
        for text in bad {
            let error = text.parse::<PublicKey>().unwrap_err();
            assert!(error.to_string().len() < 300, "{error}");
        }
    }

    fn key(kind: &str, fields: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for field in [&[kind.as_bytes()], fields].concat() {
            blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(field);
        }
        format!("{kind} {}", STANDARD.encode(blob))
    }

    #[test]
    fn an_upload_may_hold_several_keys_and_anything_else() {
        let body = "MIIEpAIBAAKCAQEAq7";
        let secret = format!("{OPENSSH_PRIVATE}AAAAABG5vbmU");
        let rsa = key("ssh-rsa", &[b"\x01\0\x01", &[7; 256]]);
        let (ed25519, sk) = (
            ED25519.to_owned(),
            key("sk-ssh-ed25519@openssh.com", &[&[7; 32], b"ssh:"]),
        );
        let blob = ED25519.split_once(' ').unwrap().1;
        let rfc4716 = format!(
            "---- BEGIN SSH2 PUBLIC KEY ----\r\nComment: \"a key \\\r\nof mine\"\r\n{}\r\n{}\r\n---- END SSH2 PUBLIC KEY ----",
            &blob[..30],
            &blob[30..]
        );
        let pem = |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let putty = format!(
            "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 1\n{blob}\nPrivate-Lines: 1\n{body}\nPrivate-MAC: 00ff\n"
        );
        let long = "x".repeat(LONGEST + 1);
        let good = |keys: &[&String]| keys.iter().map(|key| Ok((*key).clone())).collect::<Vec<_>>();
        for (upload, expected) in [
            (format!("{ED25519} a@b\n{rsa} c@d\n"), good(&[&ed25519, &rsa])),
            (
                format!("\u{feff}# my keys\r\n\r\n{rsa} x\r\n{sk}\r\n"),
                good(&[&rsa, &sk]),
            ),
            (format!("{rsa}\n{rsa} again"), good(&[&rsa])),
            (rfc4716.clone(), good(&[&ed25519])),
            (format!("{rfc4716}\n{rsa}"), good(&[&ed25519, &rsa])),
            (
                format!("{}{rsa}\n", pem("RSA PRIVATE KEY")),
                vec![Err(KeyError::Private), Ok(rsa.clone())],
            ),
            (
                format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n{rsa}"),
                vec![Err(KeyError::Private), Ok(rsa.clone())],
            ),
            (
                format!("-----BEGIN OPENSSH PRIVATE KEY----- {secret} -----END OPENSSH PRIVATE KEY-----"),
                vec![Err(KeyError::Private)],
            ),
            (secret.clone(), vec![Err(KeyError::Private)]),
            (
                format!(
                    "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{body}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----"
                ),
                vec![Err(KeyError::Private)],
            ),
            (putty, vec![Err(KeyError::Private)]),
            (pem("PUBLIC KEY"), vec![Err(KeyError::Pem)]),
            (pem("CERTIFICATE"), vec![Err(KeyError::Unknown)]),
            (body.to_owned(), vec![Err(KeyError::Unknown)]),
            (
                format!("from=\"10.0.0.1\" {ED25519}\nssh-dss AAAA\n{rsa}"),
                vec![Err(KeyError::Options), Err(KeyError::Dss), Ok(rsa.clone())],
            ),
            (
                format!("ssh-ed25519-cert-v01@openssh.com {blob}"),
                vec![Err(KeyError::Certificate)],
            ),
            (
                format!("ssh-ed25519 {}", &blob[..40]),
                vec![Err(KeyError::Garbled("a field is cut"))],
            ),
            ("# nothing\n".to_owned(), vec![Err(KeyError::Empty)]),
            (long, vec![Err(KeyError::Long)]),
        ] {
            let lines = |text: &str| {
                let keys = read_upload(text).into_iter();
                keys.map(|key| key.map(|key| key.line())).collect::<Vec<_>>()
            };
            assert_eq!(lines(&upload), expected, "{upload}");
            let safe = without_secrets(&upload);
            assert!(!safe.contains(body) && !safe.contains(&secret), "{safe}");
            let again = lines(&safe);
            assert_eq!(again.len(), expected.len(), "{safe}");
            for (again, expected) in again.iter().zip(&expected) {
                match expected {
                    Err(KeyError::Long) => assert_eq!(*again, Err(KeyError::Unknown)),
                    _ => assert_eq!(again, expected),
                }
            }
        }
    }

    #[test]
    fn the_inside_of_a_key_fits_its_type() {
        let (short, long) = (&[7; 32][..], &[7; 256][..]);
        for good in [
            key("ssh-rsa", &[b"\x01\0\x01", long]),
            key("ecdsa-sha2-nistp384", &[b"nistp384", long]),
            key("sk-ssh-ed25519@openssh.com", &[short, b"ssh:"]),
            key(
                "sk-ecdsa-sha2-nistp256@openssh.com",
                &[b"nistp256", long, b"ssh:"],
            ),
        ] {
            assert_eq!(good.parse::<PublicKey>().unwrap().line(), good);
        }
        for bad in [
            key("ssh-rsa", &[b"\x01\0\x01", short]),
            key("ssh-rsa", &[long]),
            key("ssh-ed25519", &[long]),
            key("ssh-ed25519", &[short, short]),
            key("ecdsa-sha2-nistp256", &[b"nistp521", long]),
            key("ssh-rsa", &[b"\x01\0\x01", &vec![7; 1 << 20]]),
        ] {
            bad.parse::<PublicKey>().unwrap_err();
        }
    }
}
