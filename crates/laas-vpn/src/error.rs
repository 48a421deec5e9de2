//! How a directory fails, and what to do about it.

use laas_core::{Classify, Kind};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum VpnError {
    #[error("`{server}` is not the address of an LDAP server")]
    Address { server: String },
    #[error("can't read the certificate authorities in `{path}`")]
    Ca {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("can't reach the directory at `{server}`")]
    Connect { server: String, source: std::io::Error },
    #[error("the directory at `{server}` did not answer within {} s", timeout.as_secs_f32())]
    Timeout { server: String, timeout: Duration },
    #[error("the directory at `{server}` broke off")]
    Lost {
        server: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("what answers at `{server}` is not an LDAP server")]
    NotLdap { server: String },
    #[error("the directory at `{server}` refuses StartTLS: {}", explain(*code, said))]
    StartTls { server: String, code: u32, said: String },
    #[error("TLS with the directory at `{server}` fails")]
    Tls {
        server: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the password for `{dn}` is empty")]
    EmptyPassword { dn: String },
    #[error("`{dn}` is not marked as this user's, so it is left alone")]
    Foreign { dn: String },
    #[error("the directory has no `{people}`, or does not show it to `{bind_dn}`")]
    NoPeople { people: String, bind_dn: String },
    #[error("the directory has entries below `{people}` and shows none of them to `{bind_dn}`")]
    Hidden { people: String, bind_dn: String },
    #[error(
        "can't tell whether `{dn}` is the pack's: the directory hides its `description` from `{bind_dn}`"
    )]
    Unreadable {
        dn: String,
        people: String,
        bind_dn: String,
    },
    #[error("the directory refuses to {doing} `{dn}`: {}", explain(*code, said))]
    Refused {
        doing: Doing,
        dn: String,
        code: u32,
        said: String,
    },
}

/// What the directory was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    BindAsConfigured,
    BindAsUser,
    Add,
    Search,
    SetPassword,
    Delete,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BindAsConfigured | Self::BindAsUser => "let in",
            Self::Add => "add",
            Self::Search => "show",
            Self::SetPassword => "set the password of",
            Self::Delete => "delete",
        })
    }
}

/// The result codes of RFC 4511, appendix A, that a lab meets.
fn explain(code: u32, said: &str) -> String {
    let meaning = match code {
        2 => "protocol error",
        4 => "it does not show so many entries",
        10 => "it refers to another server, which has these entries",
        8 | 13 => "it wants TLS",
        17 => "no such attribute type",
        19 => "against a rule of the directory",
        21 => "a value is malformed",
        32 => "no such entry",
        34 => "malformed DN",
        49 => "wrong DN or password",
        50 => "no right to do that",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling to perform",
        65 => "the entry does not fit its object classes",
        68 => "the entry exists",
        _ => "",
    };
    let words = [meaning, said.trim()].into_iter().filter(|w| !w.is_empty());
    let words: Vec<_> = words.collect();
    match words[..] {
        [] => format!("result code {code}"),
        _ => format!("{} (result code {code})", words.join(", ")),
    }
}

impl Classify for VpnError {
    fn kind(&self) -> Kind {
        match self {
            Self::Address { .. } | Self::Ca { .. } | Self::EmptyPassword { .. } => Kind::Input,
            Self::Connect { .. } | Self::Timeout { .. } | Self::Lost { .. } => Kind::Unreachable,
            // Busy and unavailable pass.
            Self::StartTls { code: 51 | 52, .. } | Self::Refused { code: 51 | 52, .. } => Kind::Unreachable,
            Self::Foreign { .. }
            | Self::NoPeople { .. }
            | Self::Hidden { .. }
            | Self::Unreadable { .. }
            | Self::NotLdap { .. }
            | Self::StartTls { .. }
            | Self::Tls { .. }
            | Self::Refused { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { .. } | Self::NotLdap { .. } => {
                "`vpn.server` is a host name, or a URL `ldap://…` (StartTLS) or `ldaps://…`"
            }
            Self::StartTls { .. } => "give the server a certificate, or use `ldaps://…` in `vpn.server`",
            Self::Tls { .. } => {
                "name the authority that signed the server's certificate in `vpn.tls.ca`, and the server in \
                 `vpn.server` as in the certificate"
            }
            Self::Foreign { .. } => {
                "look at the entry's `description`; if it is to go, an operator has to delete it"
            }
            Self::NoPeople { people, bind_dn } => {
                return Some(format!(
                    "create the directory of users, correct `vpn.directory`, or give `{bind_dn}` read access to `{people}`"
                ));
            }
            Self::Hidden { people, bind_dn } => {
                return Some(format!(
                    "give `{bind_dn}` read access to the entries below `{people}`, with their `objectClass`, `uid` and \
                     `description`"
                ));
            }
            Self::Unreadable { people, bind_dn, .. } => {
                return Some(format!(
                    "give `{bind_dn}` read access to `description` below `{people}`"
                ));
            }
            Self::EmptyPassword { .. } => "set `vpn.authentication.pass`",
            Self::Refused {
                doing: Doing::BindAsConfigured,
                ..
            } => "compare `vpn.authentication` with the directory's account",
            // A replica that takes no writes says so, a server without this suffix, and some password policies.
            Self::Refused {
                code: 53,
                doing: Doing::SetPassword | Doing::BindAsUser,
                ..
            } => {
                "look at the directory's password policy, and ask its operator whether the server in `vpn.server` takes \
                 writes"
            }
            Self::Refused { code: 10 | 53, .. } => {
                "ask the directory's operator which server holds `vpn.directory` and takes writes, and name that one in \
                 `vpn.server`"
            }
            Self::Refused {
                code: 50,
                doing: Doing::Search,
                ..
            } => "give the DN in `vpn.authentication.user` read access there",
            Self::Refused { code: 50, .. } => {
                "give the DN in `vpn.authentication.user` the right to write there"
            }
            Self::Refused {
                code: 32,
                doing: Doing::Add,
                ..
            } => "create the directory of users, or correct `vpn.directory`",
            Self::Refused {
                code: 17 | 21 | 65, ..
            } => {
                "`vpn.user.objects` must be classes that allow uid, cn, sn and description, like `inetOrgPerson`"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
