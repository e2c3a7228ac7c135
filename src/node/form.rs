//! A node as workflows write it (N1, N2, N4).

use memquill_core::json::Object;
use memquill_core::kinds::{KindName, strict};
use memquill_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

/// The subtype that is a working memory whose entries live for ever by default.
pub(super) const KEY_VALUE_STORE: &str = "KEY_VALUE_STORE";
const TYPES: [&str; 2] = ["MEMORY", "MEMORY_NODE"];
const SUBTYPES: &str = "the subtypes are CONVERSATION_BUFFER, CONVERSATION_SUMMARY, VECTOR_DATABASE, WORKING_MEMORY \
     and KEY_VALUE_STORE";

/// Other names of subtypes, and the names that they stand for (N2).
const ALIASES: [(&str, &str); 8] = [
    ("MEMORY_SIMPLE", KEY_VALUE_STORE),
    ("KEY_VALUE", KEY_VALUE_STORE),
    ("MEMORY_BUFFER", "CONVERSATION_BUFFER"),
    ("MEMORY_VECTOR_STORE", "VECTOR_DATABASE"),
    ("VECTOR_DB", "VECTOR_DATABASE"),
    ("MEMORY_DOCUMENT", "DOCUMENT_STORE"),
    ("DOCUMENT", "DOCUMENT_STORE"),
    ("MEMORY_KNOWLEDGE", "KNOWLEDGE_BASE"),
];

/// Old subtypes that name a store or a step rather than a memory, and what comes nearest (N2).
const NEAREST: [(&str, &str); 8] = [
    ("MEMORY_EMBEDDING", "VECTOR_DATABASE: it embeds what it stores"),
    ("PINECONE", "VECTOR_DATABASE"),
    ("WEAVIATE", "VECTOR_DATABASE"),
    ("QDRANT", "VECTOR_DATABASE"),
    ("ELASTICSEARCH", "VECTOR_DATABASE, which also searches by words"),
    ("REDIS_CACHE", "WORKING_MEMORY"),
    ("SQL_DATABASE", KEY_VALUE_STORE),
    ("NOSQL_DATABASE", KEY_VALUE_STORE),
];

/// The parts of a node that mean something here, its type checked.
pub(crate) struct Form {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    /// As written.
    subtype: String,
    pub(crate) configurations: Object,
}

/// A node as it is written.
#[derive(Deserialize)]
struct Written {
    r#type: Option<String>,
    subtype: Option<String>,
    configurations: Option<Object>,
    parameters: Option<Object>,
    id: Option<String>,
    name: Option<String>,
    // What engines write around a node.
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "position")]
    _position: Option<Object>,
    #[serde(rename = "input_params")]
    _input_params: Option<Object>,
    #[serde(rename = "output_params")]
    _output_params: Option<Object>,
    input_ports: Option<Value>,
    output_ports: Option<Value>,
    attached_nodes: Option<Value>,
}

impl Form {
    pub(crate) fn read(value: &Value) -> Result<Self> {
        let Value::Object(object) = value else {
            return Err(Error::invalid_input("a node is a JSON object")
                .with_hint(r#"write it as {"type": "MEMORY", "subtype": "CONVERSATION_BUFFER"}"#));
        };
        let written: Written = strict::from_object("a node", object)?;
        match written.r#type.as_deref() {
            Some(name) if TYPES.contains(&name) => {}
            Some(other) => {
                return Err(Error::invalid_input(format!(
                    "a node of type {other:?} is not a memory node"
                ))
                .with_hint(r#"set "type" to "MEMORY""#));
            }
            None => {
                return Err(Error::invalid_input("the node has no type")
                    .with_hint(r#"add "type": "MEMORY""#));
            }
        }
        written.unattached()?;
        let configurations = match (written.configurations, written.parameters) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid_input("the node has configurations and parameters")
                    .with_hint("parameters is the old name: give configurations alone"));
            }
            (given, old) => given.or(old).unwrap_or_default(),
        };
        let missing = || Error::invalid_input("the node has no subtype").with_hint(SUBTYPES);
        Ok(Self {
            id: written.id,
            name: written.name,
            subtype: written.subtype.ok_or_else(missing)?,
            configurations,
        })
    }

    /// The subtype in upper case, by the name that it has here.
    pub(crate) fn subtype_name(&self) -> String {
        let subtype = self.subtype.to_ascii_uppercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == subtype);
        alias.map_or(subtype, |(_, name)| (*name).to_owned())
    }

    pub(crate) fn kind(&self) -> Result<KindName> {
        let name = self.subtype_name();
        if let Some((_, nearest)) = NEAREST.iter().find(|(old, _)| *old == name) {
            return Err(Error::invalid_input(format!("there is no memory kind {name:?}"))
                .with_hint(format!("the nearest is {nearest}")));
        }
        let known = name.parse();
        if name.eq_ignore_ascii_case(&self.subtype) {
            return known;
        }
        known.map_err(|error: Error| error.at(format_args!("subtype {:?}", self.subtype)))
    }
}

impl Written {
    /// Refuses ports and attachments: a memory is attached to others, and has nothing attached.
    fn unattached(&self) -> Result<()> {
        let given = [
            ("input_ports", &self.input_ports),
            ("output_ports", &self.output_ports),
            ("attached_nodes", &self.attached_nodes),
        ];
        for (key, value) in given {
            match value {
                None => {}
                Some(Value::Array(items)) if items.is_empty() => {}
                Some(Value::Object(items)) if items.is_empty() => {}
                Some(_) => {
                    return Err(Error::invalid_input(format!("a memory node has no {key}"))
                        .with_hint("leave it out, or empty"));
                }
            }
        }
        Ok(())
    }
}

/// What a configuration says that is written as a type and a default (N4).
///
/// No configuration of a subtype wants an object, so an object with `type` and `default` or `value`
/// is not meant as itself.
pub(super) fn typed_default(value: Value) -> Value {
    match value {
        Value::Object(mut object)
            if object.get("type").is_some_and(Value::is_string)
                && (object.contains_key("default") || object.contains_key("value")) =>
        {
            let default = object.shift_remove("default");
            object
                .shift_remove("value")
                .filter(|value| !value.is_null())
                .or(default)
                .unwrap_or_default()
        }
        other => other,
    }
}
