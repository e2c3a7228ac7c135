//! What is claimed and what is not (G10).

use memquill_core::json::Object;
use memquill_core::{
    Append, CountRecords, Delete, Entry, ErrorKind, Facet, Feature, Filter, Get, Lineage, Message,
    Put, PutCondition, Rebind, RestoreEntries, RestoreMessages, RestoreRecords, Result, Retention,
    Scope, StoreRecords, TextSearch, Timestamp, Trim,
};

use super::traces::{record, records};
use crate::scenario::{Family, Test, scenarios};
use crate::support::{LONG, increment, refused};

scenarios! {
    facet: None, family: Family::Example;
    g10: every_feature_is_claimed_and_there_or_denied_and_refused;
    g10: a_facet_that_is_not_offered_is_refused_by_name;
    g10: features_belong_to_offered_facets;
    g10: a_search_is_exact_up_to_twenty_thousand_records;
}

/// Uses the feature in its simplest ways; none where no request asks for it.
async fn uses(test: &Test, feature: Feature) -> Vec<Result<()>> {
    let scope = test.scope();
    match feature {
        Feature::Retention => {
            let store = test.conversations();
            let retention = Retention::messages(1);
            let append = Append::new("c", vec![Message::user("x")]).with_retention(retention);
            let trim = Trim::new("c", retention);
            vec![
                store.append(&scope, &append).await.map(drop),
                store.trim(&scope, &trim).await.map(drop),
            ]
        }
        Feature::SafeRetry => {
            let append = Append::new("c", vec![Message::user("x").with_id("1")]);
            vec![test.conversations().append(&scope, &append).await.map(drop)]
        }
        Feature::TextSearch => {
            let search = TextSearch::new("n", "x", 1);
            vec![test.vectors().search_text(&scope, &search).await.map(drop)]
        }
        Feature::Filters => {
            let filter = Some(Filter::And(vec![]));
            let count = CountRecords { namespace: "n".into(), filter };
            vec![test.vectors().count(&scope, &count).await.map(drop)]
        }
        Feature::RecordExpiry => {
            let mut expiring = record("r", "x");
            expiring.ttl = Some(LONG);
            vec![test.vectors().store(&scope, &records(vec![expiring])).await.map(drop)]
        }
        Feature::Rebinding => {
            let other =
                StoreRecords { namespace: "other".into(), ..records(vec![record("r", "x")]) };
            let own = StoreRecords { namespace: "own".into(), ..other.clone() };
            for request in [&other, &own] {
                test.vectors().store(&scope, request).await.unwrap();
            }
            let rebind = Rebind { namespace: "own".into(), from: "other".into() };
            vec![test.vectors().rebind(&scope, &rebind).await.map(drop)]
        }
        Feature::Conditions => {
            let put = Put::new("k", 1).with_condition(PutCondition::IfAbsent);
            let delete = Delete { if_version: Some(1), ..Delete::new("missing") };
            vec![
                test.working().put(&scope, &put).await.map(drop),
                test.working().delete(&scope, &delete).await.map(drop),
            ]
        }
        Feature::SlidingExpiry => {
            let get = Get { extend: Some(LONG), ..Get::new("k") };
            vec![test.working().get(&scope, &get).await.map(drop)]
        }
        Feature::Counters => {
            let increment = increment("k", 1, None);
            vec![test.working().increment(&scope, &increment).await.map(drop)]
        }
        Feature::Restoring => restores(test, &scope).await,
        _ => vec![],
    }
}

/// Restores the least there is into each facet that is offered.
async fn restores(test: &Test, scope: &Scope) -> Vec<Result<()>> {
    let backend = test.backend();
    let mut answers = Vec::new();
    if let Ok(store) = backend.conversations() {
        let request = RestoreMessages {
            conversation: "c".into(),
            messages: vec![],
            last_seq: 1,
            lineage: Lineage::default(),
        };
        answers.push(store.restore(scope, &request).await.map(drop));
    }
    if let Ok(store) = backend.vectors() {
        let StoreRecords { namespace, space, .. } = records(vec![]);
        let request = RestoreRecords { namespace, space, records: vec![], overwrite: false };
        answers.push(store.restore(scope, &request).await.map(drop));
    }
    if let Ok(store) = backend.working() {
        let entry = Entry {
            key: "k".into(),
            value: 1.into(),
            metadata: Object::new(),
            version: 1,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            expires_at: None,
        };
        let request = RestoreEntries { entries: vec![entry], overwrite: false };
        answers.push(store.restore(scope, &request).await.map(drop));
    }
    answers
}

async fn every_feature_is_claimed_and_there_or_denied_and_refused(test: Test) {
    let facets = test.backend().facets();
    let offered = |feature: &Feature| feature.facet().is_none_or(|facet| facets.contains(&facet));
    for feature in Feature::ALL.into_iter().filter(offered) {
        for answer in uses(&test, feature).await {
            if test.has(feature) {
                answer.unwrap();
            } else {
                let error = refused(answer, ErrorKind::Unsupported);
                assert!(error.message().contains(feature.as_str()), "{error}");
            }
        }
    }
}

async fn a_facet_that_is_not_offered_is_refused_by_name(test: Test) {
    let backend = test.backend();
    let offered = backend.facets();
    for facet in Facet::ALL {
        let answer = match facet {
            Facet::Conversations => backend.conversations().map(drop),
            Facet::Vectors => backend.vectors().map(drop),
            Facet::Working => backend.working().map(drop),
        };
        if offered.contains(&facet) {
            answer.unwrap();
        } else {
            let error = refused(answer, ErrorKind::Unsupported);
            assert!(error.message().contains(facet.as_str()), "{error}");
        }
    }
    assert!(!offered.is_empty());
}

async fn features_belong_to_offered_facets(test: Test) {
    let facets = test.backend().facets();
    for feature in &test.backend().capabilities().features {
        let there = feature.facet().is_none_or(|facet| facets.contains(&facet));
        assert!(there, "{feature} is claimed without its facet");
    }
}

async fn a_search_is_exact_up_to_twenty_thousand_records(test: Test) {
    if test.backend().vectors().is_err() {
        return;
    }
    let quality = test.backend().capabilities().vectors.expect("a claim about searching");
    assert!(quality.exact_up_to.is_none_or(|records| records >= 20_000), "{quality:?}");
    assert!(quality.similarity_tolerance >= 0.0 && quality.similarity_tolerance < 1.0);
}
