//! The resources: what each says, and what a write to it does.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::accounts::Role;
use super::{Problem, Service};
use crate::inventory::BmcKind;

/// The devices that can be chosen, by Redfish's name and by the machine's.
const TARGETS: [(&str, &str); 4] = [
    ("None", "none"),
    ("Pxe", "pxe"),
    ("Hdd", "default"),
    ("BiosSetup", "bios"),
];
const ACCOUNTS: &str = "/redfish/v1/AccountService/Accounts/";

type Written = Result<(StatusCode, &'static str), Problem>;

const DONE: (StatusCode, &str) = (StatusCode::OK, "Success");
const AT_RESET: (StatusCode, &str) = (StatusCode::OK, "SystemResetRequired");

impl Service {
    pub fn read(&self, path: &[&str], role: Option<Role>) -> Result<Value, Problem> {
        if let ["redfish"] = path {
            return Ok(json!({"v1": "/redfish/v1/"}));
        }
        if let ["redfish", "v1"] = path {
            return Ok(json!({
                "@odata.id": "/redfish/v1/", "RedfishVersion": "1.6.0",
                "Systems": link("/redfish/v1/Systems/"), "Managers": link("/redfish/v1/Managers/"),
                "AccountService": link("/redfish/v1/AccountService/"),
            }));
        }
        let role = role.ok_or(Problem::NoLogin)?;
        let ["redfish", "v1", below @ ..] = path else {
            return Err(Problem::NotFound);
        };
        match below {
            ["systems"] => Ok(collection(
                "/redfish/v1/Systems/",
                vec![link("/redfish/v1/Systems/1/")],
            )),
            ["systems", "1"] => Ok(self.system()),
            ["systems", "1", "bios"] => Ok(self.bios()),
            ["systems", "1", "bios", "settings"] => Ok(self.bios_settings()),
            ["systems", "1", "bios", "boot", "settings"] if self.kind != BmcKind::Idrac => {
                let order = self.shared.bios(|bios| bios.next_order().to_vec());
                Ok(
                    json!({"@odata.id": "/redfish/v1/systems/1/bios/boot/settings/", "PersistentBootConfigOrder": order}),
                )
            }
            ["managers"] => Ok(collection(
                "/redfish/v1/Managers/",
                vec![link("/redfish/v1/Managers/1/")],
            )),
            ["managers", "1"] => Ok(json!({
                "@odata.id": "/redfish/v1/Managers/1/", "FirmwareVersion": self.firmware(),
                "EthernetInterfaces": link("/redfish/v1/Managers/1/EthernetInterfaces/"),
            })),
            ["managers", "1", "ethernetinterfaces"] => {
                let members =
                    [2, 1].map(|id| link(&format!("/redfish/v1/Managers/1/EthernetInterfaces/{id}/")));
                Ok(collection(
                    "/redfish/v1/Managers/1/EthernetInterfaces/",
                    members.to_vec(),
                ))
            }
            ["managers", "1", "ethernetinterfaces", "1"] => {
                let mac = self
                    .shared
                    .lan_setting("mac_addr")
                    .map(|mac| mac.to_ascii_uppercase());
                Ok(
                    json!({"Id": "1", "InterfaceEnabled": true, "MACAddress": mac, "Status": {"State": "Enabled"}}),
                )
            }
            ["managers", "1", "ethernetinterfaces", "2"] => Ok(json!({
                "Id": "2", "InterfaceEnabled": false, "MACAddress": "02:00:00:00:FF:FF", "Status": {"State": "Disabled"},
            })),
            ["chassis", "1"] => Ok(json!({
                "@odata.id": "/redfish/v1/Chassis/1/", "Thermal": link("/redfish/v1/Chassis/1/Thermal/"),
                "Power": link("/redfish/v1/Chassis/1/Power/"),
            })),
            ["chassis", "1", "thermal"] => Ok(self.thermal()),
            ["chassis", "1", "power"] => {
                let watts = if self.shared.is_on() { 112 } else { 9 };
                Ok(
                    json!({"PowerControl": [{"Name": "Server", "PowerConsumedWatts": watts, "Status": {"Health": "OK"}}]}),
                )
            }
            ["accountservice"] => Ok(json!({"Accounts": link(ACCOUNTS)})),
            ["accountservice", "accounts", ..] if role != Role::Administrator => Err(Problem::NotPrivileged),
            ["accountservice", "accounts"] => Ok(collection(ACCOUNTS, self.locked().members())),
            ["accountservice", "accounts", id] => self.locked().show(number(id)?),
            _ => Err(Problem::NotFound),
        }
    }

    pub fn write(&self, method: &Method, path: &[&str], role: Role, body: &Value) -> Written {
        let ["redfish", "v1", below @ ..] = path else {
            return Err(Problem::NotFound);
        };
        match (method.as_str(), below) {
            _ if role == Role::ReadOnly => return Err(Problem::NotPrivileged),
            ("POST", ["systems", "1", "actions", "computersystem.reset"]) => return self.press(body),
            ("PATCH", ["systems", "1"]) => return self.set_boot(body),
            // Beyond power and boot an operator may do nothing.
            _ if role != Role::Administrator => return Err(Problem::NotPrivileged),
            _ => {}
        }
        match (method.as_str(), below) {
            ("PATCH", ["systems", "1", "bios", "boot", "settings"]) => self.set_order(body),
            ("PATCH", ["systems", "1", "bios", "settings"]) if self.is_ilo4() => {
                self.ask_password(&body["OldAdminPassword"], &body["AdminPassword"])
            }
            (
                "POST",
                [
                    "systems",
                    "1",
                    "bios",
                    "settings",
                    "actions",
                    "bios.changepassword",
                ],
            ) if !self.is_ilo4() => {
                if !matches!(
                    body["PasswordName"].as_str(),
                    Some("Administrator" | "AdministratorPassword")
                ) {
                    return Err(Problem::Bad("ActionParameterValueNotInList"));
                }
                self.ask_password(&body["OldPassword"], &body["NewPassword"])
            }
            ("POST", ["accountservice", "accounts"]) => {
                self.locked().make(body)?;
                Ok((StatusCode::CREATED, "ResourceCreated"))
            }
            ("PATCH", ["accountservice", "accounts", id]) => {
                self.locked().change(number(id)?, body)?;
                Ok((StatusCode::OK, "AccountModified"))
            }
            ("DELETE", ["accountservice", "accounts", id]) => {
                self.locked().delete(number(id)?)?;
                Ok((StatusCode::OK, "AccountRemoved"))
            }
            _ => Err(Problem::NotAllowed),
        }
    }

    fn is_ilo4(&self) -> bool {
        matches!(self.kind, BmcKind::Ilo4 | BmcKind::Ilo4WithoutBoot)
    }

    fn firmware(&self) -> &'static str {
        match self.kind {
            BmcKind::Ilo5 => "iLO 5 v2.78",
            BmcKind::Ilo4 => "iLO 4 v2.82",
            BmcKind::Ilo4WithoutBoot => "iLO 4 v2.00",
            BmcKind::Idrac | BmcKind::Ipmi => "6.10.30.00",
        }
    }

    fn buttons(&self) -> &'static [&'static str] {
        match self.is_ilo4() {
            true => &["On", "ForceOff", "ForceRestart", "Nmi", "PushPowerButton"],
            false => &[
                "On",
                "ForceOff",
                "GracefulShutdown",
                "ForceRestart",
                "Nmi",
                "PushPowerButton",
            ],
        }
    }

    fn system(&self) -> Value {
        let (maker, model) = match self.kind {
            BmcKind::Ilo5 => ("HPE", "ProLiant DL360 Gen10"),
            BmcKind::Ilo4 | BmcKind::Ilo4WithoutBoot => ("HP", "ProLiant DL360 Gen9"),
            BmcKind::Idrac | BmcKind::Ipmi => ("Dell Inc.", "PowerEdge R640"),
        };
        let mut system = json!({
            "@odata.id": "/redfish/v1/Systems/1/", "Id": "1", "Manufacturer": maker, "Model": model,
            "PowerState": if self.shared.is_on() { "On" } else { "Off" },
            "Actions": {"#ComputerSystem.Reset": {
                "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset/",
                "ResetType@Redfish.AllowableValues": self.buttons(),
            }},
            "Links": {
                "ManagedBy": [link("/redfish/v1/Managers/1/")], "Chassis": [link("/redfish/v1/Chassis/1/")],
            },
        });
        if self.kind != BmcKind::Ilo4WithoutBoot {
            system["Boot"] = self.boot();
        }
        let bios = link("/redfish/v1/systems/1/bios/");
        match self.kind {
            BmcKind::Ilo5 => {
                system["Bios"] = bios;
                system["Oem"] = json!({"Hpe": {"PostState": "InPost"}});
            }
            BmcKind::Ilo4 | BmcKind::Ilo4WithoutBoot => {
                system["Oem"] = json!({"Hp": {"Links": {"BIOS": bios}}})
            }
            BmcKind::Idrac | BmcKind::Ipmi => system["Bios"] = bios,
        }
        system
    }

    fn boot(&self) -> Value {
        let boot = self.shared.boot_device();
        let target = TARGETS.iter().find(|(_, name)| *name == boot.ipmi_name());
        let target = target.map_or("Cd", |(target, _)| target);
        let enabled = match (target, boot.persistent) {
            ("None", _) => "Disabled",
            (_, true) => "Continuous",
            (_, false) => "Once",
        };
        let uefi = *self
            .uefi
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        json!({
            "BootSourceOverrideEnabled": enabled,
            "BootSourceOverrideMode": if uefi { "UEFI" } else { "Legacy" },
            "BootSourceOverrideTarget": target,
            "BootSourceOverrideTarget@Redfish.AllowableValues": TARGETS.map(|(target, _)| target),
        })
    }

    fn press(&self, body: &Value) -> Written {
        let button = body["ResetType"].as_str().unwrap_or_default();
        if !self.buttons().contains(&button) {
            return Err(Problem::Bad("ActionParameterValueNotInList"));
        }
        let is_on = self.shared.is_on();
        let unfit = Problem::Bad("InvalidOperationForSystemState");
        match (button, is_on) {
            ("On", false) | ("PushPowerButton", false) => self.shared.set_power(true),
            ("ForceOff", true) => self.shared.set_power(false),
            ("GracefulShutdown" | "PushPowerButton", true) => self.shared.press_power_button(),
            ("ForceRestart", true) => self.shared.reset().map_err(|_| unfit)?,
            _ => return Err(unfit),
        }
        Ok(DONE)
    }

    fn set_boot(&self, body: &Value) -> Written {
        let wanted = body["Boot"].as_object().ok_or(Problem::Bad("PropertyUnknown"))?;
        if self.kind == BmcKind::Ilo4WithoutBoot {
            return Err(Problem::Bad("PropertyUnknown"));
        }
        let now = self.shared.boot_device();
        let mut name = now.ipmi_name();
        let mut persistent = now.persistent;
        let mut mode = None;
        for (property, value) in wanted {
            let value = value.as_str().ok_or(Problem::Bad("PropertyValueTypeError"))?;
            match (property.as_str(), value) {
                ("BootSourceOverrideTarget", target) => {
                    let known = TARGETS.iter().find(|(t, _)| *t == target);
                    name = known.ok_or(Problem::Bad("PropertyValueNotInList"))?.1;
                }
                ("BootSourceOverrideEnabled", "Once") => persistent = false,
                ("BootSourceOverrideEnabled", "Continuous") => persistent = true,
                ("BootSourceOverrideEnabled", "Disabled") => (name, persistent) = ("none", false),
                ("BootSourceOverrideMode", "UEFI") if self.kind == BmcKind::Idrac => mode = Some(true),
                ("BootSourceOverrideMode", "Legacy") if self.kind == BmcKind::Idrac => mode = Some(false),
                ("BootSourceOverrideMode", _) => return Err(Problem::Bad("PropertyNotWritableOrUnknown")),
                _ => return Err(Problem::Bad("PropertyValueNotInList")),
            }
        }
        if let Some(uefi) = mode {
            *self
                .uefi
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = uefi;
        }
        self.shared
            .set_boot(name, persistent)
            .map_err(|_| Problem::Bad("PropertyValueNotInList"))?;
        Ok(DONE)
    }

    fn set_order(&self, body: &Value) -> Written {
        let wanted: Option<Vec<String>> = body["PersistentBootConfigOrder"].as_array().map(|names| {
            names
                .iter()
                .filter_map(|n| n.as_str().map(str::to_owned))
                .collect()
        });
        let wanted = wanted.ok_or(Problem::Bad("PropertyUnknown"))?;
        self.shared.bios(|bios| {
            let sorted = |names: &[String]| {
                let mut names = names.to_vec();
                names.sort();
                names
            };
            if sorted(&wanted) != sorted(&bios.order) {
                return Err(Problem::Bad("PropertyValueNotInList"));
            }
            bios.asked_order = Some(wanted);
            Ok(AT_RESET)
        })
    }

    /// The settings are only written down: the firmware looks at the old
    /// password when it starts.
    fn ask_password(&self, old: &Value, new: &Value) -> Written {
        let (Some(old), Some(new)) = (old.as_str(), new.as_str()) else {
            return Err(Problem::Bad("ActionParameterMissing"));
        };
        if new.len() > 31 {
            return Err(Problem::Bad("PropertyValueFormatError"));
        }
        let asked = (old.to_owned(), new.to_owned());
        self.shared.bios(|bios| bios.asked_password = Some(asked));
        Ok(AT_RESET)
    }

    fn bios(&self) -> Value {
        let taken = self.shared.bios(|bios| bios.taken.clone());
        let etag = format!("{:08X}", 0x5E01_36E3_u32.wrapping_add(taken.count));
        let spelled = |name: &&str| match self.is_ilo4() {
            true => json!({"MessageArgs": [], "MessageID": format!("Base.1.0:{name}")}),
            false => json!({"MessageId": format!("Base.1.0.{name}")}),
        };
        let messages: Vec<Value> = taken.messages.iter().map(spelled).collect();
        let result = json!({"ETag": etag, "Messages": messages, "Time": "2026-03-09T17:50:09+00:00"});
        let mut bios = json!({"@odata.id": "/redfish/v1/systems/1/bios/", "AdminPassword": null});
        if self.is_ilo4() {
            bios["SettingsResult"] = result;
            return bios;
        }
        bios["@Redfish.Settings"] = result;
        bios["@Redfish.Settings"]["SettingsObject"] = link("/redfish/v1/systems/1/bios/settings/");
        bios
    }

    fn bios_settings(&self) -> Value {
        let mut settings =
            json!({"@odata.id": "/redfish/v1/systems/1/bios/settings/", "AdminPassword": null});
        if !self.is_ilo4() {
            let target = "/redfish/v1/Systems/1/Bios/Settings/Actions/Bios.ChangePassword/";
            settings["Actions"] = json!({"#Bios.ChangePassword": {"target": target}});
        }
        settings
    }

    fn thermal(&self) -> Value {
        let fans = if self.shared.is_on() { 23 } else { 0 };
        json!({
            "Temperatures": [
                {"Name": "01-Inlet Ambient", "ReadingCelsius": 21, "Status": {"Health": "OK", "State": "Enabled"}},
                {"Name": "02-CPU 1", "ReadingCelsius": 40, "Status": {"Health": "OK", "State": "Enabled"}},
                {"Name": "03-CPU 2", "ReadingCelsius": 0, "Status": {"State": "Absent"}},
            ],
            "Fans": [{
                if self.is_ilo4() { "FanName" } else { "Name" }: "Fan 1", "Reading": fans, "ReadingUnits": "Percent",
                "Status": {"Health": "OK", "State": "Enabled"},
            }],
        })
    }
}

fn link(path: &str) -> Value {
    json!({"@odata.id": path})
}

fn collection(path: &str, members: Vec<Value>) -> Value {
    json!({"@odata.id": path, "Members@odata.count": members.len(), "Members": members})
}

fn number(id: &str) -> Result<u32, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}
