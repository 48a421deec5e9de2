//! `POST /ribcl`, as old iLOs have it.

use super::Service;
use super::accounts::Role;

const FINE: &str = "<?xml version=\"1.0\"?>\r\n<RIBCL VERSION=\"2.23\">\r\n<RESPONSE\r\n    STATUS=\"0x0000\"\r\n    \
                    MESSAGE='No error'\r\n     />\r\n</RIBCL>\r\n";

/// The reply to a request: a document for each of its elements.
pub fn answer(service: &Service, request: &str, lies: bool) -> String {
    let login = (value(request, "USER_LOGIN"), value(request, "PASSWORD"));
    let role = match login {
        (Some(user), Some(password)) => service.login(&user, &password),
        _ => return document("0x0001", "Syntax error", ""),
    };
    if role.is_none() {
        return format!("{FINE}{}", document("0x005F", "Login failed.", ""));
    }
    let command = match commands(request, lies, role == Some(Role::ReadOnly), service) {
        Ok(content) => content,
        Err((status, message)) => document(status, message, ""),
    };
    // The root, the login and what is about the server have replies of their
    // own, before and after.
    format!("{}{command}{}", FINE.repeat(3), FINE.repeat(3))
}

fn commands(
    request: &str,
    lies: bool,
    reads_only: bool,
    service: &Service,
) -> Result<String, (&'static str, &'static str)> {
    let mut replies = String::new();
    if request.contains("<GET_ONE_TIME_BOOT") {
        let word = match service.shared.boot_device() {
            boot if boot.persistent => "NORMAL",
            boot => match boot.ipmi_name() {
                "pxe" => "NETWORK",
                "default" => "HDD",
                "bios" => "RBSU",
                _ => "NORMAL",
            },
        };
        let content = format!("<ONE_TIME_BOOT>\r\n<BOOT_TYPE VALUE=\"{word}\"/>\r\n</ONE_TIME_BOOT>\r\n");
        replies += &document("0x0000", "No error", &content);
    }
    if request.contains("<GET_PERSISTENT_BOOT") {
        let order = service.shared.bios(|bios| bios.next_order().to_vec());
        let devices: String = order
            .iter()
            .filter_map(|name| match name.split('.').next()? {
                "NIC" if name.ends_with("IPv4") => Some("  <DEVICE value=\"NETWORK\"/>\r\n"),
                "HD" => Some("  <DEVICE value=\"HDD\"/>\r\n"),
                "Generic" => Some("  <DEVICE value=\"USB\"/>\r\n"),
                _ => None,
            })
            .collect();
        let content = format!("<PERSISTENT_BOOT>\r\n{devices}</PERSISTENT_BOOT>\r\n");
        replies += &document("0x0000", "No error", &content);
    }
    if request.contains("<SET_") {
        if reads_only || !request.contains("MODE=\"write\"") {
            return Err(("0x0023", "User does NOT have correct privilege for action."));
        }
        if !lies {
            set(request, service)?;
        }
        replies += FINE;
    }
    match replies.is_empty() {
        true => Err(("0x0001", "Syntax error: Line #1")),
        false => Ok(replies),
    }
}

fn set(request: &str, service: &Service) -> Result<(), (&'static str, &'static str)> {
    let unknown = ("0x000A", "The value specified is invalid.");
    if let Some((_, rest)) = request.split_once("<SET_ONE_TIME_BOOT") {
        let name = match value(rest, "value").as_deref() {
            Some("NETWORK") => "pxe",
            Some("HDD") => "default",
            Some("RBSU") => "bios",
            Some("NORMAL") => "none",
            _ => return Err(unknown),
        };
        return service.shared.set_boot(name, false).map_err(|_| unknown);
    }
    let Some((_, rest)) = request.split_once("<SET_PERSISTENT_BOOT") else {
        return Err(("0x0001", "Syntax error: Line #1"));
    };
    let kind = match value(rest, "value").as_deref() {
        Some("NETWORK") => "NIC.",
        Some("HDD") => "HD.",
        _ => return Err(unknown),
    };
    service.shared.bios(|bios| {
        let mut order = bios.next_order().to_vec();
        // A stable sort keeps the others in their places.
        order.sort_by_key(|name| !name.starts_with(kind));
        bios.asked_order = Some(order);
    });
    Ok(())
}

fn document(status: &str, message: &str, content: &str) -> String {
    FINE.replace("0x0000", status)
        .replace("No error", message)
        .replace("</RIBCL>", &format!("{content}</RIBCL>"))
}

/// An attribute, without its escapes.
fn value(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("{name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let plain = value
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"");
    Some(plain.replace("&apos;", "'").replace("&amp;", "&"))
}
