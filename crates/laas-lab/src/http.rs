//! Serving HTTP with faults in front of the routes.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Frame, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Interval, interval};
use tokio_rustls::TlsAcceptor;

use crate::faults::{Faults, Kind, Peer};

/// The largest answer that is cut in the middle.
const MAX_BODY: usize = 64 << 20;

/// Between two bytes of a trickle.
const TRICKLE: Duration = Duration::from_millis(100);

/// Headers that hold credentials, one of each peer. FOG's global token stays:
/// a user's token that was revoked is the likelier mishap.
const CREDENTIALS: [&str; 3] = ["auth-token", "authorization", "fog-user-token"];

/// Told to the routes in the request's extensions: say yes and do nothing.
#[derive(Debug, Clone, Copy)]
pub struct Lie;

/// A server that stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `ip`, on a free port.
    ///
    /// # Errors
    /// What binding the address says.
    pub async fn start(ip: Ipv4Addr, peer: Peer, router: Router, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, None, peer, router, faults));
        Ok(Self { address, task })
    }

    /// Listens at `address` and speaks HTTP over TLS.
    ///
    /// # Errors
    /// What binding the address says.
    pub async fn start_tls(
        address: SocketAddr,
        peer: Peer,
        router: Router,
        faults: Faults,
        tls: TlsAcceptor,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let task = tokio::spawn(accept(listener, Some(tls), peer, router, faults));
        Ok(Self { address, task })
    }

    /// The address with the port that was free.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, peer: Peer, router: Router, faults: Faults) {
    // Dropped with this future, so that no connection outlives its server.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        // A fault that still skips requests is counted where the requests are.
        if faults.in_force(&peer) == Some(Kind::Refuse) {
            faults.take(&peer);
            reset(stream);
            continue;
        }
        let (peer, router, faults) = (peer.clone(), router.clone(), faults.clone());
        let tls = tls.clone();
        connections.spawn(async move {
            match tls {
                None => serve(stream, peer, router, faults).await,
                Some(tls) => {
                    // A client that does not trust the certificate goes away.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, peer, router, faults).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, router: Router, faults: Faults) {
    let service = service_fn(|request| answer(request, peer.clone(), router.clone(), faults.clone()));
    // An error is the client's going away, or a refusal.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Closes a connection so that the client sees a reset, not an end.
pub fn reset(stream: TcpStream) {
    // Without it the client sees an orderly end, which is also a failure.
    let _ = stream.set_zero_linger();
}

/// The routes' answer, or what the fault makes of it. An error closes the
/// connection without an answer.
async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    router: Router,
    faults: Faults,
) -> io::Result<Response<Body>> {
    let fault = faults.take_if(&peer, |kind| kind != Kind::LieDone);
    let mut request = request.map(Body::new);
    match fault {
        Some(Kind::Refuse) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Kind::Hang) => std::future::pending().await,
        Some(Kind::Http500) => {
            return Ok(page(
                StatusCode::INTERNAL_SERVER_ERROR,
                "<h1>Server Error (500)</h1>",
            ));
        }
        Some(Kind::Http403) => return Ok(page(StatusCode::FORBIDDEN, "<h1>403 Forbidden</h1>")),
        Some(Kind::Http502) => {
            return Ok(page(StatusCode::BAD_GATEWAY, "<h1>502 Bad Gateway</h1>"));
        }
        Some(Kind::Html) => {
            return Ok(page(
                StatusCode::OK,
                "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>",
            ));
        }
        Some(Kind::WrongCredentials) => {
            for name in CREDENTIALS {
                request.headers_mut().remove(name);
            }
        }
        // The dashboard takes a JSON body, answers 200 and changes nothing.
        Some(Kind::Lie) if peer == Peer::Dashboard => {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        Some(Kind::Lie) => {
            request.extensions_mut().insert(Lie);
        }
        Some(Kind::CutJson | Kind::Trickle | Kind::LieDone) | None => {}
    }
    let result: Result<_, Infallible> = TowerToHyperService::new(router).call(request).await;
    let Ok(response) = result;
    if fault == Some(Kind::Trickle) {
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        return Ok(Response::from_parts(parts, Body::new(Trickle(interval(TRICKLE)))));
    }
    if fault != Some(Kind::CutJson) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, MAX_BODY).await.map_err(io::Error::other)?;
    parts.headers.remove(header::CONTENT_LENGTH);
    let half = whole.slice(..whole.len() / 2);
    Ok(Response::from_parts(parts, half.into()))
}

/// A body of blanks, which JSON may begin with, that never ends.
struct Trickle(Interval);

impl hyper::body::Body for Trickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let blank = |_| Some(Ok(Frame::data(Bytes::from_static(b" "))));
        self.0.poll_tick(context).map(blank)
    }
}

fn page(status: StatusCode, html: &'static str) -> Response<Body> {
    let mut response = Response::new(html.into());
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}
