//! Posted forms as Django reads them.

/// What stands above this many bytes is refused before it is read (`DATA_UPLOAD_MAX_MEMORY_SIZE`).
const MAX_BYTES: usize = 2_621_440;

/// The fields of a posted form.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Form(Vec<(String, String)>);

/// The body is too large or not what its content type says; Django answers 400.
#[derive(Debug, PartialEq)]
pub(super) struct BadForm;

impl Form {
    /// The form in `body`; empty for any content type that is not a form's, as for JSON.
    pub fn read(content_type: &str, body: &[u8]) -> Result<Self, BadForm> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let read: fn(&str, &[u8]) -> Result<Self, BadForm> = match kind.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => |_, body| url_encoded(body),
            "multipart/form-data" => multipart,
            _ => return Ok(Self::default()),
        };
        if body.len() > MAX_BYTES {
            return Err(BadForm);
        }
        read(parameters, body)
    }

    /// The field's value, the last one when it is repeated.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn url_encoded(body: &[u8]) -> Result<Form, BadForm> {
    // Bytes that are not UTF-8 become U+FFFD, as in Django.
    serde_urlencoded::from_bytes(body).map(Form).map_err(|_| BadForm)
}

fn multipart(parameters: &str, body: &[u8]) -> Result<Form, BadForm> {
    let boundary = parameter(parameters, "boundary").ok_or(BadForm)?;
    let text = String::from_utf8_lossy(body);
    let mut fields = Vec::new();
    for part in text.split(&format!("--{boundary}")).skip(1) {
        let Some((head, value)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let disposition = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
        let Some((_, disposition)) = disposition else {
            continue;
        };
        // Files are not fields: Django keeps them apart.
        if let (Some(name), None) = (parameter(disposition, "name"), parameter(disposition, "filename")) {
            fields.push((
                name.to_owned(),
                value.strip_suffix("\r\n").unwrap_or(value).to_owned(),
            ));
        }
    }
    Ok(Form(fields))
}

fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTIPART: &str = "multipart/form-data; boundary=\"xyz\"";

    #[test]
    fn reads_what_django_reads() {
        type Fields = &'static [(&'static str, Option<&'static str>)];
        let cases: [(&str, &[u8], Fields); 7] = [
            ("application/x-www-form-urlencoded", b"a=1&a=2&b=x+y%26", &[("a", Some("2")), ("b", Some("x y&"))]),
            ("application/x-www-form-urlencoded; charset=utf-8", b"m=caf%E9", &[("m", Some("caf\u{fffd}"))]),
            ("application/x-www-form-urlencoded", b"m=", &[("m", Some("")), ("n", None)]),
            ("application/json", b"{\"a\": 1}", &[("a", None)]),
            ("", b"a=1", &[("a", None)]),
            (
                MULTIPART,
                b"--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--xyz--\r\n",
                &[("a", Some("1\r\n2"))],
            ),
            (
                MULTIPART,
                b"--xyz\r\ncontent-disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nx\r\n--xyz--\r\n",
                &[("f", None)],
            ),
        ];
        for (content_type, body, fields) in cases {
            let form = Form::read(content_type, body).unwrap();
            for (name, value) in fields {
                assert_eq!(form.get(name), *value, "{name} of {content_type}");
            }
        }
    }

    #[test]
    fn refuses_what_django_refuses() {
        let large = vec![b'a'; MAX_BYTES + 1];
        assert_eq!(
            Form::read("application/x-www-form-urlencoded", &large),
            Err(BadForm)
        );
        assert_eq!(Form::read("multipart/form-data", b"--x"), Err(BadForm));
        assert!(Form::read("application/json", &large).is_ok());
    }
}
