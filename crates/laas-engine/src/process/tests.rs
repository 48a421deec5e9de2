use super::*;

fn script(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("it's a script.sh");
    std::fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
    path
}

fn launch(path: PathBuf, arguments: Value) -> Launch {
    Launch {
        path,
        arguments: arguments.as_object().unwrap().clone(),
        environment: HashMap::from([("X".to_string(), "a 'b'".to_string())]),
        directory: None,
        timeout: Duration::from_secs(30),
        grace: Duration::from_millis(300),
    }
}

#[test]
fn the_command_line_is_stackstorms() {
    let arguments = json!({
        "host": "pod 1", "dry_run": true, "force": false, "none": null, "empty": "", "n": 5, "list": ["x", "y z"],
        "map": {"k": "it's"},
    });
    let line = command_line(Path::new("/bin/true"), arguments.as_object().unwrap());
    let expected = r#"exec /bin/true --host='pod 1' --dry_run --n=5 --list='['"'"'x'"'"', '"'"'y z'"'"']' --map='{'"'"'k'"'"': "it'"'"'s"}'"#;
    assert_eq!(line, expected);
    assert!(
        command_line(Path::new("/etc/passwd"), &Object::new())
            .starts_with("chmod +x /etc/passwd ; exec /etc/passwd")
    );
}

#[tokio::test]
async fn output_is_json_where_all_of_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (
            "echo '{\"a\":1}'; echo log >&2",
            0,
            json!({"a": 1}),
            json!("log"),
            Status::Succeeded,
        ),
        (
            "echo log; echo '{\"a\":1}'; exit 3",
            3,
            json!("log\n{\"a\":1}"),
            json!(""),
            Status::Failed,
        ),
        (
            "printf '%s\\n' \"$@\" \"$X\"",
            0,
            json!("--host=pod 1\n--n=5\na 'b'"),
            json!(""),
            Status::Succeeded,
        ),
        (
            "read x || echo \"no input\"",
            0,
            json!("no input"),
            json!(""),
            Status::Succeeded,
        ),
        ("kill -TERM $$", -15, json!(""), json!(""), Status::Abandoned),
        ("kill -KILL $$", -9, json!(""), json!(""), Status::Timeout),
    ];
    for (text, code, stdout, stderr, status) in cases {
        let path = script(directory.path(), text);
        let (_keep, stop) = oneshot::channel();
        let outcome = run(launch(path, json!({"host": "pod 1", "n": 5})), stop).await;
        assert_eq!(outcome.status, status, "{text} {outcome:?}");
        let succeeded = status == Status::Succeeded;
        let expected = json!({
            "failed": !succeeded, "succeeded": succeeded, "return_code": code, "stdout": stdout, "stderr": stderr,
        });
        assert_eq!(outcome.result, expected, "{text}");
    }
    let path = script(directory.path(), "printf '\\xff'");
    let (_keep, stop) = oneshot::channel();
    let outcome = run(launch(path, json!({})), stop).await;
    assert_eq!(
        (outcome.status, outcome.result["error"].as_str()),
        (Status::Failed, Some("the output is not UTF-8"))
    );
}

#[tokio::test]
async fn a_timeout_ends_the_whole_session_even_one_that_ignores_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(
        directory.path(),
        "trap '' TERM; echo started; sleep 600 & echo $! ; wait; sleep 600",
    );
    let mut launch = launch(path, json!({}));
    launch.timeout = Duration::from_millis(500);
    let (_keep, stop) = oneshot::channel();
    let outcome = run(launch, stop).await;
    assert_eq!(outcome.status, Status::Timeout);
    assert_eq!(outcome.result["return_code"], -9);
    assert_eq!(outcome.result["error"], "Action failed to complete in 0 seconds");
    let stdout = outcome.result["stdout"].as_str().unwrap();
    let child = stdout.strip_prefix("started\n").unwrap();
    // The signal was sent; a busy machine takes a moment.
    let gone = async {
        while is_alive(child) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
    assert!(gone.is_ok(), "the background child {child} lives");
}

#[tokio::test]
async fn what_is_stopped_may_clean_up_first() {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let text = format!(
        "trap 'echo cleaned; exit 4' TERM; touch {}; sleep 600 & wait",
        ready.display()
    );
    let launch = launch(script(directory.path(), &text), json!({}));
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(run(launch, stopped));
    while !ready.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send(()).unwrap();
    let outcome = running.await.unwrap();
    assert_eq!(
        (
            outcome.result["stdout"].as_str(),
            outcome.result["return_code"].as_i64()
        ),
        (Some("cleaned"), Some(4))
    );
}

#[tokio::test]
async fn leftovers_are_found_by_their_execution() {
    let id = crate::model::new_id();
    let mut command = std::process::Command::new("sleep");
    let mut child = command.arg("600").env(EXECUTION_VARIABLE, &id).spawn().unwrap();
    let waiting = std::thread::spawn(move || child.wait().unwrap());
    kill_leftovers(&[crate::model::new_id()]);
    assert_eq!(processes_of(std::slice::from_ref(&id)).len(), 1);
    kill_leftovers(std::slice::from_ref(&id));
    assert_eq!(waiting.join().unwrap().signal(), Some(libc::SIGKILL));
}

/// A zombie that nobody has waited for yet is dead all the same.
fn is_alive(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

#[tokio::test]
async fn a_process_starts_with_nothing_of_this_one() {
    let directory = tempfile::tempdir().unwrap();
    // Rust ignores SIGPIPE (13), and while a process is started everything is blocked.
    let text = "while read -r name value; do case $name in SigIgn:) echo $((0x$value >> 12 & 1));; SigBlk:) echo $value;; esac; done </proc/$$/status; ps -o sid= $$; echo $$";
    let path = script(directory.path(), text);
    let (_keep, stop) = oneshot::channel();
    let outcome = run(launch(path.clone(), json!({})), stop).await;
    let stdout = outcome.result["stdout"].as_str().unwrap().to_string();
    let lines: Vec<&str> = stdout.lines().map(str::trim).collect();
    assert_eq!(lines[..2], ["0000000000000000", "0"], "{outcome:?}");
    assert_eq!(lines[2], lines[3], "it leads a session: {outcome:?}");
    let mut nowhere = launch(path, json!({}));
    nowhere.directory = Some("/nonexistent".into());
    let (_keep, stop) = oneshot::channel();
    let outcome = run(nowhere, stop).await;
    assert_eq!(outcome.status, Status::Failed);
    let error = outcome.result["error"].as_str().unwrap();
    assert!(
        error.starts_with("cannot start `") && error.contains("No such file"),
        "{error}"
    );
}
