//! A server that says what it is told to, one answer per connection, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// What happens after a request was read.
#[derive(Clone)]
pub enum Then {
    /// The bytes are sent and the connection is closed.
    Say(String),
    /// Nothing is ever said.
    Hang,
}

pub struct Canned {
    pub address: String,
    requests: Receiver<String>,
}

impl Canned {
    /// Gives the answers in turn, the last one for ever.
    pub fn start(answers: Vec<Then>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/fog", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            let mut answers = answers.into_iter().peekable();
            let mut last = None;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read_request(&stream);
                if sender.send(request).is_err() {
                    return;
                }
                last = answers.next().or(last);
                match last.as_ref().unwrap() {
                    Then::Say(bytes) => stream.write_all(bytes.as_bytes()).unwrap(),
                    Then::Hang => open.push(stream),
                }
            }
        });
        Self { address, requests }
    }

    /// The requests so far, each as `METHOD path body`, and all headers seen.
    pub fn asked(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

/// An answer as FOG gives it.
pub fn answer(status: u16, body: &str) -> Then {
    typed(status, "application/json", body)
}

pub fn typed(status: u16, content_type: &str, body: &str) -> Then {
    let length = body.len();
    Then::Say(format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nlocation: /fog/management/index.php\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut length, mut keys) = (0, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        keys += usize::from(line == "fog-api-token: ywjj" || line == "fog-user-token: zgvm");
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = first.trim().trim_end_matches(" HTTP/1.1");
    assert_eq!(keys, 2, "both keys go with every call");
    format!("{path} {}", String::from_utf8(body).unwrap())
        .trim()
        .to_owned()
}
