//! A server, and a connection to it under TLS.

use crate::VpnError;
use crate::starttls::{self, Answer};
use laas_core::http::Tls;
use ldap3::{LdapConn, LdapConnSettings, LdapError, StdStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// IANA's ports of the two schemes.
const LDAP_PORT: u16 = 389;
const LDAPS_PORT: u16 = 636;

#[derive(Clone, Debug)]
pub struct Server {
    /// `host:port`
    address: String,
    starttls: bool,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Server {
    /// # Errors
    /// The address is none, or the certificate authorities can't be read. Nothing is sent.
    pub fn new(server: &str, tls: &Tls, timeout: Duration) -> Result<Self, VpnError> {
        let (address, starttls) = address(server).ok_or_else(|| VpnError::Address {
            server: server.to_owned(),
        })?;
        Ok(Self {
            address,
            starttls,
            tls: Arc::new(client_config(tls)?),
            timeout,
        })
    }

    /// A connection on which passwords may travel.
    ///
    /// # Errors
    /// The server can't be reached, knows no TLS, or shows a certificate that is not trusted.
    pub fn connect(&self) -> Result<LdapConn, VpnError> {
        let stream = self.reach()?;
        if self.starttls {
            // Not left to ldap3, which panics on an answer that is no LDAP; anybody can give one before TLS stands.
            let ends = Instant::now() + self.timeout;
            match starttls::ask(&mut Within {
                stream: &stream,
                ends,
            })
            .map_err(|e| self.broken(e))?
            {
                Answer::Yes => {}
                Answer::Garbled => {
                    return Err(VpnError::NotLdap {
                        server: self.address.clone(),
                    });
                }
                Answer::No { code, said } => {
                    return Err(VpnError::StartTls {
                        server: self.address.clone(),
                        code,
                        said,
                    });
                }
            }
        }
        let settings = LdapConnSettings::new()
            .set_conn_timeout(self.timeout)
            .set_config(self.tls.clone())
            .set_std_stream(StdStream::Tcp(stream));
        self.answered(LdapConn::with_settings(
            settings,
            &format!("ldaps://{}", self.address),
        ))
    }

    /// Makes our error of what ldap3 says of a connection.
    pub fn answered<T>(&self, result: Result<T, LdapError>) -> Result<T, VpnError> {
        result.map_err(|error| match error {
            LdapError::Timeout { .. } => self.timeout(),
            LdapError::Io { source } => self.broken(source),
            LdapError::UrlParsing { .. } | LdapError::UnknownScheme(_) | LdapError::DNSName { .. } => {
                VpnError::Address {
                    server: self.address.clone(),
                }
            }
            other => VpnError::Lost {
                server: self.address.clone(),
                source: other.into(),
            },
        })
    }

    fn reach(&self) -> Result<TcpStream, VpnError> {
        let unreachable = |source| VpnError::Connect {
            server: self.address.clone(),
            source,
        };
        let mut last = std::io::Error::other("the name has no address");
        for address in self.address.to_socket_addrs().map_err(unreachable)? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    let limit = Some(self.timeout);
                    let limits = [stream.set_read_timeout(limit), stream.set_write_timeout(limit)];
                    limits
                        .into_iter()
                        .collect::<Result<(), _>>()
                        .map_err(unreachable)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }

    fn broken(&self, error: std::io::Error) -> VpnError {
        use std::io::ErrorKind::{TimedOut, WouldBlock};
        let server = self.address.clone();
        match error.get_ref() {
            Some(inner) if inner.is::<rustls::Error>() => VpnError::Tls {
                server,
                source: error.into(),
            },
            _ if matches!(error.kind(), TimedOut | WouldBlock) => self.timeout(),
            _ => VpnError::Lost {
                server,
                source: error.into(),
            },
        }
    }

    pub fn timeout(&self) -> VpnError {
        VpnError::Timeout {
            server: self.address.clone(),
            timeout: self.timeout,
        }
    }
}

/// A stream on which everything, not each byte, has to come in time.
struct Within<'a> {
    stream: &'a TcpStream,
    ends: Instant,
}

impl Read for Within<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

impl Write for Within<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// `host:port`, and whether StartTLS is wanted.
fn address(server: &str) -> Option<(String, bool)> {
    let (host, port, starttls) = match server.trim().split_once("://") {
        Some(("ldap", host)) => (host, LDAP_PORT, true),
        Some(("ldaps", host)) => (host, LDAPS_PORT, false),
        Some(_) => return None,
        None => (server.trim(), LDAP_PORT, true),
    };
    let host = host.trim_end_matches('/');
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (host, port),
    };
    (!host.is_empty() && host.chars().all(name)).then(|| (format!("{host}:{port}"), starttls))
}

fn client_config(tls: &Tls) -> Result<ClientConfig, VpnError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3");
    if tls.insecure {
        let verifier = Arc::new(AnyCertificate(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    if let Some(path) = tls.authorities() {
        let read = |roots: &mut RootCertStore| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            for certificate in CertificateDer::pem_file_iter(&path)? {
                roots.add(certificate?)?;
            }
            if roots.is_empty() {
                return Err("no certificate in it".into());
            }
            Ok(())
        };
        read(&mut roots).map_err(|source| VpnError::Ca {
            path: path.clone(),
            source,
        })?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// For a server whose `tls.insecure` says that nobody cares who it is.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_as_people_write_them() {
        for (text, expected) in [
            ("ldap.example.org", Some(("ldap.example.org:389", true))),
            ("10.0.0.5:3389", Some(("10.0.0.5:3389", true))),
            ("ldap://ldap.example.org/", Some(("ldap.example.org:389", true))),
            ("ldaps://ldap.example.org", Some(("ldap.example.org:636", false))),
            ("ldaps://127.0.0.1:1636", Some(("127.0.0.1:1636", false))),
            ("https://ldap.example.org", None),
            ("ldap://admin:pw@host", None),
            ("ldap://host/ou=x", None),
            ("ldap://host:no", None),
            ("ldap://", None),
            ("", None),
        ] {
            let found = address(text);
            assert_eq!(found.as_ref().map(|(a, s)| (a.as_str(), *s)), expected, "{text}");
        }
    }
}
