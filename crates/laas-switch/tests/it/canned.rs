//! A switch that says what it is told to, one answer per connection, and keeps what it was asked.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

pub struct Canned {
    pub url: String,
    requests: Receiver<Value>,
}

impl Canned {
    /// Gives the answers in turn, the last one for ever. An answer of status 0 is a connection that closes.
    pub fn start(answers: &[(u16, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        let answers = answers.to_vec();
        std::thread::spawn(move || {
            let last = answers.last().cloned().unwrap();
            for (stream, (status, body)) in listener
                .incoming()
                .zip(answers.into_iter().chain(std::iter::repeat(last)))
            {
                let mut stream = stream.unwrap();
                let request = read_request(&stream);
                if sender.send(request).is_err() {
                    return;
                }
                if status != 0 {
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                    );
                    stream.write_all((head + &body).as_bytes()).unwrap();
                }
            }
        });
        Self { url, requests }
    }

    /// The requests so far; of NX-API's what is within `ins_api`.
    pub fn asked(&self) -> Vec<Value> {
        self.requests.try_iter().collect()
    }
}

/// An answer with these outputs; one is an object, several are a list.
pub fn outputs(status: u16, outputs: impl Into<Vec<Value>>) -> (u16, String) {
    let output = match outputs.into().as_slice() {
        [one] => one.clone(),
        several => several.into(),
    };
    (
        status,
        json!({"ins_api": {"sid": "eoc", "outputs": {"output": output}}}).to_string(),
    )
}

pub fn success(body: impl Into<Value>) -> Value {
    json!({"input": "", "msg": "Success", "code": "200", "body": body.into()})
}

pub fn error(code: &str, message: &str, clierror: &str) -> Value {
    json!({"input": "", "msg": message, "code": code, "clierror": clierror})
}

fn read_request(stream: &TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    let head = head.to_ascii_lowercase();
    let path = ["post /ins http/1.1", "post /command-api http/1.1"];
    assert!(path.iter().any(|path| head.starts_with(path)), "{head}");
    assert!(head.contains("\nauthorization: basic "), "{head}");
    let length = head
        .split("content-length: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let text = String::from_utf8(body).unwrap();
    let mut request = serde_json::from_str::<Value>(&text).unwrap();
    if head.starts_with(path[1]) {
        return request;
    }
    assert!(text.find("\"type\"") < text.find("\"input\""), "{text}");
    request["ins_api"].take()
}
