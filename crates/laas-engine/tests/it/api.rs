//! The API as it is, without the `st2` client in between.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Site, answer, eventually, refusal};

#[test]
fn nobody_gets_in_without_a_credential() {
    let site = Site::new();
    let server = site.start();
    let required = "Unauthorized - One of Token or API key required.";
    let cases = [
        ("/v1/actions", None, required),
        ("/v1/keys/x", None, required),
        ("/v1/stream", None, required),
        ("/api/v1/user/", None, required),
        (
            "/v1/user",
            Some(("X-Auth-Token", "wrong")),
            "Unauthorized - Unable to find requested token.",
        ),
        (
            "/v1/user?x-auth-token=wrong",
            None,
            "Unauthorized - Unable to find requested token.",
        ),
        // An API key is no token.
        (
            "/v1/user",
            Some(("X-Auth-Token", server.key())),
            "Unauthorized - Unable to find requested token.",
        ),
    ];
    for (path, header, fault) in cases {
        let mut request = server.anonymous(Method::GET, path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        assert_eq!(
            answer(request.send().unwrap()),
            (401, json!({"faultstring": fault})),
            "{path} {header:?}"
        );
    }
    let (status, user) = answer(
        server
            .anonymous(Method::GET, &format!("/v1/user?st2-api-key={}", server.key()))
            .send()
            .unwrap(),
    );
    assert_eq!(
        (status, &user["authentication"]["location"]),
        (200, &json!("query"))
    );
}

#[test]
fn it_does_not_open_to_the_world_while_there_is_nobody_to_let_in() {
    let site = Site::without_key();
    let why = refusal(site.serve("0.0.0.0:0"));
    assert!(why.contains("laas-engine key create --state"), "{why}");
    // On loopback it starts, and lets nobody in.
    let server = site.start();
    assert_eq!(
        answer(server.anonymous(Method::GET, "/v1/actions").send().unwrap()).0,
        401
    );
    drop(server);
    site.set_password("ops", "open sesame");
    let mut child = site.serve("0.0.0.0:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("http://0.0.0.0:"), "{line:?}");
}

#[test]
fn a_password_buys_a_token() {
    let site = Site::new();
    let server = site.start();
    // People and keys may come while it serves.
    site.set_password("ops", "open sesame");
    let later = server
        .anonymous(Method::GET, "/v1/user")
        .header("St2-Api-Key", site.create_key());
    assert_eq!(answer(later.send().unwrap()).0, 200);
    let login = |user: &str, password: &str, body: Value| {
        let request = server
            .anonymous(Method::POST, "/auth/v1/tokens")
            .basic_auth(user, Some(password));
        answer(request.json(&body).send().unwrap())
    };
    let cases = [
        ("ops", "wrong", json!({}), 401),
        ("nobody", "open sesame", json!({}), 401),
        ("ops", "open sesame", json!({"ttl": 1_000_000}), 400),
        ("ops", "open sesame", json!({"ttl": 0}), 400),
        ("ops", "open sesame", json!({"ttl": "x"}), 400),
    ];
    for (user, password, body, expected) in cases {
        assert_eq!(
            login(user, password, body.clone()).0,
            expected,
            "{user} {password} {body}"
        );
    }
    let no_header = server.anonymous(Method::POST, "/auth/v1/tokens").json(&json!({}));
    assert_eq!(answer(no_header.send().unwrap()).0, 401);
    let (status, token) = login("ops", "open sesame", json!({}));
    assert_eq!(status, 201, "{token}");
    let text = token["token"].as_str().unwrap();
    let whoami = server
        .anonymous(Method::GET, "/v1/user")
        .header("X-Auth-Token", text);
    assert_eq!(answer(whoami.send().unwrap()).1["username"], "ops");
    for (text, valid) in [(text, true), ("wrong", false)] {
        let request = server
            .anonymous(Method::POST, "/auth/v1/tokens/validate")
            .json(&json!({"token": text}));
        assert_eq!(answer(request.send().unwrap()), (200, json!({"valid": valid})));
    }
}

#[test]
fn what_is_not_understood_is_refused_with_a_sentence() {
    let site = Site::new();
    let server = site.start();
    let unparsed = "Failed to parse request body: ";
    let no_route = "No route matches ";
    let cases = [
        ("POST", "/v1/executions", "{\"action\":", 400, unparsed),
        ("POST", "/v1/executions", "", 400, unparsed),
        ("POST", "/v1/executions", "[]", 400, unparsed),
        ("POST", "/v1/executions", "<html>", 400, unparsed),
        (
            "POST",
            "/v1/executions",
            "{}",
            400,
            "'action' is a required property",
        ),
        (
            "POST",
            "/v1/executions",
            "{\"action\":7}",
            400,
            "7 is not of type 'string'",
        ),
        (
            "POST",
            "/v1/executions",
            "{\"action\":\"lab.power\",\"parameters\":[]}",
            400,
            "[] is not of type 'object'",
        ),
        (
            "POST",
            "/v1/executions",
            "{\"action\":\"lab.power\",\"delay\":5}",
            400,
            "`delay` is not supported",
        ),
        (
            "POST",
            "/v1/executions",
            "{\"action\":\"lab.nosuch\"}",
            400,
            "Action \"lab.nosuch\" cannot be found.",
        ),
        ("PUT", "/v1/keys/x", "nonsense", 400, unparsed),
        (
            "PUT",
            "/v1/keys/x",
            "{\"name\":\"x\"}",
            400,
            "'value' is a required property",
        ),
        (
            "PUT",
            "/v1/keys/x",
            "{\"name\":\"x\",\"value\":7}",
            400,
            "7 is not of type 'string'",
        ),
        (
            "PUT",
            "/v1/keys/x",
            "{\"name\":\"x\",\"value\":\"v\",\"ttl\":-1}",
            400,
            "",
        ),
        (
            "PUT",
            "/v1/keys/x",
            "{\"name\":\"x\",\"value\":\"v\",\"ttl\":\"1\"}",
            400,
            "'1' is not of type 'integer'",
        ),
        (
            "PUT",
            "/v1/keys/x",
            "{\"name\":\"x\",\"value\":\"v\",\"scope\":\"moon\"}",
            400,
            "Scope moon is not valid",
        ),
        (
            "PUT",
            "/v1/keys/x",
            "{\"name\":\"x\",\"value\":\"zz\",\"encrypted\":true}",
            400,
            "Failed to verify the integrity",
        ),
        (
            "PUT",
            "/v1/keys/a%2Fb",
            "{\"name\":\"a/b\",\"value\":\"v\"}",
            404,
            "",
        ),
        ("GET", "/v1/keys/a%2Fb", "", 404, ""),
        ("POST", "/v1/webhooks/st2", "{}", 400, "Trigger not specified."),
        (
            "POST",
            "/v1/webhooks/st2",
            "{\"trigger\":[]}",
            400,
            "[] is not of type 'string'",
        ),
        (
            "POST",
            "/v1/webhooks/other",
            "{}",
            404,
            "Webhook other not registered with st2",
        ),
        (
            "GET",
            "/v1/executions?limit=0",
            "",
            400,
            "Limit, \"0\" specified, must be a positive number.",
        ),
        ("GET", "/v1/executions?limit=many", "", 400, ""),
        (
            "GET",
            "/v1/executions?status=done",
            "",
            400,
            "`done` is not the status of an execution",
        ),
        ("GET", "/v1/executions?timestamp_gt=yesterday", "", 400, ""),
        (
            "GET",
            "/v1/executions/nosuch",
            "",
            404,
            "Unable to identify resource with id \"nosuch\".",
        ),
        (
            "GET",
            "/v1/executions/nosuch/children",
            "",
            404,
            "Unable to identify resource",
        ),
        (
            "GET",
            "/v1/executions/nosuch/output",
            "",
            404,
            "Unable to identify resource",
        ),
        ("DELETE", "/v1/executions/nosuch", "", 404, ""),
        ("POST", "/v1/executions/nosuch/re_run", "{}", 404, ""),
        (
            "GET",
            "/v1/rules/lab.nosuch",
            "",
            404,
            "Resource with a reference or id \"lab.nosuch\" not found",
        ),
        (
            "PUT",
            "/v1/rules/lab.nosuch",
            "{\"enabled\":true}",
            404,
            "Resource with a reference",
        ),
        ("GET", "/v1/traces/nosuch", "", 404, ""),
        ("GET", "/v1/nosuch", "", 404, no_route),
        ("GET", "/nosuch", "", 404, no_route),
        ("GET", "/", "", 404, no_route),
        ("GET", "//", "", 404, no_route),
        ("PATCH", "/v1/keys/x", "{}", 404, no_route),
        ("DELETE", "/v1/actions/lab.power", "", 404, no_route),
    ];
    for (method, path, body, status, fault) in cases {
        let request = server.request(method.parse().unwrap(), path).body(body);
        let (seen, answer) = answer(request.send().unwrap());
        let text = answer["faultstring"]
            .as_str()
            .unwrap_or_else(|| panic!("{method} {path} {body}: {seen} {answer}"));
        assert!(
            seen == status && text.starts_with(fault),
            "{method} {path} {body}: {seen} {answer}"
        );
    }
}

#[test]
fn keys_have_scopes_prefixes_and_an_end() {
    let site = Site::new();
    let server = site.start();
    let put = |name: &str, more: Value| {
        let mut body = json!({"name": name, "value": "v"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, key) = server.send(Method::PUT, &format!("/v1/keys/{name}"), &body);
        assert_eq!(status, 200, "{key}");
        key
    };
    let first = put("a.b:c d", json!({}));
    assert_eq!(put("a.b:c d", json!({"value": "w"}))["id"], first["id"]);
    put("a.own", json!({"scope": "user"}));
    put("a.theirs", json!({"scope": "user", "user": "ops"}));
    let names = |query: &str| -> Vec<String> {
        let (status, keys) = server.get(&format!("/v1/keys{query}"));
        assert_eq!(status, 200, "{keys}");
        keys.as_array()
            .unwrap()
            .iter()
            .map(|key| key["name"].as_str().unwrap().to_string())
            .collect()
    };
    let cases: [(&str, &[&str]); 7] = [
        ("", &["a.b:c d"]),
        ("?scope=user", &["a.own"]),
        ("?scope=user&user=ops", &["a.theirs"]),
        ("?scope=all", &["a.b:c d", "a.own"]),
        ("?scope=all&limit=1&offset=1", &["a.own"]),
        ("?scope=all&prefix=a.o", &["a.own"]),
        ("?prefix=nosuch", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(names(query), expected, "{query}");
    }
    // What is read encrypted may be written encrypted.
    let sealed = put("sealed", json!({"secret": true}));
    assert_eq!(sealed["encrypted"], true);
    put("copy", json!({"value": sealed["value"], "encrypted": true}));
    let (_, copy) = server.get("/v1/keys/copy?decrypt=true");
    assert_eq!(
        (&copy["value"], &copy["secret"], &copy["encrypted"]),
        (&json!("v"), &json!(true), &json!(false))
    );

    let fleeting = put("fleeting", json!({"ttl": 1}));
    assert!(fleeting["expire_timestamp"].is_string(), "{fleeting}");
    eventually(|| (server.get("/v1/keys/fleeting").0 == 404).then_some(()));
    assert!(!names("").contains(&"fleeting".to_string()));
    for expected in [204, 404] {
        let deleted = server.request(Method::DELETE, "/v1/keys/copy").send().unwrap();
        assert_eq!(answer(deleted).0, expected);
    }
}

#[test]
fn executions_are_found_by_what_they_are() {
    let site = Site::new();
    let server = site.start();
    let good = server.run("lab.power", json!({"host": "pod1"}));
    let bad = server.run("lab.power", json!({"host": "ghost"}));
    let workflow = server.run("lab.fulfill", json!({"job_id": 1, "hosts": ["pod1"]}));
    let tagged = json!({
        "action": "lab.power",
        "parameters": {"host": "pod1"},
        "user": "ops",
        "context": {"trace_context": {"trace_tag": "job-1"}},
    });
    let (status, tagged) = server.send(Method::POST, "/v1/executions", &tagged);
    assert_eq!(
        (status, &tagged["context"]["user"]),
        (201, &json!("ops")),
        "{tagged}"
    );
    let tagged = server.wait_for(tagged["id"].as_str().unwrap(), &["succeeded"]);
    let id = |execution: &Value| execution["id"].as_str().unwrap().to_string();
    let list = |query: &str| {
        let response = server
            .request(Method::GET, &format!("/v1/executions?{query}"))
            .send()
            .unwrap();
        let total: usize = response.headers()["x-total-count"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let (_, list) = answer(response);
        (list.as_array().unwrap().iter().map(id).collect::<Vec<_>>(), total)
    };
    let workflow_id = id(&workflow);
    let children: Vec<String> = workflow["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap().into())
        .collect();
    let end = bad["end_timestamp"].as_str().unwrap();
    let cases = [
        (
            "parent=null".into(),
            vec![id(&tagged), workflow_id.clone(), id(&bad), id(&good)],
            4,
        ),
        (
            "parent=null&sort_asc=True&limit=2".into(),
            vec![id(&good), id(&bad)],
            4,
        ),
        (
            "parent=null&limit=1&offset=1".into(),
            vec![workflow_id.clone()],
            4,
        ),
        ("action=lab.power&status=failed".into(), vec![id(&bad)], 1),
        (format!("parent={workflow_id}"), children.clone(), children.len()),
        ("trace_tag=job-1".into(), vec![id(&tagged)], 1),
        ("user=ops".into(), vec![id(&tagged)], 1),
        (
            format!("parent=null&timestamp_lt={end}"),
            vec![id(&bad), id(&good)],
            2,
        ),
        (
            format!("parent=null&timestamp_gt={end}"),
            vec![id(&tagged), workflow_id.clone()],
            2,
        ),
    ];
    for (query, expected, total) in cases {
        assert_eq!(list(&query), (expected, total), "{query}");
    }
    let (_, shown) = server.get(&format!("/api/v1/executions/{workflow_id}/children/?depth=-1"));
    assert_eq!(shown.as_array().unwrap().len(), children.len());
    let (_, status) = server.get(&format!("/v1/executions/{workflow_id}/attribute/status"));
    assert_eq!(status, "succeeded");
    assert_eq!(
        server
            .get(&format!("/v1/executions/{workflow_id}/attribute/nosuch"))
            .0,
        400
    );
    assert_eq!(
        server.get(&format!("/v1/executions/{}/result", id(&good))).1["return_code"],
        0
    );
    let (_, text) = server.get(&format!("/v1/executions/{}/output?output_type=stderr", id(&good)));
    assert_eq!(text, "asked for --host=pod1 --command=status\n");
}

#[test]
fn secret_parameters_are_masked() {
    let site = Site::new();
    site.add_action(
        "login",
        "{password: {type: string, secret: true}}",
        "echo \"got ${#1}\"",
    );
    let server = site.start();
    let execution = server.run("lab.login", json!({"password": "hunter2hunter2"}));
    assert_eq!(execution["result"]["stdout"], "got 25", "{execution}");
    assert_eq!(execution["parameters"]["password"], "********");
    assert!(!execution.to_string().contains("hunter2"), "{execution}");
}
