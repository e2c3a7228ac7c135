//! What a server's strict mode asks of filters: an index for each field (`unindexed_filtering_*`).

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use ::qdrant_client::qdrant::condition::ConditionOneOf;
use ::qdrant_client::qdrant::r#match::MatchValue;
use ::qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use ::qdrant_client::qdrant::{
    CollectionConfig, CollectionInfo, CreateFieldIndexCollection, FieldCondition, FieldType,
    Filter, PointsSelector, StrictModeConfig,
};
use tonic::Status;

/// The indexes of the collections.
#[derive(Default)]
pub(crate) struct Strict(Mutex<HashMap<String, HashSet<(String, FieldType)>>>);

impl Strict {
    /// Adds the mode to the description of a collection.
    pub(crate) fn with_mode(info: CollectionInfo) -> CollectionInfo {
        let mode = StrictModeConfig {
            enabled: Some(true),
            unindexed_filtering_retrieve: Some(false),
            unindexed_filtering_update: Some(false),
            ..StrictModeConfig::default()
        };
        let config = info.config.unwrap_or_default();
        let config = CollectionConfig { strict_mode_config: Some(mode), ..config };
        CollectionInfo { config: Some(config), ..info }
    }

    pub(crate) fn learn(&self, index: &CreateFieldIndexCollection) {
        let mut all = self.0.lock().unwrap();
        let indexes = all.entry(index.collection_name.clone()).or_default();
        indexes.insert((index.field_name.clone(), index.field_type()));
    }

    pub(crate) fn check_selector(
        &self,
        collection: &str,
        selector: Option<&PointsSelector>,
    ) -> Result<(), Status> {
        match selector.and_then(|selector| selector.points_selector_one_of.as_ref()) {
            Some(PointsSelectorOneOf::Filter(filter)) => self.check(collection, Some(filter)),
            _ => Ok(()),
        }
    }

    pub(crate) fn check(&self, collection: &str, filter: Option<&Filter>) -> Result<(), Status> {
        filter.map_or(Ok(()), |filter| self.check_filter(collection, "", filter))
    }

    pub(crate) fn check_key(
        &self,
        collection: &str,
        key: &str,
        kinds: &[FieldType],
    ) -> Result<(), Status> {
        let all = self.0.lock().unwrap();
        let has = |kind: &FieldType| {
            let index = (key.to_owned(), *kind);
            all.get(collection).is_some_and(|indexes| indexes.contains(&index))
        };
        if kinds.iter().any(has) {
            return Ok(());
        }
        Err(Status::invalid_argument(format!(
            "Bad request: Index required but not found for \"{key}\" of one of the following \
             types: {kinds:?}. Help: Create an index for this key or use a different filter."
        )))
    }

    fn check_filter(&self, collection: &str, within: &str, filter: &Filter) -> Result<(), Status> {
        for condition in filter.must.iter().chain(&filter.should).chain(&filter.must_not) {
            match condition.condition_one_of.as_ref().unwrap() {
                ConditionOneOf::Field(field) => {
                    let key = format!("{within}{}", field.key);
                    self.check_key(collection, &key, kinds(field))?;
                }
                ConditionOneOf::Filter(filter) => self.check_filter(collection, within, filter)?,
                ConditionOneOf::Nested(nested) => {
                    let within = format!("{within}{}[].", nested.key);
                    self.check_filter(collection, &within, nested.filter.as_ref().unwrap())?;
                }
                ConditionOneOf::HasId(_) => {}
                other => panic!("the driver asks for {other:?}"),
            }
        }
        Ok(())
    }
}

/// Any of these indexes suits the condition.
fn kinds(field: &FieldCondition) -> &'static [FieldType] {
    match field.r#match.as_ref().and_then(|found| found.match_value.as_ref()) {
        Some(MatchValue::Keyword(_) | MatchValue::Keywords(_)) => &[FieldType::Keyword],
        Some(MatchValue::Integer(_) | MatchValue::Integers(_)) => &[FieldType::Integer],
        Some(MatchValue::Text(_)) => &[FieldType::Text],
        Some(other) => panic!("the driver asks for {other:?}"),
        None => &[FieldType::Integer, FieldType::Float],
    }
}
