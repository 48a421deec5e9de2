//! Passwords of accounts. The host gets a hash only, and the proof is that the hash which it keeps is the password's.

use crate::ssh::{Session, SshError};
use laas_core::Secret;
use laas_core::names::AccountName;
use sha2::{Digest, Sha512};

/// The method of crypt(5) that every glibc since 2.7 knows.
const PREFIX: &str = "$6$";
const SALT_LENGTH: usize = 16;
const ROUNDS: usize = 5000;
/// The digits of crypt(5), which are not those of base64.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What the system keeps of the account's password.
///
/// # Errors
/// The connection broke, or there is no such account.
pub fn hash(session: &Session, account: &AccountName) -> Result<String, SshError> {
    let line = session
        .exec(&["getent", "shadow", account.as_str()], b"")?
        .success(&format!("find the account {account}"))?;
    // shadow(5): name:hash:…
    Ok(line.split(':').nth(1).unwrap_or_default().to_owned())
}

/// Whether a hash is the password's; also false if the system made it in a way that can't be told from here, or has
/// locked the account.
pub fn is_of(hash: &str, password: &Secret) -> bool {
    let salt = hash.strip_prefix(PREFIX).and_then(|rest| rest.split_once('$'));
    salt.is_some_and(|(salt, _)| sha512_crypt(password, salt) == hash)
}

/// # Errors
/// The connection broke, or the system refuses.
pub fn set_password(session: &Session, account: &AccountName, password: &Secret) -> Result<(), SshError> {
    let salt = Secret::random(SALT_LENGTH).map_err(|e| SshError::Failed {
        what: "getrandom".to_owned(),
        how: e.to_string(),
    })?;
    let line = format!("{account}:{}\n", sha512_crypt(password, salt.expose()));
    session
        .exec(&["chpasswd", "-e"], line.as_bytes())?
        .success("chpasswd")
        .map(drop)
}

/// crypt(3) with `$6$`, as Ulrich Drepper specified it ("Unix crypt using SHA-256 and SHA-512").
fn sha512_crypt(password: &Secret, salt: &str) -> String {
    let (key, salt) = (password.expose().as_bytes(), salt.as_bytes());
    let digest = |parts: &[&[u8]]| -> Vec<u8> {
        let mut hash = Sha512::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().to_vec()
    };
    let stretched =
        |block: &[u8], length: usize| -> Vec<u8> { block.iter().copied().cycle().take(length).collect() };

    let other = digest(&[key, salt, key]);
    let mut first = [key, salt, &stretched(&other, key.len())].concat();
    let mut bits = key.len();
    while bits > 0 {
        first.extend_from_slice(if bits & 1 == 1 { &other } else { key });
        bits >>= 1;
    }
    let mut state = digest(&[&first]);
    let p = stretched(&digest(&[&key.repeat(key.len())]), key.len());
    let s = stretched(&digest(&[&salt.repeat(16 + usize::from(state[0]))]), salt.len());
    for round in 0..ROUNDS {
        let (odd, third, seventh) = (round % 2 == 1, round % 3 != 0, round % 7 != 0);
        state = digest(&[
            if odd { &p } else { &state },
            if third { &s } else { &[] },
            if seventh { &p } else { &[] },
            if odd { &state } else { &p },
        ]);
    }

    let mut text = String::from(PREFIX);
    text.push_str(&String::from_utf8_lossy(salt));
    text.push('$');
    let mut digits = |bytes: [u8; 3], count: usize| {
        let number = bytes
            .iter()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        text.extend((0..count).map(|digit| char::from(DIGITS[number >> (6 * digit) & 63])));
    };
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        digits([state[a], state[b], state[c]], 4);
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    digits([0, 0, state[63]], 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn openssl_comes_to_the_same() {
        let long = "x".repeat(200);
        for (password, salt) in [
            ("Hello world!", "saltstring"),
            ("a", "b"),
            ("ä$6$:\\'\"", "./abcXYZ09"),
            (&*"y".repeat(64), "0123456789abcdef"),
            (&*long, "salt"),
        ] {
            let mut openssl = Command::new("openssl")
                .args(["passwd", "-6", "-salt", salt, "-stdin"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            openssl
                .stdin
                .take()
                .unwrap()
                .write_all(password.as_bytes())
                .unwrap();
            let said = openssl.wait_with_output().unwrap().stdout;
            let own = sha512_crypt(&Secret::new(password), salt);
            assert_eq!(own, String::from_utf8_lossy(&said).trim(), "{password}");
        }
    }
}
