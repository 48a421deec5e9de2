//! What ipmitool prints.

use crate::info::{Sensor, SensorState};
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
        // A session is open, and without a privilege nothing can be done in it.
        "set session privilege level",
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
        let access = fields.next()?.trim() == "true";
        let name = fields.nth(2)?.trim().to_owned();
        Some(User {
            slot: slot.trim().parse::<u8>().ok()?.into(),
            name,
            privilege,
            enabled: None,
            access,
        })
    };
    let users: Vec<_> = stdout
        .lines()
        .filter(|l| !l.trim().is_empty())
        .map(user)
        .collect::<Option<_>>()?;
    (!users.is_empty()).then_some(users)
}

/// Manufacturer and model, from what `fru print 0` says: the machine's if it is there, else the board's.
pub fn fru(stdout: &str) -> (Option<String>, Option<String>) {
    let field = |wanted: &str| {
        let pairs = stdout.lines().filter_map(|line| line.split_once(':'));
        let found = pairs.filter(|(name, _)| name.trim() == wanted);
        let mut values = found.map(|(_, value)| value.trim());
        values.find(|value| !value.is_empty()).map(str::to_owned)
    };
    (
        field("Product Manufacturer").or_else(|| field("Board Mfg")),
        field("Product Name").or_else(|| field("Board Product")),
    )
}

/// The table of `sdr elist full`: name, number, state, entity, reading.
pub fn sensors(stdout: &str) -> Option<Vec<Sensor>> {
    let sensor = |line: &str| {
        // A name may hold a bar, what follows it can't.
        let mut fields = line.rsplitn(5, '|').map(str::trim);
        let reading = fields.next()?;
        let state = fields.nth(1)?;
        let name = fields.nth(1)?.to_owned();
        let state = match state {
            "ok" => SensorState::Ok,
            // ipmitool puts `l` or `u` before the letters where it knows which threshold was passed.
            state if state.ends_with("nc") => SensorState::Warning,
            state if state.ends_with("cr") || state.ends_with("nr") => SensorState::Critical,
            _ => SensorState::None,
        };
        let measured = reading.split_once(' ').and_then(|(number, unit)| {
            let number: f64 = number.parse().ok()?;
            Some((number, unit.trim().to_owned()))
        });
        let text = (measured.is_none() && !reading.is_empty()).then(|| reading.to_owned());
        let (value, unit) = measured.unzip();
        Some(Sensor {
            name,
            value,
            unit,
            text,
            state,
        })
    };
    stdout
        .lines()
        .filter(|l| !l.trim().is_empty())
        .map(sensor)
        .collect()
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
                "Set Session Privilege Level to USER failed: Privilege level requested exceeds limits\n",
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
            .map(|u| {
                let slot = u.slot.number().unwrap();
                (slot, u.name.as_str(), u.privilege, u.access)
            })
            .collect();
        assert_eq!(
            names,
            [
                (1, "", Some(Privilege::User), true),
                (2, "ADMIN", Some(Privilege::Administrator), true),
                (3, "odd, name", Some(Privilege::Operator), true),
                (4, "", None, false),
                (5, "x", None, false),
            ]
        );
        for foreign in ["", "\n", "<html>", "1,a,b", "x,,true,false,true,USER"] {
            assert_eq!(users(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn the_machine_is_named_by_its_fru() {
        let server = " Board Mfg Date        : Unspecified\n Board Mfg             : Lab Boards\n Board Product         : LB-1\n \
            Product Manufacturer  : Lab: Systems\n Product Name          : Server 1U\n Product Serial        : 0001\n";
        let board = " Board Mfg             : Supermicro\n Board Product         : X10DRi\n Product Name          : \n";
        let named = |maker: &str, model: &str| (Some(maker.to_owned()), Some(model.to_owned()));
        assert_eq!(fru(server), named("Lab: Systems", "Server 1U"));
        assert_eq!(fru(board), named("Supermicro", "X10DRi"));
        assert_eq!(
            fru(" Device not present (Invalid data field in request)\n"),
            (None, None)
        );
    }

    #[test]
    fn sensors_are_read_whatever_they_say() {
        let captured = "CPU Temp         | 01h | ok  |  3.1 | 38 degrees C\n\
            Fan| front       | 02h | ok  | 29.1 | 4200 RPM\n\
            Board Temp       | 03h | ucr |  7.1 | -1.50 degrees C\n\
            Lost             | 04h | ns  |  7.1 | No Reading\n\
            PS Status        | 05h | ok  | 10.1 | Presence detected\n\
            p0_core0_temp    | 11h | lnc | 208.2 | 32 degrees C\n\
            AttemptsLeft     | 07h | ok  | 34.1 |\n";
        let found = sensors(captured).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|s| {
                (
                    s.name.as_str(),
                    s.value,
                    s.unit.as_deref(),
                    s.text.as_deref(),
                    s.state,
                )
            })
            .collect();
        use SensorState::{Critical, None as Nothing, Ok, Warning};
        assert_eq!(
            found,
            [
                ("CPU Temp", Some(38.0), Some("degrees C"), None, Ok),
                ("Fan| front", Some(4200.0), Some("RPM"), None, Ok),
                ("Board Temp", Some(-1.5), Some("degrees C"), None, Critical),
                ("Lost", None, None, Some("No Reading"), Nothing),
                ("PS Status", None, None, Some("Presence detected"), Ok),
                ("p0_core0_temp", Some(32.0), Some("degrees C"), None, Warning),
                ("AttemptsLeft", None, None, None, Ok),
            ]
        );
        assert_eq!(sensors(""), Some(Vec::new()));
        assert_eq!(sensors("<html>\n"), None);
    }
}
