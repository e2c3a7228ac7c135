//! A call happens whole or not at all, also where the server lets only some of its steps through
//! (G5).

use memquill_core::{
    Append, ListConversations, ListEntries, Message, Page, Put, PutMany, StoreUrl,
};
use memquill_redis::driver;

use crate::support::connect;
use crate::{facts, get, put, scope};
use testkit::redis::Server;

crate::cases! {
    g5_a_user_without_one_of_the_commands_is_denied_at_connect,
    g5_rights_that_are_taken_later_leave_nothing_half_done,
    g5_another_programs_keys_leave_nothing_half_done,
}

/// The commands that the scripts and the driver run.
fn commands() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lua");
    let mut commands = Vec::new();
    let files = |folder: &std::path::Path| {
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    for file in files(folder.as_ref()).iter().flat_map(|folder| files(folder)) {
        let code = std::fs::read_to_string(file).unwrap();
        let calls = code.split("call('").skip(1).filter_map(|rest| rest.split('\'').next());
        commands.extend(calls.map(str::to_lowercase));
    }
    commands.extend(["get", "mget", "evalsha", "info"].map(String::from));
    commands.sort();
    commands.dedup();
    commands
}

async fn g5_a_user_without_one_of_the_commands_is_denied_at_connect() {
    let server = Server::start("redis-server", &[]);
    connect(&server.url()).await.unwrap();
    let url: StoreUrl = format!("redis://some:pw@127.0.0.1:{}", server.port).parse().unwrap();
    let set = |rights: &[&str]| {
        server.command(&[&["ACL", "SETUSER", "some", "reset", "on", ">pw"], rights].concat());
    };
    let commands = commands();
    assert!(commands.len() > 25, "{commands:?}");
    for command in &commands {
        set(&["~memory:*", "+@all", &format!("-{command}")]);
        let error = driver().connect(&url).await.unwrap_err();
        assert_eq!(facts(&error), ("permission_denied", false, false), "{command}: {error:?}");
        let named = error.to_string().to_lowercase();
        assert!(named.contains(command), "{command} is not named: {error:?}");
    }
    set(&["~elsewhere:*", "+@all"]);
    let error = driver().connect(&url).await.unwrap_err();
    assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
    // These are all that is needed, and trying them left nothing.
    let rights: Vec<String> = commands.iter().map(|command| format!("+{command}")).collect();
    let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
    let helpers = ["+eval", "+client", "+hello", "+select"];
    set(&[&["~memory:*"][..], &helpers, &rights].concat());
    let backend = driver().connect(&url).await.unwrap();
    put(&backend, "k", "v").await.unwrap();
    assert_eq!(get(&backend, "k").await.unwrap().as_deref(), Some("v"));
    let probes: Vec<String> =
        redis::from_redis_value(server.command(&["KEYS", "*probe*"])).unwrap();
    assert_eq!(probes, [""; 0]);
}

async fn listed(backend: &memquill_core::Backend) -> Vec<String> {
    let all = ListEntries::default();
    let Page { items, .. } = backend.working().unwrap().list(&scope(), &all).await.unwrap();
    items.into_iter().map(|entry| entry.key).collect()
}

async fn g5_rights_that_are_taken_later_leave_nothing_half_done() {
    let server = Server::start("redis-server", &[]);
    connect(&server.url()).await.unwrap();
    server.command(&["ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all"]);
    let url: StoreUrl = format!("redis://some:pw@127.0.0.1:{}", server.port).parse().unwrap();
    let backend = driver().connect(&url).await.unwrap();
    put(&backend, "k", "before").await.unwrap();
    let both = PutMany { entries: ["k", "new"].map(|key| Put::new(key, "after")).into() };
    for command in ["incr", "zadd", "set", "mset"] {
        server.command(&["ACL", "SETUSER", "some", &format!("-{command}")]);
        let many = backend.working().unwrap().put_many(&scope(), &both).await;
        let one = put(&backend, "new", "after").await;
        for error in [many.err(), one.err()].into_iter().flatten() {
            assert_eq!(facts(&error), ("permission_denied", false, false), "{error:?}");
        }
        server.command(&["ACL", "SETUSER", "some", &format!("+{command}")]);
        let halves = (get(&backend, "k").await.unwrap(), get(&backend, "new").await.unwrap());
        let (old, new) = (Some("before".to_owned()), Some("after".to_owned()));
        match command {
            // Without MSET a single put still works.
            "mset" => assert_eq!((halves, listed(&backend).await.len()), ((old, new), 2)),
            // Without SET a batch still works.
            "set" => {
                assert_eq!((halves, listed(&backend).await.len()), ((new.clone(), new), 2));
                put(&backend, "k", "before").await.unwrap();
                let delete = memquill_core::Delete::new("new");
                backend.working().unwrap().delete(&scope(), &delete).await.unwrap();
            }
            _ => assert_eq!((halves, listed(&backend).await), ((old, None), vec!["k".into()])),
        }
    }
}

async fn g5_another_programs_keys_leave_nothing_half_done() {
    let server = Server::start("redis-server", &[]);
    let backend = connect(&server.url()).await.unwrap();
    // So that the scope is registered.
    put(&backend, "k", "v").await.unwrap();
    let conversations = backend.conversations().unwrap();
    for part in ["messages", "ids", "gone"] {
        let key = format!("memory:{{alice/bot}}:{part}:{part}");
        server.command(&["SET", &key, "not ours"]);
        let append = Append::new(part, vec![Message::user("x").with_id("1")]);
        let error = conversations.append(&scope(), &append).await.unwrap_err();
        assert_eq!(facts(&error), ("corrupted", false, false), "{error:?}");
        let counted = conversations.statistics(&scope(), part).await.unwrap();
        assert_eq!((counted.last_seq, counted.message_count), (0, 0));
        server.command(&["DEL", &key]);
        let appended = conversations.append(&scope(), &append).await.unwrap();
        assert_eq!((appended.messages[0].seq, appended.replayed), (1, false));
    }
    let all = conversations.list(&scope(), &ListConversations::default()).await.unwrap();
    assert_eq!(all.items.len(), 3);
    for part in ["working", "expiries"] {
        let key = format!("memory:{{alice/bot}}:{part}");
        server.command(&["DEL", &key]);
        server.command(&["SET", &key, "not ours"]);
        let put = Put::new("new", "v").with_ttl(std::time::Duration::from_hours(1));
        let error = backend.working().unwrap().put(&scope(), &put).await.unwrap_err();
        assert_eq!(facts(&error), ("corrupted", false, false), "{error:?}");
        assert_eq!(get(&backend, "new").await.unwrap(), None);
        server.command(&["DEL", &key]);
    }
}
