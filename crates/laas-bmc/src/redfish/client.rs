//! Requests to a Redfish service, and what its answers mean.

use super::link::Link;
use super::message;
use crate::{BmcError, Login};
use laas_core::http::{Answer, Http, HttpError};
use laas_core::{Secret, inventory};
use reqwest::Method;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::Ipv6Addr;
use std::time::Duration;

/// One BMC's service. Every request carries Basic authentication (DSP0266, "HTTP Basic authentication"): an action
/// is few requests long, and a session that a killed action leaves behind takes one of the BMC's few.
#[derive(Debug)]
pub struct Client {
    http: Http,
    pub address: String,
    pub admin: Login,
}

impl Client {
    /// # Errors
    /// The address is none, or the certificate authorities of `bmc.tls` can't be read. Nothing is sent.
    pub fn new(bmc: &inventory::Bmc, password: Secret, call: Duration) -> Result<Self, BmcError> {
        let host = match bmc.address.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => bmc.address.clone(),
        };
        let base = match bmc.port {
            Some(port) => format!("https://{host}:{port}"),
            None => format!("https://{host}"),
        };
        let http = Http::new(&base, &bmc.tls, call).map_err(|source| BmcError::Http {
            address: bmc.address.clone(),
            source,
        })?;
        Ok(Self {
            http,
            address: bmc.address.clone(),
            admin: Login {
                user: bmc.user.clone(),
                password,
            },
        })
    }

    /// # Errors
    /// The BMC can't be asked, refuses, or answers with something else than such a resource.
    pub fn get<T: DeserializeOwned>(&self, link: &Link, what: &'static str) -> Result<T, BmcError> {
        self.get_as(&self.admin, link, what)
    }

    /// The same, as somebody else.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn get_as<T: DeserializeOwned>(
        &self,
        login: &Login,
        link: &Link,
        what: &'static str,
    ) -> Result<T, BmcError> {
        let answer = self.exchange(login, &Method::GET, link, None, what)?;
        answer.json().map_err(|source| self.unread(source))
    }

    /// # Errors
    /// The BMC can't be asked or refuses.
    pub fn patch(&self, link: &Link, body: &Value, what: &'static str) -> Result<(), BmcError> {
        self.write(&Method::PATCH, link, Some(body), what)
    }

    /// # Errors
    /// The BMC can't be asked or refuses.
    pub fn post(&self, link: &Link, body: &Value, what: &'static str) -> Result<(), BmcError> {
        self.write(&Method::POST, link, Some(body), what)
    }

    /// # Errors
    /// The BMC can't be asked or refuses.
    pub fn delete(&self, link: &Link, what: &'static str) -> Result<(), BmcError> {
        self.write(&Method::DELETE, link, None, what)
    }

    /// A body of text below the host's own root, for what is not Redfish.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses.
    pub fn post_text(&self, path: &str, body: String, what: &'static str) -> Result<Answer, BmcError> {
        let sent = self.http.send(self.http.post(&[path]).body(body));
        self.judged(sent, &self.admin, what)
    }

    fn write(
        &self,
        method: &Method,
        link: &Link,
        body: Option<&Value>,
        what: &'static str,
    ) -> Result<(), BmcError> {
        // iLO 5 answers 308 to a write without the slash, which DSP0266 lets every service take ("Resource URIs").
        let answer = self.exchange(&self.admin, method, &link.with_slash(), body, what)?;
        if answer.body.trim().is_empty() {
            return Ok(());
        }
        // A page of a proxy says nothing about what the BMC did.
        answer
            .json::<Value>()
            .map(drop)
            .map_err(|source| self.unread(source))
    }

    /// Sends to `link`. A redirection is followed once, to the same path with or without its last slash; the
    /// credentials go nowhere else.
    fn exchange(
        &self,
        login: &Login,
        method: &Method,
        link: &Link,
        body: Option<&Value>,
        what: &'static str,
    ) -> Result<Answer, BmcError> {
        let answer = self.send(login, method, link, body)?;
        let Some(target) = redirection(&answer) else {
            return self.judged(Ok(answer), login, what);
        };
        let moved = target.filter(|t| t.names(link) && t != link);
        let elsewhere = || BmcError::Elsewhere {
            address: self.address.clone(),
            what,
            status: answer.status,
        };
        let answer = self.send(login, method, &moved.ok_or_else(elsewhere)?, body)?;
        if redirection(&answer).is_some() {
            return Err(elsewhere());
        }
        self.judged(Ok(answer), login, what)
    }

    fn send(
        &self,
        login: &Login,
        method: &Method,
        link: &Link,
        body: Option<&Value>,
    ) -> Result<Answer, BmcError> {
        let request = self.http.request(method.clone(), &link.segments());
        let request = request
            .basic_auth(&login.user, Some(login.password.expose()))
            .header("OData-Version", "4.0")
            .header("Accept", "application/json");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.http.send(request).map_err(|source| self.unread(source))
    }

    /// The answer, if it is one of success.
    fn judged(
        &self,
        sent: Result<Answer, HttpError>,
        login: &Login,
        what: &'static str,
    ) -> Result<Answer, BmcError> {
        let answer = sent.map_err(|source| self.unread(source))?;
        match answer.status {
            200..=299 => Ok(answer),
            401 => Err(BmcError::Login {
                address: self.address.clone(),
                user: login.user.clone(),
            }),
            status => Err(BmcError::Rejected {
                address: self.address.clone(),
                what,
                status,
                messages: message::ids(&answer.body),
            }),
        }
    }

    fn unread(&self, source: HttpError) -> BmcError {
        BmcError::Http {
            address: self.address.clone(),
            source,
        }
    }
}

/// Where a redirection points to on this BMC: `None` if the answer is no redirection, `Some(None)` if it points to
/// somewhere else.
fn redirection(answer: &Answer) -> Option<Option<Link>> {
    if !(300..400).contains(&answer.status) {
        return None;
    }
    let own = Url::parse(&answer.url).ok();
    let target = answer
        .location
        .as_deref()
        .and_then(|l| own.as_ref()?.join(l).ok());
    let same_place = |target: &Url| own.as_ref().is_some_and(|own| own.origin() == target.origin());
    let target = target.filter(|t| same_place(t) && t.query().is_none());
    Some(target.and_then(|t| Link::parse(t.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_leads_to_no_other_place() {
        let own = "https://10.2.0.1/redfish/v1/Systems/1";
        let asked = Link::parse("/redfish/v1/Systems/1").unwrap();
        for (status, location, expected) in [
            (200, Some("/redfish/v1/Systems/1/"), None),
            (308, Some("/redfish/v1/Systems/1/"), Some(true)),
            (308, Some("https://10.2.0.1/redfish/v1/Systems/1/"), Some(true)),
            (308, Some("https://10.2.0.9/redfish/v1/Systems/1/"), Some(false)),
            (308, Some("http://10.2.0.1/redfish/v1/Systems/1/"), Some(false)),
            (302, Some("//evil/redfish/v1/Systems/1/"), Some(false)),
            (302, Some("/login.html"), Some(false)),
            (302, Some("/redfish/v1/Systems/1/?next=x"), Some(false)),
            (302, None, Some(false)),
        ] {
            let answer = Answer {
                date: None,
                url: own.to_owned(),
                status,
                content_type: String::new(),
                location: location.map(str::to_owned),
                body: String::new(),
            };
            let found = redirection(&answer).map(|t| t.is_some_and(|t| t.names(&asked)));
            assert_eq!(found, expected, "{status} {location:?}");
        }
    }
}
