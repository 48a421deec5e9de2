//! What ipmitool prints.

use crate::{Privilege, User};

/// Why a command failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// Unknown user, wrong password, or a privilege that the user has not.
    Login,
    Cipher,
    /// No session: nobody answers.
    Silent,
    /// The BMC's completion code, and ipmitool's words for it.
    Refused {
        code: u8,
        said: String,
    },
    Unknown,
}

/// Reads standard error, as `-v` fills it.
pub fn why(stderr: &str) -> Why {
    if let Some(refused) = stderr.lines().find_map(refusal) {
        return refused;
    }
    let text = stderr.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if says(&[
        "unauthorized name",
        "hmac is invalid",
        "unauthorized role",
        "invalid role",
    ]) {
        Why::Login
    } else if says(&["algorithm", "no cipher suite match", "no matching"]) {
        Why::Cipher
    } else if says(&["unable to establish", "could not open socket"]) && !says(&["insufficient resources"]) {
        Why::Silent
    } else {
        Why::Unknown
    }
}

/// `Unable to send RAW command (channel=0x0 netfn=0x6 lun=0x0 cmd=0x99 rsp=0xc1): Invalid command`
fn refusal(line: &str) -> Option<Why> {
    let (_, rest) = line.split_once(" rsp=0x")?;
    let (code, said) = rest.split_once("): ")?;
    let code = u8::from_str_radix(code, 16).ok()?;
    Some(Why::Refused {
        code,
        said: said.trim().to_owned(),
    })
}

/// The bytes of an answer to `raw`; none of an empty one.
pub fn bytes(stdout: &str) -> Option<Vec<u8>> {
    let byte = |word: &str| {
        (word.len() == 2)
            .then(|| u8::from_str_radix(word, 16).ok())
            .flatten()
    };
    stdout.split_whitespace().map(byte).collect()
}

/// The table of `-c user list`: slot, name, three flags, privilege.
pub fn users(stdout: &str) -> Option<Vec<User>> {
    let user = |line: &str| {
        let (slot, rest) = line.split_once(',')?;
        // A name may hold a comma, what follows it can't.
        let mut fields = rest.rsplitn(5, ',');
        let privilege = match fields.next()?.trim() {
            "USER" => Some(Privilege::User),
            "OPERATOR" => Some(Privilege::Operator),
            "ADMINISTRATOR" => Some(Privilege::Administrator),
            _ => None,
        };
        let name = fields.nth(3)?.trim().to_owned();
        Some(User {
            slot: slot.trim().parse::<u8>().ok()?.into(),
            name,
            privilege,
        })
    };
    let users: Vec<_> = stdout
        .lines()
        .filter(|l| !l.trim().is_empty())
        .map(user)
        .collect::<Option<_>>()?;
    (!users.is_empty()).then_some(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_what_ipmitool_says() {
        const SESSION: &str = "Error: Unable to establish IPMI v2 / RMCP+ session\n";
        let banner = "Loading IANA PEN Registry...\n";
        for (said, expected) in [
            ("> RAKP 2 HMAC is invalid\n", Why::Login),
            (
                "RAKP 2 message indicates an error : unauthorized name\n",
                Why::Login,
            ),
            (
                "RAKP 2 message indicates an error : Unauthorized role or privilege level requested\n",
                Why::Login,
            ),
            (
                "Error in open session response message : invalid authentication algorithm\n\n",
                Why::Cipher,
            ),
            (
                "Error in open session response message : no cipher suite match with proposed security algorithms\n",
                Why::Cipher,
            ),
            (
                "Error in open session response message : insufficient resources for session\n",
                Why::Unknown,
            ),
            (
                "Address lookup for no.such.name failed\nCould not open socket!\n",
                Why::Silent,
            ),
            (
                "Get Auth Capabilities error\nError issuing Get Channel Authentication Capabilities request\n",
                Why::Silent,
            ),
        ] {
            assert_eq!(why(&format!("{banner}{said}{SESSION}")), expected, "{said}");
        }
        let refused = "RAW REQ (channel=0x0 netfn=0x6 lun=0x0 cmd=0x47 data_len=4)\nRAW REQUEST (4 bytes)\n 04 02 61 62\n\
             Unable to send RAW command (channel=0x0 netfn=0x6 lun=0x0 cmd=0x47 rsp=0xc7): Request data length invalid\n";
        let said = "Request data length invalid".to_owned();
        assert_eq!(why(refused), Why::Refused { code: 0xc7, said });
        assert_eq!(why(""), Why::Unknown);
    }

    #[test]
    fn answers_are_bytes_or_nothing() {
        assert_eq!(bytes(" 01 05 00 04 00 00 00\n").unwrap(), [1, 5, 0, 4, 0, 0, 0]);
        assert_eq!(bytes("\n"), Some(Vec::new()));
        let long = " 41 44 4d 49 4e 00 00 00 00 00 00 00 00 00 00 00\n 00\n";
        assert_eq!(bytes(long).unwrap().len(), 17);
        for foreign in ["<html>", "0x01", "1", "Chassis Power is off"] {
            assert_eq!(bytes(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_table_of_users_is_read() {
        let captured = "1,,true,false,true,USER\n2,ADMIN,true,false,true,ADMINISTRATOR\n\
            3,odd, name,true,true,true,OPERATOR\n4,,true,false,false,Unknown (0x00)\n5,x,true,false,false,NO ACCESS\n";
        let found = users(captured).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|u| (u.slot.number().unwrap(), u.name.as_str(), u.privilege))
            .collect();
        assert_eq!(
            names,
            [
                (1, "", Some(Privilege::User)),
                (2, "ADMIN", Some(Privilege::Administrator)),
                (3, "odd, name", Some(Privilege::Operator)),
                (4, "", None),
                (5, "x", None),
            ]
        );
        for foreign in ["", "\n", "<html>", "1,a,b", "x,,true,false,true,USER"] {
            assert_eq!(users(foreign), None, "{foreign:?}");
        }
    }
}
