//! Faults of vectors.

use super::{Case, Fault};

pub(super) const CASES: &[Case] = &[
    Case {
        fault: Fault::IgnoresFilters,
        what: "a search ignores its filter",
        guard: "vectors::v7::filters_apply_before_limit",
    },
    Case {
        fault: Fault::FiltersAfterLimit,
        what: "a search filters the global top k",
        guard: "vectors::v7::filters_apply_before_limit",
    },
    Case {
        fault: Fault::FiltersAsSqlDoes,
        what: "what is missing is not unequal",
        guard: "vectors::v8::negation_is_exact",
    },
    Case {
        fault: Fault::InvertsSimilarity,
        what: "the farthest come first",
        guard: "vectors::v6::hits_stand_in_descending_similarity",
    },
    Case {
        fault: Fault::ScalesSimilarityFromZero,
        what: "similarity is in [0, 1]",
        guard: "vectors::v4::the_same_direction_is_one_and_the_opposite_minus_one",
    },
    Case {
        fault: Fault::TakesThresholdAsExclusive,
        what: "the threshold is exclusive",
        guard: "vectors::v5::the_threshold_is_inclusive",
    },
    Case {
        fault: Fault::IgnoresThresholdOfWords,
        what: "the threshold is ignored by a text search",
        guard: "vectors::v5::the_threshold_holds_for_words_too",
    },
    Case {
        fault: Fault::ReversesTies,
        what: "equal hits stand in another order",
        guard: "vectors::v6::equal_hits_stand_in_the_order_of_their_ids",
    },
    Case {
        fault: Fault::FindsDeletedVectors,
        what: "a search finds what was deleted",
        guard: "vectors::v12::a_deleted_record_is_found_no_more",
    },
    Case {
        fault: Fault::FindsOldTexts,
        what: "a text search finds the words of before",
        guard: "vectors::v12::an_updated_text_is_found_by_its_words_of_now",
    },
    Case {
        fault: Fault::IndexesLate,
        what: "the index lags by one write",
        guard: "vectors::g6::what_is_stored_is_found_by_every_connection_at_once",
    },
    Case {
        fault: Fault::LetsExpiredTakePlaces,
        what: "expired records take places in the top k",
        guard: "vectors::v11::an_expired_record_takes_no_place_in_the_top_k",
    },
    Case {
        fault: Fault::IgnoresRecordTtls,
        what: "records never expire",
        guard: "vectors::v11::an_expired_record_is_not_found",
    },
    Case {
        fault: Fault::SearchesAllNamespaces,
        what: "a search ignores its namespace",
        guard: "vectors::v7::namespaces_and_scopes_apply_before_limit",
    },
    Case {
        fault: Fault::FoldsNamespaces,
        what: "namespaces in lower case",
        guard: "vectors::g1::names_that_differ_in_one_sign_are_different_namespaces",
    },
    Case {
        fault: Fault::RebindsByRenaming,
        what: "a namespace is rebound to whatever the other holds",
        guard: "vectors::v13::a_record_without_a_counterpart_is_a_conflict_that_changes_nothing",
    },
    Case {
        fault: Fault::OverwritesByRestoring,
        what: "what is restored takes the place of what differs",
        guard: "vectors::v14::a_record_that_differs_is_a_conflict",
    },
    Case {
        fault: Fault::LooksForStopWords,
        what: "a query looks for its stop words too",
        guard: "vectors::v9::a_query_of_a_language_does_not_look_for_its_stop_words",
    },
    Case {
        fault: Fault::TakesAnySpace,
        what: "vectors of any model are mixed",
        guard: "vectors::v3::storing_in_another_space_is_a_conflict_that_names_both",
    },
    Case {
        fault: Fault::DropsNulls,
        what: "metadata loses its nulls",
        guard: "vectors::g3::metadata_comes_back_exactly",
    },
    Case {
        fault: Fault::NormalisesEmbeddings,
        what: "embeddings come back normalised",
        guard: "vectors::v1::an_embedding_comes_back_bit_for_bit",
    },
    Case {
        fault: Fault::CallsEverythingUpdated,
        what: "what is unchanged is called updated",
        guard: "vectors::v1::storing_the_same_again_is_unchanged_and_moves_no_time",
    },
    Case {
        fault: Fault::ObeysOperators,
        what: "a minus in a text excludes a word",
        guard: "vectors::v9::operators_are_plain_words",
    },
    Case {
        fault: Fault::KeepsOldRecordTtls,
        what: "storing a record again keeps the old ttl",
        guard: "vectors::v11::storing_again_without_a_ttl_clears_the_old_one",
    },
    Case {
        fault: Fault::ForgetsCreatedAt,
        what: "an update is a delete and an insert",
        guard: "vectors::v1::any_difference_is_an_update_that_keeps_created_at",
    },
    Case {
        fault: Fault::CountsWithoutFilters,
        what: "a count ignores its filter",
        guard: "vectors::v8::negation_is_exact",
    },
    Case {
        fault: Fault::ScansWithoutFilters,
        what: "a scan ignores its filter",
        guard: "vectors::g11::a_walk_returns_what_matches",
    },
    Case {
        fault: Fault::IgnoresThresholds,
        what: "a search ignores its threshold",
        guard: "vectors::v5::the_threshold_is_inclusive",
    },
    Case {
        fault: Fault::HitsCarryEmbeddings,
        what: "hits carry their embeddings",
        guard: "vectors::v4::a_hit_scores_its_similarity_and_carries_no_embedding",
    },
    Case {
        fault: Fault::NeverComplete,
        what: "every result is called incomplete",
        guard: "vectors::v7::a_limit_past_the_matches_returns_all_of_them",
    },
    Case {
        fault: Fault::WeighsAllWordsAlike,
        what: "a rare word weighs as much as a common one",
        guard: "vectors::v9::a_rarer_word_ranks_higher",
    },
    Case {
        fault: Fault::IgnoresLengths,
        what: "relevance ignores the length of texts",
        guard: "vectors::v9::a_shorter_record_ranks_higher",
    },
    Case {
        fault: Fault::WeighsExpiredTexts,
        what: "expired records count in the corpus",
        guard: "vectors::v11::an_expired_record_does_not_weigh_on_the_mean_length",
    },
    Case {
        fault: Fault::FindsWithoutWords,
        what: "a text search returns records without a word of it",
        guard: "vectors::v9::a_text_finds_the_records_with_its_words",
    },
    Case {
        fault: Fault::FoldsIds,
        what: "record ids in lower case",
        guard: "vectors::g9::only_the_named_records_are_deleted",
    },
    Case {
        fault: Fault::UnbindsWhenEmpty,
        what: "a namespace without records loses its space",
        guard: "vectors::v3::a_namespace_without_records_stays_bound",
    },
    Case {
        fault: Fault::ReadsByIdOrder,
        what: "records are read in the order of their ids",
        guard: "vectors::v1::records_are_read_in_the_order_asked_for",
    },
    Case {
        fault: Fault::LosesLanguages,
        what: "records lose their language",
        guard: "vectors::v9::stems_match_where_a_language_is_given",
    },
    Case {
        fault: Fault::CutsContent,
        what: "content is cut at 64 KiB",
        guard: "vectors::g4::content_is_kept_to_its_limit",
    },
];
