//! IPMI 2.0 over LAN, by `ipmitool` as a child process.
//!
//! Everything but the list of users goes as raw bytes: `ipmitool raw` fails when the BMC refuses, which its own
//! `chassis bootdev` does not, and says the completion code.

mod bytes;
mod parse;

use crate::{Bmc, BmcError, Boot, BootState, Button, Info, Login, Power, Privilege, User, info};
use bytes::Request;
use laas_core::child::Tool;
use laas_core::inventory;
use laas_core::names::BmcSlot;
use laas_core::scratch::Scratch;
use laas_core::wait::Deadline;
use laas_core::{Classify, Kind, Mac, Secret};
use parse::Why;
use std::time::Duration;

const IPMITOOL: &str = "ipmitool";
/// The suite of IPMI 2.0's later revisions (SHA-256, AES); older BMCs have 3.
const CIPHER: u8 = 17;
const PORT: u16 = 623;
/// Seconds that ipmitool waits for one answer, and how often it asks again: a dead BMC takes eight seconds.
const RETRANSMIT: [&str; 4] = ["-N", "1", "-R", "3"];

/// As many as every BMC stores.
const PASSWORD: usize = 16;
/// The sensors are asked one by one, hundreds on some boards: they get so many calls' time.
const SENSORS: u32 = 4;

/// One BMC.
#[derive(Debug)]
pub struct Ipmi {
    address: String,
    port: u16,
    cipher: u8,
    admin: Login,
    call: Duration,
    home: Option<Scratch>,
}

/// ipmitool reads its list of manufacturers at every start, from the user's home if there is one. Debian's has 4.7 MB
/// and costs more than everything else that a call does; nothing here asks for a manufacturer's name. An empty list
/// ends ipmitool.
const MANUFACTURERS: (&str, &str) = (".local/usr/share/misc/enterprise-numbers.txt", "0\n  none\n");

impl Ipmi {
    pub fn new(bmc: &inventory::Bmc, password: Secret, call: Duration) -> Self {
        Self {
            address: bmc.address.clone(),
            port: bmc.port.unwrap_or(PORT),
            cipher: bmc.cipher.unwrap_or(CIPHER),
            admin: Login {
                user: bmc.user.clone(),
                password,
            },
            call,
            home: short_home(),
        }
    }

    /// Sends one request in a session of its own and gives the data of the answer.
    fn raw(&self, request: &Request) -> Result<Vec<u8>, BmcError> {
        self.raw_as(request, &self.admin, Privilege::Administrator)
    }

    fn raw_as(&self, request: &Request, login: &Login, privilege: Privilege) -> Result<Vec<u8>, BmcError> {
        // Only with `-v` it says why a session was not opened.
        let tool = self.tool(login, privilege).args(["-v", "raw"]);
        let tool = tool.args(request.words());
        let output = self.run(tool, self.call, login, request.name)?;
        self.parsed(request.name, &output, parse::bytes)
    }

    /// The same for a request that holds a secret: it goes by standard input, never by the command line.
    fn raw_secret(&self, request: &Request) -> Result<(), BmcError> {
        let line = format!("raw {}\n", request.words().join(" "));
        let tool = self.tool(&self.admin, Privilege::Administrator);
        let tool = tool.args(["-v", "exec", "/dev/stdin"]).stdin(line);
        self.run(tool, self.call, &self.admin, request.name).map(drop)
    }

    /// The same, understood.
    fn read<T>(&self, request: &Request, understand: fn(&[u8]) -> Option<T>) -> Result<T, BmcError> {
        let data = self.raw(request)?;
        understand(&data).ok_or_else(|| BmcError::Garbled {
            address: self.address.clone(),
            what: request.name,
            answer: format!("{data:02x?}"),
        })
    }

    /// Manufacturer and model.
    fn machine(&self) -> Result<(Option<String>, Option<String>), BmcError> {
        let tool = self.tool(&self.admin, Privilege::Administrator);
        let tool = tool.args(["fru", "print", "0"]);
        match self.run(tool, self.call, &self.admin, "fru print") {
            Ok(said) => Ok(parse::fru(&said)),
            // Many a board comes with an empty or broken one, at which ipmitool fails.
            Err(error @ BmcError::Failed { .. }) => {
                tracing::debug!(%error, "no FRU that can be read");
                Ok((None, None))
            }
            Err(error) => Err(error),
        }
    }

    fn sensors(&self) -> Result<Vec<info::Sensor>, BmcError> {
        let tool = self.tool(&self.admin, Privilege::Administrator);
        let tool = tool.args(["sdr", "elist", "full"]);
        let said = self.run(tool, self.call * SENSORS, &self.admin, "sdr elist")?;
        self.parsed("sdr elist", &said, parse::sensors)
    }

    /// The channel that we are coming by; accounts have rights channel by channel.
    fn channel(&self) -> Result<u8, BmcError> {
        let data = self.raw(&bytes::get_channel_info())?;
        Ok(data.first().copied().unwrap_or_default() & 0x0f)
    }

    fn number(&self, slot: &BmcSlot) -> Result<u8, BmcError> {
        slot.number().ok_or_else(|| BmcError::NoNumber {
            address: self.address.clone(),
            slot: slot.clone(),
        })
    }

    fn tool(&self, login: &Login, privilege: Privilege) -> Tool {
        let level = match privilege {
            Privilege::User => "USER",
            Privilege::Operator => "OPERATOR",
            Privilege::Administrator => "ADMINISTRATOR",
        };
        let port = self.port.to_string();
        let cipher = self.cipher.to_string();
        let tool = match &self.home {
            Some(home) => Tool::new(IPMITOOL).env("HOME", &home.path().to_string_lossy()),
            None => Tool::new(IPMITOOL),
        };
        tool.args([
            "-I",
            "lanplus",
            "-H",
            &self.address,
            "-p",
            &port,
            "-U",
            &login.user,
            "-E",
        ])
        .args(["-L", level, "-C", &cipher])
        .args(RETRANSMIT)
        .env("IPMI_PASSWORD", login.password.expose())
    }

    /// What the tool printed, if it succeeded.
    fn run(
        &self,
        tool: Tool,
        limit: Duration,
        login: &Login,
        what: &'static str,
    ) -> Result<String, BmcError> {
        let address = self.address.clone();
        let output = match tool.run(&Deadline::after(limit)) {
            Ok(output) if output.success() => return Ok(output.stdout),
            Ok(output) => output,
            Err(source) => return Err(BmcError::Tool { address, source }),
        };
        // Standard error holds the bytes of the request, which can be a password: it is never quoted whole.
        Err(match parse::why(&output.stderr) {
            Why::Login => BmcError::Login {
                address,
                user: login.user.clone(),
            },
            Why::Cipher => BmcError::Cipher {
                address,
                cipher: self.cipher,
            },
            Why::Silent => BmcError::Silent { address },
            Why::Refused { code, said } => BmcError::Refused {
                address,
                what,
                code,
                said,
            },
            Why::Unknown => BmcError::Failed { address, what },
        })
    }

    fn parsed<T>(
        &self,
        what: &'static str,
        answer: &str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<T, BmcError> {
        parse(answer).ok_or_else(|| BmcError::Garbled {
            address: self.address.clone(),
            what,
            answer: answer.split_whitespace().take(24).collect::<Vec<_>>().join(" "),
        })
    }
}

/// What a BMC has of something that it need not have.
fn has<T>(answer: Result<T, BmcError>) -> Result<Option<T>, BmcError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error @ BmcError::Refused { .. }) if error.kind() == Kind::Refused => {
            tracing::debug!(%error, "it has none");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A home with a short list of manufacturers; without one ipmitool is slower and works as well.
fn short_home() -> Option<Scratch> {
    let home = Scratch::new().ok()?;
    home.write(MANUFACTURERS.0, MANUFACTURERS.1).ok()?;
    Some(home)
}

impl Bmc for Ipmi {
    fn address(&self) -> &str {
        &self.address
    }

    fn power(&self) -> Result<Power, BmcError> {
        self.read(&bytes::get_chassis_status(), bytes::power)
    }

    fn press(&self, button: Button) -> Result<(), BmcError> {
        self.raw(&bytes::chassis_control(button)).map(drop)
    }

    fn boot(&self) -> Result<BootState, BmcError> {
        self.read(&bytes::get_boot_flags(), bytes::boot)
    }

    fn set_boot(&self, boot: &Boot) -> Result<(), BmcError> {
        // By default the order is dropped unless the host is reset within a minute, and a deploy may be queued
        // for longer. BMCs without this parameter keep the minute.
        match self.raw(&bytes::keep_boot_flags()) {
            Ok(_) => {}
            Err(error @ BmcError::Refused { .. }) => tracing::debug!(%error, "the boot device may expire"),
            Err(error) => return Err(error),
        }
        self.raw(&bytes::set_boot_flags(boot)).map(drop)
    }

    fn users(&self) -> Result<Vec<User>, BmcError> {
        let channel = self.channel()?.to_string();
        let tool = self.tool(&self.admin, Privilege::Administrator);
        let tool = tool.args(["-v", "-c", "user", "list", &channel]);
        let output = self.run(tool, self.call, &self.admin, "user list")?;
        self.parsed("user list", &output, parse::users)
    }

    fn set_user(&self, slot: &BmcSlot, login: &Login, privilege: Privilege) -> Result<BmcSlot, BmcError> {
        let number = self.number(slot)?;
        let unfit = || BmcError::Unfit {
            user: login.user.clone(),
        };
        let name = bytes::set_user_name(number, &login.user).ok_or_else(unfit)?;
        let password = bytes::set_user_password(number, login.password.expose()).ok_or_else(unfit)?;
        let channel = self.channel()?;
        // Enabled last, so that no half-made account lets anyone in.
        self.raw(&name)?;
        self.raw_secret(&password)?;
        self.raw(&bytes::set_user_access(number, channel, privilege))?;
        self.raw(&bytes::enable_user(number))?;
        Ok(slot.clone())
    }

    fn user(&self, slot: &BmcSlot) -> Result<User, BmcError> {
        let number = self.number(slot)?;
        let channel = self.channel()?;
        let name = self.read(&bytes::get_user_name(number), bytes::user_name);
        let name = match name {
            Ok(name) => name,
            // So some BMCs say that it has none.
            Err(BmcError::Refused {
                code: 0xcb | 0xcc, ..
            }) => String::new(),
            Err(error) => return Err(error),
        };
        let rights = self.read(&bytes::get_user_access(number, channel), bytes::user_access)?;
        let (privilege, enabled, access) = rights;
        Ok(User {
            slot: slot.clone(),
            name,
            privilege,
            enabled,
            access,
        })
    }

    fn disable_user(&self, slot: &BmcSlot) -> Result<(), BmcError> {
        let number = self.number(slot)?;
        let channel = self.channel()?;
        self.raw(&bytes::disable_user(number))?;
        // There are BMCs where one of these alone is not kept, or is undone by whoever enables the slot again. With a
        // password that nobody knows, what the last tenant knows opens nothing even then.
        self.raw(&bytes::no_user_access(number, channel))?;
        let password = Secret::random(PASSWORD).map_err(|_| BmcError::Random)?;
        let password = bytes::set_user_password(number, password.expose());
        self.raw_secret(&password.ok_or(BmcError::Random)?)?;
        // Last, since the name is what a run finds the slot by that goes on after this one was killed. Some BMCs never
        // give up a name, and the account stays where it is, shut out.
        match self.raw(&bytes::clear_user_name(number)) {
            Ok(_) => Ok(()),
            Err(error @ BmcError::Refused { .. }) if error.kind() == Kind::Refused => {
                tracing::debug!(%error, %slot, "the name stays");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn prove(&self, login: &Login, privilege: Privilege) -> Result<(), BmcError> {
        self.raw_as(&bytes::get_chassis_status(), login, privilege)
            .map(drop)
    }

    fn mac(&self) -> Result<Mac, BmcError> {
        let channel = self.channel()?;
        self.read(&bytes::get_lan_mac(channel), bytes::mac)
    }

    fn info(&self) -> Result<Info, BmcError> {
        let (firmware, ipmi) = self.read(&bytes::get_device_id(), bytes::versions)?;
        let (manufacturer, model) = match has(self.raw(&bytes::get_fru_area()))? {
            Some(_) => self.machine()?,
            None => (None, None),
        };
        let records = has(self.read(&bytes::get_sdr_repository(), bytes::sdr_records))?;
        let sensors = match records {
            // ipmitool fills an empty repository with what it takes for sensors, after it has erased it.
            None | Some(0) => Vec::new(),
            Some(_) => self.sensors()?,
        };
        Ok(Info {
            manufacturer,
            model,
            firmware: Some(firmware),
            protocol: format!("IPMI {ipmi}"),
            mac: has(self.mac())?,
            sensors,
        })
    }
}
