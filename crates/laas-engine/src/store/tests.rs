use super::*;

#[tokio::test]
async fn a_failed_job_undoes_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("e.db")).unwrap();
    let put = |name: &str| Key {
        id: new_id(),
        scope: "system".into(),
        name: name.into(),
        value: "v".into(),
        secret: false,
        expires: None,
    };
    let (good, bad) = (put("good"), put("bad"));
    let failing = store.write(Durability::Process, move |connection| {
        rows::put_key(connection, bad)?;
        Err::<(), _>(StoreError("no".into()))
    });
    let (failed, kept) = tokio::join!(failing, store.put_key(good));
    assert_eq!(failed.unwrap_err().0, "no");
    let first = kept.unwrap();
    assert_eq!(store.key("system", "bad").await.unwrap(), None);
    assert_eq!(
        store.put_key(put("good")).await.unwrap().id,
        first.id,
        "a key keeps its id"
    );
    assert!(store.delete_key("system", "good").await.unwrap());
    assert!(!store.delete_key("system", "good").await.unwrap());
}

#[tokio::test]
async fn a_second_engine_is_turned_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("e.db");
    let store = Store::open(&path).unwrap();
    let error = Store::open(&path).err().unwrap().to_string();
    assert!(error.contains("another engine holds"), "{error}");
    drop(store);
    Store::open(&path).unwrap();
}

#[tokio::test]
async fn tokens_are_known_by_their_text_until_they_expire() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("e.db")).unwrap();
    let (text, token) = store
        .issue_token("me", TokenKind::Token, None, Some("x"))
        .await
        .unwrap();
    assert_eq!(store.token(&text, TokenKind::Token).await.unwrap(), Some(token));
    assert_eq!(store.token(&text, TokenKind::ApiKey).await.unwrap(), None);
    assert_eq!(store.token("wrong", TokenKind::Token).await.unwrap(), None);
    let past = Timestamp::now().plus_seconds(-1.0);
    let (old, _) = store
        .issue_token("me", TokenKind::Token, Some(past), None)
        .await
        .unwrap();
    assert_eq!(store.token(&old, TokenKind::Token).await.unwrap(), None);
    let bytes = std::fs::read(directory.path().join("e.db-wal")).unwrap();
    assert!(
        !bytes.windows(text.len()).any(|window| window == text.as_bytes()),
        "the text itself is kept nowhere"
    );
}
