use crate::slapd::{ADMIN, PASSWORD, Slapd, free_port};
use laas_core::http::Tls;
use laas_core::names::AccountName;
use laas_core::{Classify, Failure, Kind, Secret, config};
use laas_vpn::{Added, Directory, Mark, VpnError, Whose};
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

const ALICE: Mark = Mark { job: 1, user: 3 };

fn config(server: String, tls: Tls) -> config::Vpn {
    config::Vpn {
        server,
        authentication: config::VpnAuthentication {
            user: ADMIN.to_owned(),
            pass: Secret::new(PASSWORD),
        },
        directory: config::VpnDirectory {
            root: "o=opnfv,dc=example,dc=org".to_owned(),
            user: "ou=People".to_owned(),
        },
        user: config::VpnUser {
            objects: vec!["top".to_owned(), "inetOrgPerson".to_owned()],
        },
        tls,
    }
}

fn trusting(slapd: &Slapd) -> Tls {
    Tls {
        ca: Some(slapd.ca()),
        insecure: false,
    }
}

fn directory(config: &config::Vpn) -> Directory {
    Directory::new(config, Duration::from_secs(20)).unwrap()
}

fn uid(name: &str) -> AccountName {
    name.parse().unwrap()
}

fn fails(config: &config::Vpn) -> Failure {
    directory(config).connect().unwrap_err().into()
}

#[test]
fn a_user_is_added_once_and_let_in_by_its_password_only() {
    let slapd = Slapd::start();
    for (server, name) in [(slapd.ldap(), "ada-berg"), (slapd.ldaps(), "ada-berg2")] {
        let directory = directory(&config(server, trusting(&slapd)));
        let user = uid(name);
        let mut session = directory.connect().unwrap();
        assert_eq!(session.look(&user).unwrap(), None);
        assert_eq!(session.add(&user, "laas job 1 user 3").unwrap(), Added::New);
        assert_eq!(session.add(&user, "laas job 2 user 3").unwrap(), Added::Exists);
        assert_eq!(session.look(&user).unwrap(), Some(Whose::Ours(ALICE)));

        let password = Secret::random(16).unwrap();
        assert!(!directory.lets_in(&user, &password).unwrap());
        session.set_password(&user, &password).unwrap();
        assert!(directory.lets_in(&user, &password).unwrap());
        assert!(!directory.lets_in(&user, &Secret::new("another")).unwrap());
        assert!(!directory.lets_in(&uid("nobody"), &password).unwrap());

        let entry = slapd.entry(name);
        for line in [
            "objectClass: top",
            "objectClass: inetOrgPerson",
            "cn: Ada Berg",
            "sn: Berg",
            "description: laas job 1 user 3",
        ] {
            assert!(entry.lines().any(|l| l == line), "{line}: {entry}");
        }
        assert!(!entry.contains(password.expose()), "the server keeps a hash");
    }
}

#[test]
fn only_what_is_marked_as_the_users_is_found_and_deleted() {
    let slapd = Slapd::start();
    let directory = directory(&config(slapd.ldap(), trusting(&slapd)));
    let mut session = directory.connect().unwrap();
    let bob = Mark { job: 1, user: 4 };
    for (name, description) in [
        ("ada-berg", ALICE.to_string()),
        ("bruno-falk", bob.to_string()),
        ("clara-dahl", "the head of the lab".to_owned()),
        ("dora-adler", "laas job 1 user 3, retired".to_owned()),
        ("egon-roth", "(laas job 1 user *)".to_owned()),
    ] {
        session.add(&uid(name), &description).unwrap();
    }
    let found = session.marked(None).unwrap();
    assert_eq!(found, [(uid("ada-berg"), ALICE), (uid("bruno-falk"), bob)]);
    assert_eq!(session.marked(Some(ALICE)).unwrap(), [(uid("ada-berg"), ALICE)]);
    assert_eq!(session.marked(Some(Mark { job: 2, user: 3 })).unwrap(), []);

    for name in ["bruno-falk", "clara-dahl", "dora-adler", "egon-roth"] {
        let refused = session.delete(&uid(name), ALICE).unwrap_err();
        assert!(matches!(refused, VpnError::Foreign { .. }), "{refused}");
        assert!(slapd.entry(name).contains("description: "));
    }
    assert!(session.delete(&uid("ada-berg"), ALICE).unwrap());
    assert!(!session.delete(&uid("ada-berg"), ALICE).unwrap());
    assert_eq!(slapd.entry("ada-berg"), "");
}

#[test]
fn an_empty_password_is_never_sent() {
    let slapd = Slapd::start();
    let mut config = config(slapd.ldap(), trusting(&slapd));
    let directory = directory(&config);
    let user = uid("ada-berg");
    let mut session = directory.connect().unwrap();
    session.add(&user, "x").unwrap();
    for result in [
        directory.lets_in(&user, &Secret::default()).map(drop),
        session.set_password(&user, &Secret::default()),
    ] {
        assert!(matches!(result, Err(VpnError::EmptyPassword { .. })));
    }
    config.authentication.pass = Secret::default();
    assert_eq!(fails(&config).kind, Kind::Input);
}

#[test]
fn the_certificate_is_verified_unless_the_configuration_says_otherwise() {
    let (slapd, other) = (Slapd::start(), Slapd::start());
    for server in [slapd.ldap(), slapd.ldaps()] {
        let elsewhere = server.replace("127.0.0.1", "127.0.0.2");
        for (server, tls) in [
            (&server, Tls::default()),
            (&server, trusting(&other)),
            (&elsewhere, trusting(&slapd)),
        ] {
            let failure = fails(&config(server.clone(), tls));
            assert_eq!(failure.kind, Kind::Refused, "{failure}");
            assert!(failure.to_string().contains("vpn.tls.ca"), "{failure}");
            assert!(failure.error.contains("certificate"), "{failure}");
        }
        let insecure = Tls {
            ca: None,
            insecure: true,
        };
        directory(&config(server, insecure)).connect().unwrap();
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let slapd = Slapd::start();
    let good = config(slapd.ldap(), trusting(&slapd));

    let mut wrong = good.clone();
    wrong.authentication.pass = Secret::new("hunter2");
    let failure = fails(&wrong);
    assert_eq!(failure.kind, Kind::Refused);
    assert!(failure.to_string().contains("vpn.authentication"), "{failure}");
    assert!(!failure.to_string().contains("hunter2"), "{failure}");

    type Change = fn(&mut config::Vpn);
    let cases: [(Change, &str, &str); 4] = [
        (
            |c| c.user.objects = vec!["top".into()],
            "result code 65",
            "vpn.user.objects",
        ),
        (
            |c| c.user.objects = vec!["noSuchClass".into()],
            "result code 21",
            "vpn.user.objects",
        ),
        (
            |c| c.directory.user = "ou=Nowhere".into(),
            "result code 32",
            "vpn.directory",
        ),
        (|c| c.directory.root = "o=a+b=,,".into(), "result code 34", ""),
    ];
    for (change, error, hint) in cases {
        let mut config = good.clone();
        change(&mut config);
        let directory = directory(&config);
        let failure = Failure::from(
            directory
                .connect()
                .unwrap()
                .add(&uid("ada-berg"), "x")
                .unwrap_err(),
        );
        assert_eq!(failure.kind, Kind::Refused, "{failure}");
        assert!(failure.error.contains(error), "{failure}");
        assert!(
            failure.hint.unwrap_or_default().contains(hint),
            "{}",
            failure.error
        );
    }

    // A user may read, and not write.
    let directory_ = directory(&good);
    let mut session = directory_.connect().unwrap();
    session.add(&uid("plain-user"), "x").unwrap();
    session
        .set_password(&uid("plain-user"), &Secret::new("pw"))
        .unwrap();
    let mut plain = good.clone();
    plain.authentication.user = "uid=plain-user,ou=People,o=opnfv,dc=example,dc=org".into();
    plain.authentication.pass = Secret::new("pw");
    let directory = directory(&plain);
    let error = directory
        .connect()
        .unwrap()
        .add(&uid("ada-berg"), "x")
        .unwrap_err();
    assert!(matches!(error, VpnError::Refused { code: 50, .. }), "{error}");
    assert!(error.hint().unwrap().contains("right to write"));
}

#[test]
fn no_password_travels_without_tls() {
    let slapd = Slapd::without_tls();
    let failure = fails(&config(slapd.ldap(), Tls::default()));
    assert_eq!(failure.kind, Kind::Refused);
    assert!(
        failure.to_string().contains("StartTLS") && failure.to_string().contains("ldaps://"),
        "{failure}"
    );
}

#[test]
fn servers_that_are_none() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let (hang, html) = (address(&hanging), address(&web));
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let page = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<html>";
            // The client goes away as soon as it knows enough.
            let _ = stream.unwrap().write_all(page);
        }
    });
    for (server, kind, words) in [
        (
            format!("ldap://127.0.0.1:{}", free_port()),
            Kind::Unreachable,
            "can't reach",
        ),
        (
            format!("ldaps://127.0.0.1:{}", free_port()),
            Kind::Unreachable,
            "can't reach",
        ),
        (format!("ldap://{hang}"), Kind::Unreachable, "did not answer"),
        (format!("ldaps://{hang}"), Kind::Unreachable, "did not answer"),
        (format!("ldap://{html}"), Kind::Refused, "not an LDAP server"),
        (format!("ldaps://{html}"), Kind::Refused, "TLS"),
        (
            "no-such-host.invalid".to_owned(),
            Kind::Unreachable,
            "can't reach",
        ),
    ] {
        let config = config(
            server.clone(),
            Tls {
                ca: None,
                insecure: true,
            },
        );
        let directory = Directory::new(&config, Duration::from_millis(300)).unwrap();
        let failure = Failure::from(directory.connect().unwrap_err());
        assert_eq!(failure.kind, kind, "{server}: {failure}");
        assert!(failure.to_string().contains(words), "{server}: {failure}");
    }
}

#[test]
fn a_bad_configuration_is_told_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let missing = dir.path().join("missing.pem");
    for (server, ca) in [
        ("https://x", None),
        ("ldap://x", Some(missing)),
        ("ldap://x", Some(empty)),
    ] {
        let config = config(server.to_owned(), Tls { ca, insecure: false });
        let error = Directory::new(&config, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{error}");
    }
}

#[test]
fn a_server_that_is_not_the_right_one_says_whom_to_ask() {
    let (slapd, replica) = (Slapd::start(), Slapd::read_only());
    slapd.refer();
    let mut elsewhere = config(slapd.ldap(), trusting(&slapd));
    elsewhere.directory.root = "dc=elsewhere".to_owned();
    type Ask = fn(&mut laas_vpn::Session) -> Result<(), VpnError>;
    let cases: [(_, Ask, &str, &str); 3] = [
        (
            config(slapd.ldap(), trusting(&slapd)),
            |s| s.marked(None).map(drop),
            "refers to another server",
            "ask the directory's operator which server",
        ),
        (
            config(replica.ldap(), trusting(&replica)),
            |s| s.add(&uid("ada-berg"), "x").map(drop),
            "unwilling",
            "takes writes",
        ),
        (
            elsewhere,
            |s| s.marked(Some(ALICE)).map(drop),
            "has no `ou=People,dc=elsewhere`",
            "`vpn.directory`",
        ),
    ];
    for (config, ask, error, hint) in cases {
        let directory = directory(&config);
        let failure = Failure::from(ask(&mut directory.connect().unwrap()).unwrap_err());
        assert_eq!(failure.kind, Kind::Refused, "{failure}");
        assert!(failure.error.contains(error), "{failure}");
        assert!(
            failure.hint.as_deref().unwrap_or_default().contains(hint),
            "{failure}"
        );
    }
}

#[test]
fn a_server_that_trickles_is_too_slow() {
    // An answer to StartTLS, and a record of TLS, that are announced long and come byte by byte.
    for (scheme, begin) in [
        ("ldap", &b"\x30\x84\x00\x00\x0f\x00"[..]),
        ("ldaps", b"\x16\x03\x03\x40\x00"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut piece = begin;
            while stream.write_all(piece).is_ok() {
                piece = b"0";
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let config = config(format!("{scheme}://{address}"), Tls::default());
        let directory = Directory::new(&config, Duration::from_secs(2)).unwrap();
        let begun = std::time::Instant::now();
        let error = directory.connect().unwrap_err();
        assert!(matches!(error, VpnError::Timeout { .. }), "{scheme}: {error}");
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{scheme}: {:?}",
            begun.elapsed()
        );
    }
}
