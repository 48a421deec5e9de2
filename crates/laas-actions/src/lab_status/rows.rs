//! The answers, laid out by host.

use super::ask::{Answer, Booked, Lab, Ledger, Ports, Remembered};
use super::{Cell, Output, Port, Row, Task, Unfinished};
use crate::table;
use laas_core::HostName;
use std::collections::{BTreeMap, BTreeSet};

const HEAD: [&str; 8] = [
    "HOST",
    "BOOKED",
    "POWER",
    "IMAGE",
    "PORTS",
    "ACCESS",
    "WORK",
    "LAST ERROR",
];
/// Of a message in a table that is to fit on a screen.
const WIDEST: usize = 60;

pub fn of(lab: &Lab, answers: Vec<Option<Answer>>, switches: &BTreeSet<String>) -> Output {
    let mut booked: Cell<Booked> = Cell::late();
    let mut tasks: Cell<Vec<(HostName, Task)>> = Cell::late();
    let mut ledger: Cell<Ledger> = Cell::late();
    let mut power: BTreeMap<HostName, Cell<String>> = BTreeMap::new();
    let mut remembered: BTreeMap<HostName, Remembered> = BTreeMap::new();
    let mut ports: BTreeMap<String, Cell<Ports>> = switches
        .iter()
        .map(|address| (address.clone(), Cell::late()))
        .collect();
    for answer in answers.into_iter().flatten() {
        match answer {
            Answer::Booked(found) => booked = found,
            Answer::Tasks(found) => tasks = found,
            Answer::Ledger(found) => ledger = found,
            Answer::Power(host, found) => drop(power.insert(host, found)),
            Answer::Remembered(host, found) => drop(remembered.insert(host, found)),
            Answer::Ports(address, found) => drop(ports.insert(address, found)),
        }
    }
    let row = |(name, entry): &(HostName, Result<laas_core::inventory::Host, String>)| {
        let of_entry = |late: &dyn Fn() -> String| match entry {
            Ok(_) => late(),
            Err(error) => error.clone(),
        };
        let late = || match Cell::<()>::late() {
            Cell::Error(text) => text,
            Cell::Value(()) => String::new(),
        };
        let remembered = remembered.remove(name);
        let own = |work: &Unfinished| work.host.as_ref() == Some(name);
        Row {
            host: name.clone(),
            booked: match &booked {
                Cell::Error(error) => Cell::Error(error.clone()),
                Cell::Value(all) => {
                    let found = all.iter().find(|(host, _)| host == name);
                    found.map_or_else(Cell::late, |(_, cell)| cell.clone())
                }
            },
            jobs: tasks.clone().map(|all| {
                let own = all.into_iter().filter(|(host, _)| host == name);
                own.map(|(_, task)| task).collect()
            }),
            power: power.remove(name).unwrap_or_else(|| Cell::Error(of_entry(&late))),
            ports: match entry {
                Err(error) => Cell::Error(error.clone()),
                Ok(host) => Cell::Value(host.interfaces.values().map(|i| port(i, &ports)).collect()),
            },
            image: remembered
                .as_ref()
                .map_or_else(Cell::late, |found| found.image.clone()),
            access: remembered.map_or_else(Cell::late, |found| found.access),
            last_error: ledger.clone().map(|(unfinished, told)| {
                let mut failed = unfinished.iter().filter(|work| own(work));
                failed.find_map(|work| told.get(&work.task).cloned())
            }),
            unfinished: ledger
                .clone()
                .map(|(all, _)| all.into_iter().filter(own).collect()),
        }
    };
    let mut row = row;
    let rows: Vec<Row> = lab.entries.iter().map(&mut row).collect();
    let shown = |work: &Unfinished| rows.iter().any(|row| work.host.as_ref() == Some(&row.host));
    let unfinished = ledger.map(|(all, _)| all.into_iter().filter(|work| !shown(work)).collect());
    Output {
        hosts: rows,
        unfinished,
    }
}

fn port(interface: &laas_core::inventory::Interface, ports: &BTreeMap<String, Cell<Ports>>) -> Port {
    let carries = match ports.get(&interface.switch) {
        Some(Cell::Error(error)) => Cell::Error(error.clone()),
        Some(Cell::Value(known)) => {
            let unknown = || Cell::Error("it is no port of the switch".to_owned());
            known.get(&interface.port).cloned().unwrap_or_else(unknown)
        }
        None => Cell::late(),
    };
    Port {
        interface: interface.name.clone(),
        switch: interface.switch.clone(),
        port: interface.port.clone(),
        carries,
    }
}

/// A table on a terminal, and below it why there are question marks in it.
pub fn print(output: &Output) {
    let mut errors: BTreeSet<String> = BTreeSet::new();
    let rows: Vec<[String; 8]> = output.hosts.iter().map(|row| cells(row, &mut errors)).collect();
    table::print(HEAD, rows);
    if let Cell::Value(rest) = &output.unfinished
        && !rest.is_empty()
    {
        let rows = rest.iter().map(|work| [work.task.clone(), works(work)]);
        table::print(["TASK", "WORK"], rows);
    }
    if !errors.is_empty() {
        table::print(["WHY `?`"], errors.into_iter().map(|error| [error]));
    }
}

fn cells(row: &Row, errors: &mut BTreeSet<String>) -> [String; 8] {
    let booked = shown(&row.booked, errors, |booked| match booked {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => "unknown there".to_owned(),
    });
    let image = shown(&row.image, errors, |image| match image {
        None => "-".to_owned(),
        Some(image) => {
            let state = if image.state == "done" {
                ""
            } else {
                image.state.as_str()
            };
            format!("{} {} {state}", image.id, image.system.unwrap_or_default())
                .trim_end()
                .to_owned()
        }
    });
    let ports = match &row.ports {
        Cell::Error(error) => unknown(error, errors),
        Cell::Value(ports) => {
            let each = ports.iter().map(|port| {
                let carries = shown(&port.carries, errors, |text| text.replace(" with native ", "/"));
                format!("{} {}", port.interface, carries.trim_start_matches("trunk of "))
            });
            each.collect::<Vec<_>>().join(", ")
        }
    };
    let access = shown(&row.access, errors, |access| {
        let bmc = access.bmc_user.as_ref().map(|user| format!("BMC {user}"));
        let ssh = access.ssh_host_key.as_ref().map(|_| "SSH".to_owned());
        let both: Vec<_> = ssh.into_iter().chain(bmc).collect();
        if both.is_empty() {
            "-".to_owned()
        } else {
            both.join(", ")
        }
    });
    let mut work = match &row.jobs {
        Cell::Error(error) => vec![unknown(error, errors)],
        Cell::Value(tasks) => tasks
            .iter()
            .map(|task| format!("job {} {}", task.job, task.what))
            .collect(),
    };
    match &row.unfinished {
        Cell::Error(error) => work.push(unknown(error, errors)),
        Cell::Value(unfinished) => work.extend(unfinished.iter().map(works)),
    }
    work.sort();
    work.dedup();
    let last = shown(&row.last_error, errors, |error| {
        let line = error.as_deref().unwrap_or("-").lines().next().unwrap_or_default();
        match line.char_indices().nth(WIDEST) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.to_owned(),
        }
    });
    let power = shown(&row.power, errors, Clone::clone);
    let work = if work.is_empty() {
        "-".to_owned()
    } else {
        work.join(", ")
    };
    [
        row.host.to_string(),
        booked,
        power,
        image,
        ports,
        access,
        work,
        last,
    ]
}

fn works(work: &Unfinished) -> String {
    let state = match (work.state, work.tried_again) {
        (_, true) => "failed, is tried again",
        (0, _) => "planned",
        (300, _) => "failed",
        _ => "begun",
    };
    format!("job {} {state}", work.job)
}

fn shown<T>(cell: &Cell<T>, errors: &mut BTreeSet<String>, show: impl FnOnce(&T) -> String) -> String {
    match cell {
        Cell::Value(value) => show(value),
        Cell::Error(error) => unknown(error, errors),
    }
}

fn unknown(error: &str, errors: &mut BTreeSet<String>) -> String {
    errors.insert(error.to_owned());
    "?".to_owned()
}
