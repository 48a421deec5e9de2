//! RIBCL, HP's protocol before Redfish, as the last resort: an iLO whose system has no boot override in Redfish takes
//! `SET_ONE_TIME_BOOT` and `SET_PERSISTENT_BOOT` (HPE, "Scripting and Command Line Guide"; OpenStack's proliantutils,
//! `ribcl.py`). The reply is several XML documents one after the other, each with a `RESPONSE` of its own.

use crate::{Boot, BootState, Device, Firmware, Login};

/// Where it is answered.
pub const PATH: &str = "ribcl";
/// RIBCL's status of a login that was refused.
const LOGIN_FAILED: u32 = 0x005f;

/// Why a reply is none of success.
#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    Login,
    /// What iLO says, cut short.
    Refused {
        status: u32,
        said: String,
    },
    /// It is no reply of RIBCL, or not a whole one.
    Garbled,
}

/// Asks for both, what the next boot is from and what all are.
pub fn question(login: &Login) -> String {
    request(login, "read", "<GET_ONE_TIME_BOOT/><GET_PERSISTENT_BOOT/>")
}

/// `None` for a device that RIBCL has no word for.
pub fn order(login: &Login, boot: &Boot) -> Option<String> {
    let word = match boot.device {
        Device::Pxe => "NETWORK",
        Device::Disk => "HDD",
        Device::Bios if !boot.persistent => "RBSU",
        Device::None => "NORMAL",
        Device::Bios | Device::Other => return None,
    };
    let command = match boot.persistent && boot.device != Device::None {
        true => format!("<SET_PERSISTENT_BOOT><DEVICE value=\"{word}\"/></SET_PERSISTENT_BOOT>"),
        false => format!("<SET_ONE_TIME_BOOT value=\"{word}\"/>"),
    };
    Some(request(login, "write", &command))
}

/// Only fixed words and the login come into a request, and the login is escaped.
fn request(login: &Login, mode: &str, command: &str) -> String {
    let (user, password) = (escaped(&login.user), escaped(login.password.expose()));
    format!(
        "<?xml version=\"1.0\"?>\r\n<RIBCL VERSION=\"2.0\"><LOGIN USER_LOGIN=\"{user}\" PASSWORD=\"{password}\">\
         <SERVER_INFO MODE=\"{mode}\">{command}</SERVER_INFO></LOGIN></RIBCL>\r\n"
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}

/// Whether every document of the reply says that all is well.
pub fn judge(reply: &str) -> Result<(), Why> {
    let documents: Vec<&str> = reply.split("<?xml").skip(1).collect();
    if documents.is_empty() || !reply.trim_start().starts_with("<?xml") {
        return Err(Why::Garbled);
    }
    for document in documents {
        let is_whole = document.contains("<RIBCL") && document.trim_end().ends_with("</RIBCL>");
        let mut responses = elements(document, "RESPONSE").peekable();
        if !is_whole || responses.peek().is_none() {
            return Err(Why::Garbled);
        }
        for response in responses {
            let status = attribute(response, "STATUS").and_then(|s| s.strip_prefix("0x"));
            match status.and_then(|s| u32::from_str_radix(s, 16).ok()) {
                Some(0) => {}
                Some(LOGIN_FAILED) => return Err(Why::Login),
                Some(status) => {
                    let said = attribute(response, "MESSAGE").unwrap_or_default();
                    let said = said.chars().filter(|c| !c.is_control()).take(120).collect();
                    return Err(Why::Refused { status, said });
                }
                None => return Err(Why::Garbled),
            }
        }
    }
    Ok(())
}

/// What the reply to [`question`] says; `None` if it does not say.
pub fn state(reply: &str) -> Option<BootState> {
    let once = elements(reply, "BOOT_TYPE").next();
    let once = once.and_then(|e| attribute(e, "VALUE").or_else(|| attribute(e, "value")))?;
    let first = elements(reply, "DEVICE").next();
    let first = first.and_then(|e| attribute(e, "value").or_else(|| attribute(e, "VALUE")))?;
    let device = |word: &str| match word.to_ascii_uppercase().as_str() {
        "NETWORK" => Device::Pxe,
        "HDD" => Device::Disk,
        "RBSU" => Device::Bios,
        _ => Device::Other,
    };
    if once.eq_ignore_ascii_case("NORMAL") {
        return Some(BootState::by_firmware(device(first)));
    }
    Some(BootState {
        device: device(once),
        valid: true,
        persistent: false,
        uefi: false,
        firmware: Firmware {
            decides_device: false,
            decides_mode: true,
        },
    })
}

/// The attributes of each element of this name.
fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.split('<').filter_map(move |tag| {
        let rest = tag.strip_prefix(name)?;
        let rest = rest.split_once('>')?.0;
        rest.starts_with([' ', '\n', '\r', '\t', '/']).then_some(rest)
    })
}

/// An attribute's value; iLO sets some in double quotes and some in single ones, and a space before some `=`.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if key.trim() == name {
            return Some(value);
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laas_core::Secret;

    const FINE: &str = "<?xml version=\"1.0\"?>\r\n<RIBCL VERSION=\"2.23\">\r\n<RESPONSE\r\n    STATUS=\"0x0000\"\r\n    MESSAGE='No error'\r\n     />\r\n</RIBCL>\r\n";

    #[test]
    fn a_reply_is_as_good_as_its_worst_document() {
        let failed = FINE
            .replace("0x0000", "0x003C")
            .replace("No error", "Feature not supported");
        let login = FINE
            .replace("0x0000", "0x005F")
            .replace("No error", "Login failed.");
        let refused = Why::Refused {
            status: 0x3c,
            said: "Feature not supported".to_owned(),
        };
        for (reply, expected) in [
            (FINE.repeat(6), Ok(())),
            (format!("{FINE}{failed}{FINE}"), Err(refused)),
            (format!("{FINE}{login}"), Err(Why::Login)),
            (FINE.repeat(2)[..FINE.len() + 60].to_owned(), Err(Why::Garbled)),
            (FINE.replace("STATUS", "STATE"), Err(Why::Garbled)),
            ("<html>Sign in</html>".to_owned(), Err(Why::Garbled)),
            (String::new(), Err(Why::Garbled)),
        ] {
            assert_eq!(judge(&reply), expected, "{reply}");
        }
    }

    #[test]
    fn the_order_of_boots_is_read() {
        let reply = |once: &str, first: &str| {
            let once = FINE.replace(
                "</RIBCL>",
                &format!("<ONE_TIME_BOOT>\n<BOOT_TYPE VALUE=\"{once}\"/>\n</ONE_TIME_BOOT>\n</RIBCL>"),
            );
            let all = FINE.replace("</RIBCL>", &format!("<PERSISTENT_BOOT>\n<DEVICE value=\"{first}\"/><DEVICE value=\"USB\"/>\n</PERSISTENT_BOOT>\n</RIBCL>"));
            format!("{FINE}{once}{all}{FINE}")
        };
        let found = state(&reply("NORMAL", "NETWORK")).unwrap();
        assert_eq!((found.device, found.firmware.decides_device), (Device::Pxe, true));
        let found = state(&reply("NETWORK", "HDD")).unwrap();
        assert_eq!(
            (found.device, found.valid, found.persistent),
            (Device::Pxe, true, false)
        );
        assert_eq!(state(FINE), None);
    }

    #[test]
    fn nothing_breaks_out_of_a_request() {
        let login = Login {
            user: "o\"/><X".to_owned(),
            password: Secret::new("a&b'c>d"),
        };
        let sent = question(&login);
        assert!(
            sent.contains("USER_LOGIN=\"o&quot;/&gt;&lt;X\" PASSWORD=\"a&amp;b&apos;c&gt;d\""),
            "{sent}"
        );
    }
}
