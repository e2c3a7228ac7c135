//! The names of keys.
//!
//! A scope's keys share the hash tag `{user/node}`, so that they live in one slot of a cluster and
//! one script may touch them all. In a tag `%`, `{`, `}` and `/` are escaped: it ends where it
//! should, and two scopes never share one. What follows the tag starts with a fixed word; a
//! caller's identifier only ever ends a key, so that it needs no escape.

use std::borrow::Cow;
use std::fmt::Write as _;

use memquill_core::Scope;

/// The names of one scope's keys.
#[derive(Debug)]
pub(crate) struct ScopeKeys {
    base: String,
}

impl ScopeKeys {
    pub(crate) fn new(prefix: &str, scope: &Scope) -> Self {
        let (user, node) = (escaped(scope.user()), escaped(scope.node()));
        Self { base: [prefix, ":{", &*user, "/", &*node, "}"].concat() }
    }

    fn key(&self, kind: &str, name: &str) -> String {
        [self.base.as_str(), kind, name].concat()
    }

    /// The counter that versions come from. It exists exactly where the scope is
    /// registered.
    pub(crate) fn versions(&self) -> String {
        self.key(":versions", "")
    }

    /// The working keys, a sorted set in byte order.
    pub(crate) fn working(&self) -> String {
        self.key(":working", "")
    }

    /// The working keys that expire, a sorted set by time.
    pub(crate) fn expiries(&self) -> String {
        self.key(":expiries", "")
    }

    /// The key that an increment adds in.
    pub(crate) fn scratch(&self) -> String {
        self.key(":scratch", "")
    }

    /// An entry of working memory; of an empty key, what all entries' names start with.
    pub(crate) fn entry(&self, key: &str) -> String {
        self.key(":entry:", key)
    }

    /// The conversations, a sorted set in byte order.
    pub(crate) fn conversations(&self) -> String {
        self.key(":conversations", "")
    }

    /// The conversations, a sorted set by the time of their newest message.
    pub(crate) fn activity(&self) -> String {
        self.key(":activity", "")
    }

    /// A conversation's counters; of an empty name, what all of them start with.
    pub(crate) fn counters(&self, conversation: &str) -> String {
        self.key(":counters:", conversation)
    }

    /// A conversation's messages, a stream.
    pub(crate) fn messages(&self, conversation: &str) -> String {
        self.key(":messages:", conversation)
    }

    /// The message ids that a conversation knows, a hash.
    pub(crate) fn ids(&self, conversation: &str) -> String {
        self.key(":ids:", conversation)
    }

    /// The ids among them whose message is gone, a sorted set by the last number then given.
    pub(crate) fn gone(&self, conversation: &str) -> String {
        self.key(":gone:", conversation)
    }
}

/// The two keys of a list of the registry, in one slot.
#[derive(Debug)]
pub(crate) struct ListKeys {
    /// The names, a sorted set in byte order.
    pub(crate) names: String,
    /// The names that are being erased, a hash to the erasure's token.
    pub(crate) erasing: String,
}

impl ListKeys {
    /// The users.
    pub(crate) fn users(prefix: &str) -> Self {
        // No user's tag starts with a slash.
        Self::under(format!("{prefix}:{{/}}:users"))
    }

    /// A user's memory nodes.
    pub(crate) fn nodes(prefix: &str, user: &str) -> Self {
        Self::under(format!("{prefix}:{{{}}}:nodes", escaped(user)))
    }

    fn under(names: String) -> Self {
        Self { erasing: format!("{names}:erasing"), names }
    }
}

/// The keys of what caches share of one user, or of nobody: one slot.
#[derive(Debug)]
pub(crate) struct CacheKeys {
    base: String,
    node: String,
}

impl CacheKeys {
    pub(crate) fn new(prefix: &str, scope: Option<&Scope>) -> Self {
        match scope {
            Some(scope) => {
                let node = escaped(scope.node()).into_owned();
                Self { node, ..Self::of_user(prefix, scope.user()) }
            }
            None => Self { base: format!("{prefix}:{{/}}:cache"), node: String::new() },
        }
    }

    pub(crate) fn of_user(prefix: &str, user: &str) -> Self {
        Self { base: format!("{prefix}:{{{}}}:cache", escaped(user)), node: String::new() }
    }

    /// The epoch that all the rest is of.
    pub(crate) fn epoch(&self) -> String {
        self.base.clone()
    }

    /// A kept value, or a lease.
    pub(crate) fn item(&self, name: &str) -> String {
        format!("{}:{}/{name}", self.base, self.node)
    }
}

/// The key with which rights are tried, one for each kind of value.
pub(crate) fn probe(prefix: &str, kind: &str) -> String {
    format!("{prefix}:{{/}}:probe:{kind}")
}

/// The key that a write to replicas is confirmed by: written and removed at once, in the slot of `key`
/// and under its prefix.
pub(crate) fn replication_marker(key: &str) -> String {
    match key.split_once('}') {
        Some((tagged, _)) => format!("{tagged}}}:mark"),
        None => format!("{key}:{{{key}}}:mark"),
    }
}

/// The schema's version.
pub(crate) fn schema(prefix: &str) -> String {
    format!("{prefix}:schema")
}

/// Says whether a key has the form of this driver's keys, under whatever prefix.
pub(crate) fn is_ours(key: &str) -> bool {
    const KINDS: [&str; 16] = [
        "versions",
        "working",
        "expiries",
        "scratch",
        "entry:",
        "conversations",
        "activity",
        "counters:",
        "messages:",
        "ids:",
        "gone:",
        "users",
        "nodes",
        "cache",
        "probe:",
        "mark",
    ];
    key.ends_with(":schema")
        || key.match_indices("}:").any(|(at, _)| {
            let rest = &key[at + 2..];
            KINDS.iter().any(|kind| rest.starts_with(kind))
        })
}

fn escaped(name: &str) -> Cow<'_, str> {
    let reserved = |c| matches!(c, '%' | '{' | '}' | '/');
    if !name.contains(reserved) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if reserved(c) {
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g1_no_identifier_breaks_out_of_its_tag() {
        let entry = |user: &str, node: &str, key: &str| {
            ScopeKeys::new("p", &Scope::new(user, node).unwrap()).entry(key)
        };
        assert_eq!(entry("a", "b", "c"), "p:{a/b}:entry:c");
        assert_eq!(entry("a/b", "c", "}"), "p:{a%2Fb/c}:entry:}");
        assert_ne!(entry("a/b", "c", "d"), entry("a", "b/c", "d"));
        assert_ne!(entry("a%2Fb", "c", "d"), entry("a/b", "c", "d"));
        assert_eq!(entry("}:x{", "{", "k"), "p:{%7D:x%7B/%7B}:entry:k");
    }

    #[test]
    fn a_replication_marker_is_in_the_slot_of_its_key() {
        assert_eq!(replication_marker("p:{a/b}:entry:}"), "p:{a/b}:mark");
        assert_eq!(replication_marker(&ListKeys::users("p").names), "p:{/}:mark");
        // A whole key is its own tag.
        assert_eq!(replication_marker(&schema("p")), "p:schema:{p:schema}:mark");
    }

    #[test]
    fn keys_of_others_are_known_by_their_form() {
        let keys = ScopeKeys::new("p", &Scope::new("a", "b").unwrap());
        for ours in [
            keys.versions(),
            keys.working(),
            keys.expiries(),
            keys.scratch(),
            keys.entry("k"),
            keys.conversations(),
            keys.activity(),
            keys.counters("c"),
            keys.messages("c"),
            keys.ids("c"),
            keys.gone("c"),
            ListKeys::users("p").erasing,
            ListKeys::nodes("p", "a").names,
            CacheKeys::new("p", None).epoch(),
            probe("p", "text"),
            replication_marker("p:{a/b}:x"),
            schema("p"),
            schema("p:nested"),
            keys.entry("}:x"),
        ] {
            assert!(is_ours(&ours), "{ours}");
        }
        for other in ["p:session:1", "p:{a}:cart", "p:", "p:schemas", "p:{a/b}", "p:{a/b}:other"] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn g1_the_registry_has_keys_of_its_own() {
        assert_eq!(ListKeys::users("p").names, "p:{/}:users");
        assert_eq!(ListKeys::nodes("p", "/").names, "p:{%2F}:nodes");
        assert_eq!(ListKeys::nodes("p", "a/b").erasing, "p:{a%2Fb}:nodes:erasing");
    }
}
