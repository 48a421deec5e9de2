//! The application's URLs, in the order in which Django decides: path, CSRF, token, method.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Extract};
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::Dashboard;
use super::form::Form;
use super::state::{Bmc, Booking, Downtime, State};
use super::view::Post;
use super::xdf;

/// More than any body that the application reads.
const MAX_BODY: usize = 16 << 20;

/// Answers one request.
pub(super) async fn serve(Extract(dashboard): Extract<Dashboard>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match to_bytes(body, MAX_BODY).await {
        Ok(body) => dashboard.lock().answer(&parts, &body),
        Err(_) => html(StatusCode::BAD_REQUEST),
    }
}

/// What a path names.
enum Resource<'a> {
    Profile,
    Status,
    Inventory,
    Downtime,
    Host(&'a str),
    Bmc(&'a str),
    Pdf(u32),
    Idf(u32),
    /// The jobs with tasks in this status.
    Jobs(i32),
    Job(u32),
    Task(&'a str),
}

impl<'a> Resource<'a> {
    fn find(path: &[&'a str]) -> Option<Self> {
        Some(match path {
            ["profile"] => Self::Profile,
            ["status"] => Self::Status,
            ["inventory"] => Self::Inventory,
            ["downtime"] => Self::Downtime,
            ["hosts", host] if is_slug(host) => Self::Host(host),
            ["hosts", host, "bmc"] if is_slug(host) => Self::Bmc(host),
            ["booking", id, "pdf"] => Self::Pdf(number(id)?),
            ["booking", id, "idf"] => Self::Idf(number(id)?),
            ["jobs", "new"] => Self::Jobs(0),
            ["jobs", "current"] => Self::Jobs(100),
            ["jobs", "done"] => Self::Jobs(200),
            ["jobs", id] => Self::Job(number(id)?),
            // The job's number is only checked for being one.
            ["jobs", id, task] if is_slug(task) => number(id).map(|_| Self::Task(task))?,
            _ => return None,
        })
    }

    /// The views that a program may post to; the others want a browser's CSRF pair.
    fn csrf_exempt(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Bmc(_) | Self::Job(_) | Self::Task(_))
    }
}

impl State {
    fn answer(&mut self, request: &Parts, body: &Bytes) -> Response {
        let path: Vec<&str> = request.uri.path().split('/').skip(1).collect();
        match path.as_slice() {
            ["api", "labs", lab, rest @ ..] if is_slug(lab) => match Resource::find(rest) {
                Some(resource) => self.answer_lab(lab, resource, request, body),
                None => html(StatusCode::NOT_FOUND),
            },
            // The users' page for it asks for no login.
            ["booking", "delete", id, "confirm", ""] => match number(id).map(|id| self.delete(id)) {
                Some(Ok(())) => redirect("../../../../"),
                _ => html(StatusCode::NOT_FOUND),
            },
            _ => html(StatusCode::NOT_FOUND),
        }
    }

    fn answer_lab(&mut self, lab: &str, resource: Resource, request: &Parts, body: &Bytes) -> Response {
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&request.method);
        if !safe && !resource.csrf_exempt() && !has_csrf_pair(request) {
            return page(StatusCode::FORBIDDEN, "text/html", CSRF_PAGE);
        }
        // WSGI reads `auth_token` as the same header.
        let token = header(request, "auth-token").or_else(|| header(request, "auth_token"));
        if !self
            .labs
            .iter()
            .any(|known| known.name == lab && Some(known.token.as_str()) == token)
        {
            return html(StatusCode::FORBIDDEN);
        }
        let form = match request.method == Method::POST {
            true => Form::read(header(request, CONTENT_TYPE.as_str()).unwrap_or(""), body),
            false => Ok(Form::default()),
        };
        let Ok(form) = form else {
            return html(StatusCode::BAD_REQUEST);
        };
        match (resource, request.method.as_str()) {
            (Resource::Profile, _) => json_page(StatusCode::OK, &self.profile(lab)),
            (Resource::Status, "POST") => json_page(StatusCode::OK, &Value::Null),
            (Resource::Status, _) => json_page(StatusCode::OK, &json!({"status": 0})),
            (Resource::Downtime, method) => self.downtime(lab, method, &form),
            (Resource::Host(host), "GET") => self.show_host(lab, host),
            (Resource::Host(host), "POST") => self.change_host(lab, host, &form),
            (Resource::Bmc(host), "POST") => self.report_bmc(lab, host, &form),
            (Resource::Pdf(id), _) => self.descriptor(lab, id, |booking| &booking.pdf),
            (Resource::Idf(id), _) => self.descriptor(lab, id, |booking| &booking.idf),
            (Resource::Jobs(200), _) if self.done_broken => html(StatusCode::INTERNAL_SERVER_ERROR),
            (Resource::Jobs(status), _) => json_page(StatusCode::OK, &self.list(lab, status)),
            (Resource::Job(_), "POST") => json_page(StatusCode::OK, &Value::Null),
            (Resource::Job(id), _) => match self.bookings.get(&id) {
                Some(booking) => json_page(StatusCode::OK, &booking.whole_job()),
                None => html(StatusCode::INTERNAL_SERVER_ERROR),
            },
            (Resource::Task(id), "GET") => match self.task_mut(id) {
                Some((_, task)) => json_page(StatusCode::OK, &task.delta()),
                None => html(StatusCode::INTERNAL_SERVER_ERROR),
            },
            (Resource::Task(id), "POST") => self.post_task(id, &form),
            // The inventory view fails on any interface, and a view without an answer for a method is an error.
            (Resource::Inventory | Resource::Host(_) | Resource::Bmc(_) | Resource::Task(_), _) => {
                html(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    fn profile(&self, lab: &str) -> Value {
        let mut counts: Vec<(&str, u32)> = Vec::new();
        for host in self.hosts.iter().filter(|host| host.lab == lab) {
            let host_type = host.spec.host_type.as_str();
            match counts.iter_mut().find(|(known, _)| *known == host_type) {
                Some((_, count)) => *count += 1,
                None => counts.push((host_type, 1)),
            }
        }
        let counts: Vec<Value> = counts
            .iter()
            .map(|(host_type, count)| json!({"type": host_type, "count": count}))
            .collect();
        let email = format!("{}@example.org", lab.to_lowercase());
        json!({"name": lab, "contact": {"phone": "603-555-0100", "email": email}, "host_count": counts})
    }

    fn show_host(&self, lab: &str, labid: &str) -> Response {
        match self.host(labid).filter(|host| host.lab == lab) {
            Some(host) => json_page(
                StatusCode::OK,
                &json!({"booked": host.booking.is_some(), "working": host.working, "type": host.spec.host_type}),
            ),
            None => html(StatusCode::NOT_FOUND),
        }
    }

    fn change_host(&mut self, lab: &str, labid: &str, form: &Form) -> Response {
        if let (Some(working), Some(host)) = (
            form.get("working"),
            self.host_mut(labid).filter(|host| host.lab == lab),
        ) {
            host.working = working == "true";
        }
        self.show_host(lab, labid)
    }

    fn report_bmc(&mut self, lab: &str, labid: &str, form: &Form) -> Response {
        let Some(host) = self.host_mut(labid).filter(|host| host.lab == lab) else {
            return html(StatusCode::NOT_FOUND);
        };
        for field in ["address", "mac_address", "password", "user", "type", "versions"] {
            if form.get(field).is_none() {
                // The spelling and the 200 are the application's.
                return json_page(
                    StatusCode::OK,
                    &json!({"error": format!("invalid arguement: '{field}'")}),
                );
            }
        }
        let field = |name| form.get(name).unwrap_or_default().to_owned();
        let bmc = Bmc {
            address: field("address"),
            mac_address: field("mac_address"),
            user: field("user"),
            password: field("password"),
            versions: field("versions"),
        };
        // The columns' widths.
        if bmc.address.chars().count() > 15 || bmc.mac_address.chars().count() > 17 {
            return html(StatusCode::INTERNAL_SERVER_ERROR);
        }
        host.bmc = Some(bmc);
        let Some(booking) = host.booking.and_then(|id| self.bookings.remove(&id)) else {
            return html(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let (pdf, idf) = (xdf::pdf(self, &booking), xdf::idf(self, &booking));
        self.bookings.insert(booking.id, Booking { pdf, idf, ..booking });
        json_page(StatusCode::OK, &json!({"status": "success"}))
    }

    fn descriptor(&self, lab: &str, id: u32, pick: fn(&Booking) -> &String) -> Response {
        match self.bookings.get(&id).filter(|booking| booking.lab == lab) {
            Some(booking) => page(StatusCode::OK, "text/plain", pick(booking)),
            None => html(StatusCode::NOT_FOUND),
        }
    }

    /// Neither the lab nor the job is compared with the task's own.
    fn post_task(&mut self, id: &str, form: &Form) -> Response {
        let at = self.now();
        let Some((job, task)) = self.task_mut(id) else {
            return html(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let [status, message, lab_token] = ["status", "message", "lab_token"].map(|name| form.get(name));
        let changed = task.posted(status, message, lab_token);
        let post = Post {
            at,
            job,
            task: id.to_owned(),
            task_type: task.task_type(),
            subject: task.subject(),
            delta: task.delta(),
            status: status.map(str::to_owned),
            message: message.map(str::to_owned),
            lab_token: lab_token.map(str::to_owned),
            saved: changed.is_some(),
        };
        if let Some(changed) = changed {
            *task = changed;
        }
        // What was posted comes back as posted, what was stored as a number.
        let status = status.map_or(json!(task.status), |status| json!(status));
        let meta = json!({"status": status, "job": format!("Job object ({job})"), "message": task.message});
        let answer = json!({"task": task.delta(), "meta": meta});
        let saved = post.saved;
        self.posts.push(post);
        if !saved || self.notify(job).is_err() {
            return html(StatusCode::INTERNAL_SERVER_ERROR);
        }
        json_page(StatusCode::OK, &answer)
    }

    fn downtime(&mut self, lab: &str, method: &str, form: &Form) -> Response {
        let now = self.now();
        let Some(lab) = self.labs.iter_mut().find(|known| known.name == lab) else {
            return html(StatusCode::FORBIDDEN);
        };
        match (method, lab.downtime_at(now)) {
            ("GET", _) => {}
            ("POST", Some(_)) => return conflict("Lab is already in downtime"),
            ("POST", None) => match read_downtime(form) {
                Ok(downtime) if downtime.start >= downtime.end => {
                    return html(StatusCode::INTERNAL_SERVER_ERROR);
                }
                Ok(downtime) => lab.downtime = Some(downtime),
                Err(errors) => return json_page(StatusCode::BAD_REQUEST, &errors),
            },
            ("DELETE", Some(_)) => lab.downtime = None,
            ("DELETE", None) => return conflict("Lab is not in downtime"),
            _ => return page(StatusCode::METHOD_NOT_ALLOWED, "text/html", ""),
        }
        let answer = match lab.downtime_at(now) {
            Some(Downtime {
                start,
                end,
                description,
            }) => {
                let [start, end] = [start, end].map(|at| at.format(DATE_OUT).unwrap_or_default());
                json!({"is_down": true, "start": start, "end": end, "description": description})
            }
            None => json!({"is_down": false}),
        };
        json_page(StatusCode::OK, &answer)
    }
}

const DATES_IN: [&[BorrowedFormatItem<'_>]; 2] = [
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"),
    format_description!("[year]-[month]-[day] [hour]:[minute]"),
];
const DATE_OUT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// The posted downtime, or Django's errors by field.
fn read_downtime(form: &Form) -> Result<Downtime, Value> {
    let mut errors = Map::new();
    let mut date = |name: &str| {
        let text = form.get(name).unwrap_or_default();
        let date = DATES_IN
            .iter()
            .find_map(|format| PrimitiveDateTime::parse(text, format).ok());
        if date.is_none() {
            let error = match text {
                "" => json!({"message": "This field is required.", "code": "required"}),
                _ => json!({"message": "Enter a valid date/time.", "code": "invalid"}),
            };
            errors.insert(name.to_owned(), json!([error]));
        }
        date.map(PrimitiveDateTime::assume_utc)
    };
    let dates: (Option<OffsetDateTime>, Option<OffsetDateTime>) = (date("start"), date("end"));
    match dates {
        (Some(start), Some(end)) => Ok(Downtime {
            start,
            end,
            description: form.get("description").unwrap_or_default().to_owned(),
        }),
        _ => Err(Value::Object(errors)),
    }
}

/// Django takes any pair of equal tokens over plain HTTP, also one that it never gave out.
fn has_csrf_pair(request: &Parts) -> bool {
    let cookies = header(request, COOKIE.as_str()).unwrap_or("").split(';');
    let cookie = cookies
        .filter_map(|cookie| cookie.trim().strip_prefix("csrftoken="))
        .next_back();
    let is_token = |token: &&str| {
        [32, 64].contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    cookie
        .filter(is_token)
        .is_some_and(|token| header(request, "x-csrftoken") == Some(token))
}

fn header<'a>(request: &'a Parts, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A number in a path; one that no row can have stands for those beyond the column.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

const CSRF_PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>403 Forbidden</title></head>\n<body>\n\
                         <h1>Forbidden <span>(403)</span></h1>\n\
                         <p>CSRF verification failed. Request aborted.</p>\n</body>\n</html>\n";

/// One of the application's own error pages.
fn html(status: StatusCode) -> Response {
    let text = match status {
        StatusCode::BAD_REQUEST => "<h1>Bad Request (400)</h1>",
        StatusCode::FORBIDDEN => "<h1>403 Forbidden</h1>",
        StatusCode::NOT_FOUND => {
            "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>"
        }
        _ => "<h1>Server Error (500)</h1>",
    };
    page(status, "text/html", text)
}

fn conflict(error: &str) -> Response {
    json_page(StatusCode::UNPROCESSABLE_ENTITY, &json!({"error": error}))
}

fn json_page(status: StatusCode, value: &Value) -> Response {
    page(status, "application/json", &value.to_string())
}

fn page(status: StatusCode, content_type: &'static str, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn redirect(to: &'static str) -> Response {
    let mut response = page(StatusCode::FOUND, "text/html; charset=utf-8", "");
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static(to));
    response
}
