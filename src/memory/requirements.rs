//! What a memory must have to be built.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use memquill_core::{Backend, Error, Facet, did_you_mean};

use crate::config::Config;
use crate::node::Node;

/// How to see what a store offers.
const OFFERS: &str = "Backend::facets and Backend::capabilities, or `memquill capabilities`, show \
                      what a store offers";

/// How to bind a facet.
const BIND: &str = "bind it by .bind(Facet, NAME) or .default_store(NAME), or by its name or \
                    \"default\" in a configuration";

/// Returns what is wrong with the names of a configuration, which can be checked without a
/// connection.
pub(super) fn of_names(config: &Config, stores: &BTreeSet<&str>) -> Vec<Error> {
    if stores.is_empty() {
        return vec![problem(
            "there is no store",
            "add one, as in .store(\"main\", \"sqlite:agent.db\"), or as in \
             stores: {main: \"sqlite:agent.db\"} in a configuration",
        )];
    }
    let of_stores = stores.iter().map(|&name| ("a store's name", name));
    let of_nodes = config.nodes.keys().map(|name| ("a node's name", name.as_str()));
    let mut problems: Vec<Error> = of_stores
        .chain(of_nodes)
        .filter(|(_, name)| name.trim().is_empty() || name.contains(char::is_control))
        .map(|(what, name)| {
            problem(
                format!("{what} is empty or holds a control character: {name:?}"),
                "give it a name of letters, as in \"main\"",
            )
        })
        .collect();
    let named = config
        .default
        .iter()
        .map(|name| ("the default store".to_owned(), name))
        .chain(config.facets.iter().map(|(facet, name)| (facet.to_string(), name)))
        .chain(config.layers.keys().map(|name| ("layers".to_owned(), name)))
        .chain(config.caches.iter().filter_map(|(facet, cache)| {
            Some((format!("the cache of {facet}"), cache.shared.as_ref()?))
        }));
    problems.extend(named.filter(|(_, name)| !stores.contains(name.as_str())).map(
        |(place, name)| {
            let hint = did_you_mean(name, stores.iter().copied())
                .unwrap_or_else(|| format!("the stores are {}", listed(stores)));
            problem(format!("{place}: there is no store {name:?}"), hint)
        },
    ));
    if stores.len() > 1 && config.default.is_none() && config.facets.is_empty() {
        problems.push(problem(
            format!("there are several stores, {}, and no facet is bound", listed(stores)),
            "name one of them by .default_store(NAME), or as \"default\" in a configuration; \
             or bind each facet by .bind(Facet::Vectors, NAME), or as \"vectors\"",
        ));
    }
    problems
}

fn problem(message: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Error {
    Error::config(message).with_hint(hint)
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

/// What the stores lack.
pub(super) struct MissingRequirements<'a> {
    pub(super) stores: &'a BTreeMap<String, Backend>,
    pub(super) found: Vec<Error>,
}

impl MissingRequirements<'_> {
    /// Binds every facet that can be bound.
    pub(super) fn facets(
        &mut self,
        named: &BTreeMap<Facet, String>,
        default: Option<&str>,
    ) -> BTreeMap<Facet, String> {
        let mut bound = BTreeMap::new();
        for facet in Facet::ALL {
            let named = named.get(&facet).map(String::as_str);
            let Some(store) = named.or(default) else { continue };
            match self.stores.get(store).map(|backend| backend.facets().contains(&facet)) {
                Some(true) => drop(bound.insert(facet, store.to_owned())),
                Some(false) if named.is_some() => self
                    .found
                    .push(problem(format!("the store {store:?} does not offer {facet}"), OFFERS)),
                // One that does not exist was reported by its name.
                Some(false) | None => {}
            }
        }
        bound
    }

    pub(super) fn node(&mut self, name: &str, node: &Node, facets: &BTreeMap<Facet, String>) {
        if !node.persistent {
            return;
        }
        for facet in node.facets() {
            if !facets.contains_key(facet) {
                let what = format!("the node {name:?} needs a store bound to {facet}");
                self.found.push(problem(what, BIND));
            }
        }
        let Some(store) = node.facets().first().and_then(|facet| facets.get(facet)) else { return };
        let lacks = |backend: &Backend| {
            node.needs().filter(|feature| !backend.capabilities().has(*feature))
        };
        if let Some(feature) = self.stores.get(store).and_then(lacks) {
            self.found.push(problem(
                format!("the node {name:?} needs {feature}, which {store:?} does not offer"),
                OFFERS,
            ));
        }
    }

    pub(super) fn cache(&mut self, facet: Facet, facets: &BTreeMap<Facet, String>) {
        if facet == Facet::Vectors {
            self.found
                .push(problem("vectors have no cache", "cache conversations or working memory"));
        } else if !facets.contains_key(&facet) {
            self.found.push(problem(
                format!("the cache of {facet} needs a store bound to {facet}"),
                BIND,
            ));
        }
    }
}
