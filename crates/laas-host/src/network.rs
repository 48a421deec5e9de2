//! Network configuration of a host: what was asked is rendered for the system that the host runs, written whole,
//! read back, and checked by the system's own tool. A family of systems is one module, a [`Dialect`].

mod evidence;
mod ifcfg;
mod ifupdown;
mod netplan;
mod network_manager;
mod networkd;
mod tree;

pub use evidence::Evidence;

use crate::ssh::{Session, SshError};
use laas_core::names::InterfaceName;
use laas_core::{Classify, Kind, Mac, VlanId};
use tree::{File, Found, Plan, Restore, Tree};

/// One network interface and what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name; [`configure`] takes the one that the system gives to the card with this MAC.
    pub name: InterfaceName,
    pub mac: Mac,
    /// The untagged network, if any.
    pub untagged: Option<VlanId>,
    pub tagged: Vec<VlanId>,
    /// The network whose DHCP gives the default route and the name servers; on one interface at most.
    pub default: Option<VlanId>,
}

/// A VLAN interface to be made.
struct Tagged {
    name: String,
    id: VlanId,
    default: bool,
}

impl Interface {
    fn carries_nothing(&self) -> bool {
        self.untagged.is_none() && self.tagged.is_empty()
    }

    /// Whether the untagged network is the one with the default route.
    fn untagged_is_default(&self) -> bool {
        self.untagged.is_some() && self.untagged == self.default
    }

    /// Its VLAN interfaces, by names that Linux takes (15 bytes at most, IFNAMSIZ) and that no other interface's have:
    /// `eno1.103`, or `nic0v103` where that would be too long.
    fn vlans(&self, index: usize) -> impl Iterator<Item = Tagged> + '_ {
        self.tagged.iter().map(move |id| {
            let long = format!("{}.{id}", self.name);
            let name = if long.len() <= 15 {
                long
            } else {
                format!("nic{index}v{id}")
            };
            Tagged {
                name,
                id: *id,
                default: Some(*id) == self.default,
            }
        })
    }
}

/// How one family of systems is told about its network: all that is particular to it.
pub struct Dialect {
    /// What people call it.
    name: &'static str,
    /// Where its configuration lies; only files directly in one of these are looked at.
    directories: &'static [&'static str],
    /// Every file that says the whole of what was asked. Every network is expected to have a DHCP server; none but the
    /// default one may give routes and name servers, or be waited for at boot.
    render: fn(&[Interface]) -> Vec<File>,
    /// Whether the system takes a file that isn't ours for configuration of a network card.
    fights: fn(&Found) -> bool,
    judge: Option<Judge>,
}

/// The system's own tool that says whether configuration is sound.
struct Judge {
    tool: &'static str,
    /// For sh(1), with the paths of our files as its arguments.
    script: &'static str,
}

/// The exit status of a judge's script on a system whose tool can't judge files yet.
const NO_JUDGE: i32 = 43;

/// The ways in which systems configure their network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Netplan,
    NetplanNetworkManager,
    Wicked,
    NetworkScripts,
    Ifupdown,
    NetworkManager,
    Networkd,
}

impl Family {
    /// The whole files that say this and nothing else, for interfaces by the names that the system gives them.
    pub fn files(self, interfaces: &[Interface]) -> Vec<Content> {
        let files = (self.dialect().render)(interfaces);
        files.into_iter().map(Content::from).collect()
    }

    fn dialect(self) -> &'static Dialect {
        match self {
            Self::Netplan => &netplan::NETWORKD,
            Self::NetplanNetworkManager => &netplan::NETWORK_MANAGER,
            Self::Wicked => &ifcfg::WICKED,
            Self::NetworkScripts => &ifcfg::NETWORK_SCRIPTS,
            Self::Ifupdown => &ifupdown::DIALECT,
            Self::NetworkManager => &network_manager::DIALECT,
            Self::Networkd => &networkd::DIALECT,
        }
    }
}

/// What was changed on the host; the lists are empty when everything was as asked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// How the host configures its network.
    pub family: &'static str,
    /// What was seen that says so.
    pub because: String,
    pub written: Vec<String>,
    /// Files of the image that would fight ours; each is kept beside its place as `.<name>.laas-aside`.
    pub set_aside: Vec<String>,
    /// Files of an earlier booking.
    pub removed: Vec<String>,
    /// The host's own tool that found the result sound; `None` if it has none that judges files.
    pub checked_by: Option<&'static str>,
    /// The whole files that would be written, of a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Content>,
}

/// What a file would hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Content {
    pub path: String,
    pub content: String,
}

impl From<File> for Content {
    fn from(file: File) -> Self {
        Self {
            path: file.path,
            content: file.content,
        }
    }
}

impl Change {
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.set_aside.is_empty() && self.removed.is_empty()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("can't talk to the host")]
    Ssh(#[from] SshError),
    #[error("don't know how `{os}` configures its network; {seen}")]
    UnknownSystem { os: String, seen: String },
    #[error("the host has no network card `{mac}`, only {present}")]
    NoCard { mac: Mac, present: String },
    #[error("two network cards are called `{name}`")]
    SameName { name: InterfaceName },
    #[error("a file of the host's network configuration has a name that isn't text")]
    Listing,
    #[error("the host took its new network configuration and doesn't have it: {what}")]
    NotKept { what: String },
    #[error("the host's own `{tool}` refuses the new network configuration: {said}")]
    Refused { tool: &'static str, said: String },
}

impl Classify for NetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ssh(source) => source.kind(),
            Self::UnknownSystem { .. } | Self::NoCard { .. } | Self::SameName { .. } => Kind::Input,
            Self::Listing | Self::NotKept { .. } | Self::Refused { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Ssh(source) => return source.hint(),
            Self::UnknownSystem { .. } => {
                "netplan, wicked, network-scripts, ifupdown, NetworkManager and systemd-networkd are known; \
                 the one that the image uses must be enabled there"
            }
            Self::NoCard { .. } | Self::SameName { .. } => {
                "compare the host's `interfaces` in the datastore with `ip link` on the host"
            }
            Self::Listing => "remove it from the image",
            Self::NotKept { .. } => "is its disk full or mounted read-only?",
            Self::Refused { .. } => "the configuration that was there has been put back",
        };
        Some(hint.to_owned())
    }
}

/// Makes the host's next boot bring up exactly `interfaces`; with `dry_run` only says what would change.
///
/// # Errors
/// Nothing is known about such a system, or it lacks a card: nothing is written then. The host or its own tool
/// refuses: then the files are as before.
pub fn configure(session: &Session, interfaces: &[Interface], dry_run: bool) -> Result<Change, NetworkError> {
    let evidence = Evidence::read(session)?;
    let (family, because) = evidence.family()?;
    let interfaces = evidence.place(interfaces)?;
    let dialect = family.dialect();
    let tree = Tree::read(session, dialect.directories)?;
    let plan = Plan::new(dialect, &interfaces, &tree);
    let mut change = Change {
        family: dialect.name,
        because,
        written: plan.write.iter().map(|file| file.path.clone()).collect(),
        set_aside: plan.set_aside.clone(),
        removed: plan.remove.clone(),
        checked_by: None,
        files: Vec::new(),
    };
    if dry_run {
        change.files = plan.write.into_iter().map(Content::from).collect();
        return Ok(change);
    }
    if !plan.is_empty() {
        plan.carry_out(session)?;
        let now = Tree::read(session, dialect.directories)?;
        let left = Plan::new(dialect, &interfaces, &now);
        if !left.is_empty() {
            let mut paths = left.write.into_iter().map(|file| file.path);
            let what = paths.next().or(left.set_aside.into_iter().next());
            return Err(NetworkError::NotKept {
                what: what.unwrap_or_default(),
            });
        }
    }
    // Asked even when every file is as it should be: an earlier run may have died before it was, or in the middle of
    // putting back what was there.
    match dialect.ask_judge(session, &interfaces)? {
        Verdict::Sound(tool) => change.checked_by = tool,
        Verdict::Refused(refused) => {
            plan.undo(session, &tree)?;
            return Err(refused);
        }
    }
    Ok(change)
}

/// Gives the host its image's own configuration back, for its next boot; with `dry_run` only says what would change.
/// The answer are the files that are ours no longer or in their own place again.
///
/// # Errors
/// As [`configure`].
pub fn restore(session: &Session, dry_run: bool) -> Result<Vec<String>, NetworkError> {
    let (family, _) = Evidence::read(session)?.family()?;
    let directories = family.dialect().directories;
    let plan = Restore::new(&Tree::read(session, directories)?);
    if !dry_run && !plan.is_empty() {
        plan.carry_out(session)?;
        let left = Restore::new(&Tree::read(session, directories)?);
        if let Some(what) = left.remove.into_iter().next() {
            return Err(NetworkError::NotKept { what });
        }
    }
    let put_back = plan.put_back.into_iter().map(|(_, to)| to);
    Ok(put_back.chain(plan.remove).collect())
}

enum Verdict {
    /// By this tool, if there is one.
    Sound(Option<&'static str>),
    Refused(NetworkError),
}

impl Dialect {
    fn ask_judge(&self, session: &Session, interfaces: &[Interface]) -> Result<Verdict, SshError> {
        let Some(Judge { tool, script }) = self.judge else {
            return Ok(Verdict::Sound(None));
        };
        let files = (self.render)(interfaces);
        let mut words = vec!["sh", "-c", script, "sh"];
        words.extend(files.iter().map(|file| file.path.as_str()));
        let judged = session.exec(&words, b"")?;
        match judged.code {
            0 => return Ok(Verdict::Sound(Some(tool))),
            NO_JUDGE => return Ok(Verdict::Sound(None)),
            _ => {}
        }
        let lines = judged.stderr.lines().chain(judged.stdout.lines());
        let lines = || lines.clone().filter(|line| !line.trim().is_empty());
        // It also warns of what it takes.
        let error = lines().find(|line| !line.contains("WARNING")).or(lines().next());
        let said = error.unwrap_or_default().chars().take(200).collect();
        Ok(Verdict::Refused(NetworkError::Refused { tool, said }))
    }
}

#[cfg(test)]
mod situations;
