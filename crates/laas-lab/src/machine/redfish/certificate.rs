//! The BMC's certificate, which it signs itself as every BMC does.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Makes a certificate for the address, and what answers with it.
///
/// # Errors
/// What `openssl` and the file system say.
pub async fn make(certificate: &Path, address: Ipv4Addr) -> io::Result<TlsAcceptor> {
    let key = certificate.with_extension("key");
    let output = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365".split(' '))
        .args([
            "-subj",
            "/CN=bmc",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-addext", &format!("subjectAltName=IP:{address}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(certificate)
        .output()
        .await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("`openssl`: {}", said.trim())));
    }
    let chain = CertificateDer::pem_file_iter(certificate).map_err(io::Error::other)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    Ok(TlsAcceptor::from(Arc::new(config.map_err(io::Error::other)?)))
}
