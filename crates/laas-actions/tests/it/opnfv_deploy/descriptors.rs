//! The descriptor files that the real dashboard answered with, on their way to an installer.

use super::DIRECTORY;
use crate::hosts::Stand;
use crate::pack::wait_for;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

/// What the real dashboard answered.
fn captured(name: &str) -> String {
    let captures = include_str!("../../../../laas-lab/tests/captures/dashboard-2019/main.jsonl");
    let mut captures = captures.lines().map(|line| serde_json::from_str(line).unwrap());
    let capture: Value = captures.find(|capture: &Value| capture["name"] == name).unwrap();
    capture["response"]["text"].as_str().unwrap().to_owned()
}

/// A dashboard that has these files and nothing else.
fn dashboard(pdf: String, idf: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let request: Vec<_> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let body = if request[0].contains("/idf ") { &idf } else { &pdf };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn an_installer_finds_what_the_real_dashboard_has() {
    let mut stand = Stand::ubuntu();
    let file = |name: &str| format!("{DIRECTORY}/config/labs/laas/{name}");
    let paths = [
        "--pdf=/api/labs/UNH_IOL/booking/1/pdf",
        "--idf=/api/labs/UNH_IOL/booking/1/idf",
    ];
    let metal = [
        "--host=pod1",
        "--installer=fuel",
        "--scenario=os-nosdn-nofeature-ha",
        "--baremetal",
        paths[0],
        paths[1],
    ];
    let virtually = [
        "--host=pod1",
        "--installer=fuel",
        "--scenario=os-nosdn-nofeature-noha",
        paths[0],
        paths[1],
    ];

    // Before it is told a BMC account the dashboard has no IDF.
    let [pdf, idf] = ["047-pdf", "048-idf-before-bmc"].map(captured);
    stand.pack.config["dashboard"]["address"] = dashboard(pdf.clone(), idf).into();
    let refused = stand.deploy(&metal).failed(1);
    assert!(
        refused["error"].as_str().unwrap().contains("the IDF is empty"),
        "{refused}"
    );
    assert!(!stand.inside(DIRECTORY).exists());
    let look = |stand: &Stand, args: &[&str]| {
        stand.behave("slow");
        let earlier = stand.calls().len();
        let running = stand.start_deploy(args);
        wait_for("the installer", || (stand.calls().len() > earlier).then_some(()));
        let files = ["pod1.yaml", "idf-pod1.yaml"].map(|name| stand.read(&file(name)));
        stand.go_on();
        (files, running.end().done())
    };
    let ([given, no_idf], done) = look(&stand, &virtually);
    assert_eq!((given, no_idf.as_str()), (pdf, ""));
    assert!(
        done["faults"]
            .to_string()
            .contains("does not know `jumphost.remote_management.pass` yet"),
        "{done}"
    );

    let [pdf, idf] = ["059-pdf-after-bmc", "060-idf-after-bmc"].map(captured);
    assert!(pdf.contains("- &quot;2.0&quot;"), "it is escaped");
    stand.pack.config["dashboard"]["address"] = dashboard(pdf.clone(), idf.clone()).into();
    let (files, done) = look(&stand, &metal);
    assert_eq!(files, [pdf.replace("&quot;", "\""), idf]);
    assert!(
        done["faults"]
            .to_string()
            .contains("`idf.net_config.public.mask` twice"),
        "{done}"
    );
    wait_for("the end of the files", || {
        let left = ["pod1.yaml", "idf-pod1.yaml"].map(|name| stand.inside(&file(name)).exists());
        (left == [false, false]).then_some(())
    });
    // The installer was told where they are.
    assert!(
        stand
            .calls()
            .last()
            .unwrap()
            .contains(&format!("-b file://{DIRECTORY}/config -l laas -p pod1"))
    );
}
