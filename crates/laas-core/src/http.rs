//! HTTP for every client: timeouts on everything, no redirects, verified TLS, bounded bodies.

use crate::{Classify, Kind};
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any peer of a lab answers; a dashboard's `jobs/done` grows for ever, but slowly.
const BODY_LIMIT: u64 = 32 << 20;
/// Debian's and Red Hat's bundles of certificate authorities.
const SYSTEM_CA: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// How the certificate of one peer is verified.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Tls {
    /// A PEM file of certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Accept any certificate of this one peer.
    pub insecure: bool,
}

impl Tls {
    /// The PEM file of the authorities to trust; `None` if the certificate is not verified or the system has none.
    pub fn authorities(&self) -> Option<PathBuf> {
        if self.insecure {
            return None;
        }
        let system = || SYSTEM_CA.iter().map(PathBuf::from).find(|p| p.exists());
        self.ca.clone().or_else(system)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("`{url}` is not an http or https address")]
    Address { url: String },
    #[error("can't read the certificate authorities in `{path}`")]
    Ca {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("can't set up HTTP for `{url}`")]
    Setup { url: String, source: reqwest::Error },
    #[error("can't reach `{url}`")]
    Connect { url: String, source: reqwest::Error },
    #[error("`{url}` did not answer within {} s", timeout.as_secs_f32())]
    Timeout { url: String, timeout: Duration },
    #[error("the answer of `{url}` is larger than {} MiB", BODY_LIMIT >> 20)]
    TooLarge { url: String },
    #[error("the answer of `{url}` broke off")]
    Cut {
        url: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Neither the body nor the parser's words about it are quoted: many answers hold passwords and keys.
    #[error(
        "`{url}` answered HTTP {status} with {bytes} bytes of {content_type} instead of JSON of the expected shape"
    )]
    NotJson {
        url: String,
        status: u16,
        content_type: String,
        bytes: usize,
    },
}

impl Classify for HttpError {
    fn kind(&self) -> Kind {
        match self {
            Self::Address { .. } | Self::Ca { .. } | Self::Setup { .. } => Kind::Input,
            // A page of a proxy or a half answer says nothing about what the peer did: look again.
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. }
            | Self::Cut { .. }
            | Self::NotJson { .. } => Kind::Unreachable,
        }
    }
}

/// A peer that speaks HTTP below one address.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    base: Url,
    timeout: Duration,
}

/// A whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub url: String,
    pub status: u16,
    pub content_type: String,
    /// Where a redirection points to; it is never followed here.
    pub location: Option<String>,
    /// What the peer's clock says, as it says it (`Date`, RFC 9110 §6.6.1).
    pub date: Option<String>,
    pub body: String,
}

impl Http {
    /// `base` is the address that paths are appended to; `timeout` is for one exchange from connect to last byte.
    ///
    /// # Errors
    /// The address is no http(s) URL or the certificate authorities can't be read. Nothing is sent.
    pub fn new(base: &str, tls: &Tls, timeout: Duration) -> Result<Self, HttpError> {
        let mut url = Url::parse(base)
            .ok()
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
            .ok_or_else(|| HttpError::Address { url: base.to_owned() })?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("laas/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "https" {
            builder = builder.danger_accept_invalid_certs(tls.insecure);
            for certificate in authorities(tls)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|source| HttpError::Setup {
            url: base.to_owned(),
            source,
        })?;
        Ok(Self {
            client,
            base: url,
            timeout,
        })
    }

    /// The same peer below the path made of `segments`, each percent-encoded.
    #[must_use]
    pub fn below(mut self, segments: &[&str]) -> Self {
        if let Ok(mut path) = self.base.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self
    }

    /// A request for the path made of `segments`, each percent-encoded, below the base address.
    pub fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.client.request(method, url)
    }

    pub fn get(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::GET, segments)
    }

    pub fn post(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::POST, segments)
    }

    pub fn put(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::PUT, segments)
    }

    pub fn delete(&self, segments: &[&str]) -> RequestBuilder {
        self.request(Method::DELETE, segments)
    }

    /// Sends and reads the whole answer. Any HTTP status is an answer.
    ///
    /// # Errors
    /// The peer can't be reached, is too slow, or breaks off.
    pub fn send(&self, request: RequestBuilder) -> Result<Answer, HttpError> {
        let base = self.base.to_string();
        let failed = |url: Option<String>, source: reqwest::Error| {
            let url = url.unwrap_or_else(|| base.clone());
            if source.is_timeout() && !source.is_connect() {
                HttpError::Timeout {
                    url,
                    timeout: self.timeout,
                }
            } else if source.is_builder() {
                HttpError::Setup {
                    url,
                    source: source.without_url(),
                }
            } else {
                HttpError::Connect {
                    url,
                    source: source.without_url(),
                }
            }
        };
        // Said of the client it would be a limit of each read, which a peer that trickles never meets.
        let response = request
            .timeout(self.timeout)
            .send()
            .map_err(|e| failed(e.url().map(Url::to_string), e))?;
        let url = response.url().to_string();
        let status = response.status().as_u16();
        let header = response.headers().get(reqwest::header::CONTENT_TYPE);
        let content_type = header
            .and_then(|v| v.to_str().ok())
            .unwrap_or("no content type")
            .to_owned();
        let text = |name| {
            let value: Option<&reqwest::header::HeaderValue> = response.headers().get(name);
            value.and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        let location = text(reqwest::header::LOCATION);
        let date = text(reqwest::header::DATE);
        let mut bytes = Vec::new();
        let read = response.take(BODY_LIMIT + 1).read_to_end(&mut bytes);
        if let Err(source) = read {
            return Err(match late(&source) {
                true => HttpError::Timeout {
                    url,
                    timeout: self.timeout,
                },
                false => HttpError::Cut {
                    url,
                    source: source.into(),
                },
            });
        }
        if bytes.len() as u64 > BODY_LIMIT {
            return Err(HttpError::TooLarge { url });
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        tracing::debug!(url, status, bytes = bytes.len(), "answer");
        Ok(Answer {
            url,
            status,
            content_type,
            location,
            date,
            body,
        })
    }
}

impl Answer {
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// # Errors
    /// The body is not JSON of the shape of `T`; the error does not quote it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_str(&self.body).map_err(|_| HttpError::NotJson {
            url: self.url.clone(),
            status: self.status,
            content_type: self.content_type.clone(),
            bytes: self.body.len(),
        })
    }

    /// The first words of the body on one line, for messages. Don't use it on bodies that hold secrets.
    pub fn start(&self) -> String {
        let words: Vec<_> = self.body.split_whitespace().take(40).collect();
        words.join(" ").chars().take(160).collect()
    }
}

/// Whether the body could not be read because the time was over.
fn late(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<reqwest::Error>());
    error.kind() == std::io::ErrorKind::TimedOut || inner.is_some_and(reqwest::Error::is_timeout)
}

fn authorities(tls: &Tls) -> Result<Vec<reqwest::Certificate>, HttpError> {
    let Some(path) = tls.authorities() else {
        return Ok(Vec::new());
    };
    let read = || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        Ok(reqwest::Certificate::from_pem_bundle(&std::fs::read(&path)?)?)
    };
    read().map_err(|source| HttpError::Ca { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that takes one connection, reads what comes, begins an answer and goes on with `piece` for ever.
    fn endless(piece: &'static [u8], pause: Duration) -> Http {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n");
            while stream.write_all(piece).is_ok() {
                std::thread::sleep(pause);
            }
        });
        Http::new(
            &format!("http://{address}"),
            &Tls::default(),
            Duration::from_secs(2),
        )
        .unwrap()
    }

    #[test]
    fn a_peer_that_trickles_is_too_slow() {
        let http = endless(b" ", Duration::from_millis(100));
        let error = http.send(http.get(&["x"])).unwrap_err();
        assert!(matches!(error, HttpError::Timeout { .. }), "{error:?}");
    }

    #[test]
    fn an_endless_answer_is_refused() {
        let piece = vec![b' '; 1 << 20].leak();
        let mut http = endless(piece, Duration::ZERO);
        http.timeout = Duration::from_secs(120);
        let error = http.send(http.get(&["x"])).unwrap_err();
        assert!(matches!(error, HttpError::TooLarge { .. }), "{error:?}");
    }

    #[test]
    fn an_answer_of_another_shape_is_not_quoted() {
        for body in [
            r#"{"name": "vpn_kati4", "value": "hunter2""#,
            r#"{"name": "hunter2"}"#,
            r#""hunter2""#,
            "hunter2",
        ] {
            let answer = Answer {
                url: "http://engine/v1/keys/vpn_kati4".to_owned(),
                status: 200,
                content_type: "text/html".to_owned(),
                location: None,
                date: None,
                body: body.to_owned(),
            };
            let error = answer.json::<Vec<u8>>().unwrap_err();
            let said = format!("{} {error:?}", crate::failure::chain(&error));
            assert!(said.contains("keys/vpn_kati4") && said.contains("200"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
