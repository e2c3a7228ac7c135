//! The faults, and which scenario guards against each.

use memquill_core::Facet;

/// One way to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    FoldsUsers,
    TrimsUsers,
    TakesPrefixesOfUsers,
    IgnoresNodes,
    JoinsUserAndNode,
    EraseLeavesAFacet,
    RevealsSecrets,
    RoundsLargeIntegers,
    PagesByOffset,
    ReusesEvictedNumbers,
    RestartsNumbersAfterClear,
    LosesMessagesToOthers,
    SplitsBatches,
    StoresRetriesTwice,
    RestoresByAppending,
    IgnoresRoles,
    LimitsBeforeFiltering,
    TakesSinceAsExclusive,
    EvictsSystemMessages,
    CountsTokensIn32Bits,
    IgnoresFilters,
    FiltersAfterLimit,
    FiltersAsSqlDoes,
    InvertsSimilarity,
    ScalesSimilarityFromZero,
    TakesThresholdAsExclusive,
    IgnoresThresholdOfWords,
    ReversesTies,
    FindsDeletedVectors,
    FindsOldTexts,
    IndexesLate,
    LetsExpiredTakePlaces,
    IgnoresRecordTtls,
    SearchesAllNamespaces,
    FoldsNamespaces,
    TakesAnySpace,
    RebindsByRenaming,
    LooksForStopWords,
    OverwritesByRestoring,
    DropsNulls,
    NormalisesEmbeddings,
    CallsEverythingUpdated,
    ObeysOperators,
    IgnoresTtls,
    KeepsOldTtls,
    ReturnsExpiredEntries,
    RevivesBySliding,
    ShortensBySliding,
    RestartsVersions,
    RestoresByPutting,
    ChecksBeforeItPuts,
    CallsConflictsInternal,
    PutsManyOneByOne,
    LosesIncrementsToOthers,
    ListsByPattern,
    ClaimsWhatItRefuses,
}

/// A fault and the scenario that guards against it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) fault: Fault,
    /// The facet whose scenarios are run; none for those of all facets together.
    pub(crate) facet: Option<Facet>,
    /// What is broken.
    pub(crate) what: &'static str,
    /// A scenario that must catch it; others may too.
    pub(crate) guard: &'static str,
}

const fn general(fault: Fault, what: &'static str, guard: &'static str) -> Case {
    Case { fault, facet: None, what, guard }
}

const fn conversations(fault: Fault, what: &'static str, guard: &'static str) -> Case {
    Case { fault, facet: Some(Facet::Conversations), what, guard }
}

const fn vectors(fault: Fault, what: &'static str, guard: &'static str) -> Case {
    Case { fault, facet: Some(Facet::Vectors), what, guard }
}

const fn working(fault: Fault, what: &'static str, guard: &'static str) -> Case {
    Case { fault, facet: Some(Facet::Working), what, guard }
}

/// Every fault but none.
pub(crate) const FAULTS: &[Case] = &[
    general(
        Fault::FoldsUsers,
        "users in lower case",
        "general::g1::names_that_differ_in_case_are_different_scopes",
    ),
    general(
        Fault::TrimsUsers,
        "users without the spaces around",
        "general::g1::names_that_differ_in_spaces_are_different_scopes",
    ),
    general(
        Fault::TakesPrefixesOfUsers,
        "a user sees those whose name begins alike",
        "general::g1::a_name_that_begins_alike_is_another_scope",
    ),
    general(
        Fault::IgnoresNodes,
        "all nodes of a user are one",
        "general::g1::another_node_of_the_same_user_sees_nothing",
    ),
    general(
        Fault::JoinsUserAndNode,
        "keys are user and node with a colon between",
        "general::g1::names_that_join_to_one_text_are_different_scopes",
    ),
    general(
        Fault::EraseLeavesAFacet,
        "erasure forgets working memory",
        "general::g12::an_erased_user_has_nothing_left_anywhere",
    ),
    general(
        Fault::RevealsSecrets,
        "an error shows the password",
        "general::e3::a_secret_reaches_no_error",
    ),
    general(
        Fault::RoundsLargeIntegers,
        "integers go through a float",
        "general::g3::integers_over_the_full_range_come_back",
    ),
    general(
        Fault::PagesByOffset,
        "a cursor is a count of items",
        "general::g11::a_cursor_outlives_the_item_it_points_at",
    ),
    conversations(
        Fault::ReusesEvictedNumbers,
        "numbers are places",
        "conversations::c4::evicted_numbers_are_never_used_again",
    ),
    conversations(
        Fault::RestartsNumbersAfterClear,
        "a cleared conversation begins at 1",
        "conversations::c9::clear_says_how_many_went_and_numbering_goes_on",
    ),
    conversations(
        Fault::LosesMessagesToOthers,
        "an append is a read and a write",
        "conversations::c1::concurrent_appends_leave_no_gap_and_no_repeat",
    ),
    conversations(
        Fault::SplitsBatches,
        "a batch is stored message by message",
        "conversations::g5::a_reader_sees_whole_batches_only",
    ),
    conversations(
        Fault::StoresRetriesTwice,
        "a repeated append appends again",
        "conversations::c3::a_repeated_batch_returns_its_first_numbers_and_changes_nothing",
    ),
    conversations(
        Fault::RestoresByAppending,
        "what is restored is numbered anew",
        "conversations::c11::messages_come_back_with_their_numbers_and_times",
    ),
    conversations(
        Fault::IgnoresRoles,
        "a read ignores its roles",
        "conversations::c6::roles_select",
    ),
    conversations(
        Fault::LimitsBeforeFiltering,
        "a read filters the newest",
        "conversations::c6::conditions_combine_and_limit_applies_last",
    ),
    conversations(
        Fault::TakesSinceAsExclusive,
        "since is taken as exclusive",
        "conversations::c6::since_is_inclusive_and_until_exclusive",
    ),
    conversations(
        Fault::EvictsSystemMessages,
        "system messages are evicted",
        "conversations::c4::system_messages_stay_and_count_first",
    ),
    conversations(
        Fault::CountsTokensIn32Bits,
        "token counts wrap",
        "conversations::c8::tokens_add_up_beyond_32_bits",
    ),
    vectors(
        Fault::IgnoresFilters,
        "a search ignores its filter",
        "vectors::v7::filters_apply_before_limit",
    ),
    vectors(
        Fault::FiltersAfterLimit,
        "a search filters the global top k",
        "vectors::v7::filters_apply_before_limit",
    ),
    vectors(
        Fault::FiltersAsSqlDoes,
        "what is missing is not unequal",
        "vectors::v8::negation_is_exact",
    ),
    vectors(
        Fault::InvertsSimilarity,
        "the farthest come first",
        "vectors::v6::hits_stand_in_descending_similarity",
    ),
    vectors(
        Fault::ScalesSimilarityFromZero,
        "similarity is in [0, 1]",
        "vectors::v4::the_same_direction_is_one_and_the_opposite_minus_one",
    ),
    vectors(
        Fault::TakesThresholdAsExclusive,
        "the threshold is exclusive",
        "vectors::v5::the_threshold_is_inclusive",
    ),
    vectors(
        Fault::IgnoresThresholdOfWords,
        "the threshold is ignored by a text search",
        "vectors::v5::the_threshold_holds_for_words_too",
    ),
    vectors(
        Fault::ReversesTies,
        "equal hits stand in another order",
        "vectors::v6::equal_hits_stand_in_the_order_of_their_ids",
    ),
    vectors(
        Fault::FindsDeletedVectors,
        "a search finds what was deleted",
        "vectors::v12::a_deleted_record_is_found_no_more",
    ),
    vectors(
        Fault::FindsOldTexts,
        "a text search finds the words of before",
        "vectors::v12::an_updated_text_is_found_by_its_words_of_now",
    ),
    vectors(
        Fault::IndexesLate,
        "the index is one write behind",
        "vectors::g6::what_is_stored_is_found_by_every_connection_at_once",
    ),
    vectors(
        Fault::LetsExpiredTakePlaces,
        "expired records take places in the top k",
        "vectors::v11::an_expired_record_takes_no_place_in_the_top_k",
    ),
    vectors(
        Fault::IgnoresRecordTtls,
        "records never expire",
        "vectors::v11::an_expired_record_is_not_found",
    ),
    vectors(
        Fault::SearchesAllNamespaces,
        "a search ignores its namespace",
        "vectors::v7::namespaces_and_scopes_apply_before_limit",
    ),
    vectors(
        Fault::FoldsNamespaces,
        "namespaces in lower case",
        "vectors::g1::names_that_differ_in_one_sign_are_different_namespaces",
    ),
    vectors(
        Fault::RebindsByRenaming,
        "a namespace is rebound to whatever the other holds",
        "vectors::v13::a_record_without_a_counterpart_is_a_conflict_that_changes_nothing",
    ),
    vectors(
        Fault::OverwritesByRestoring,
        "what is restored takes the place of what differs",
        "vectors::v14::a_record_that_differs_is_a_conflict",
    ),
    vectors(
        Fault::LooksForStopWords,
        "a query looks for its stop words too",
        "vectors::v9::a_query_of_a_language_does_not_look_for_its_stop_words",
    ),
    vectors(
        Fault::TakesAnySpace,
        "vectors of any model are mixed",
        "vectors::v3::storing_in_another_space_is_a_conflict_that_names_both",
    ),
    vectors(
        Fault::DropsNulls,
        "metadata loses its nulls",
        "vectors::g3::metadata_comes_back_exactly",
    ),
    vectors(
        Fault::NormalisesEmbeddings,
        "embeddings come back normalised",
        "vectors::v1::an_embedding_comes_back_bit_for_bit",
    ),
    vectors(
        Fault::CallsEverythingUpdated,
        "what is unchanged is called updated",
        "vectors::v1::storing_the_same_again_is_unchanged_and_moves_no_time",
    ),
    vectors(
        Fault::ObeysOperators,
        "a minus in a text excludes a word",
        "vectors::v9::operators_are_plain_words",
    ),
    working(
        Fault::IgnoresTtls,
        "entries never expire",
        "working::w2::an_expired_entry_is_absent_for_every_purpose",
    ),
    working(
        Fault::KeepsOldTtls,
        "storing again keeps the old ttl",
        "working::w2::storing_again_without_a_ttl_clears_the_old_one",
    ),
    working(
        Fault::ReturnsExpiredEntries,
        "a read of many returns what expired",
        "working::w2::an_expired_entry_is_absent_for_every_purpose",
    ),
    working(
        Fault::RevivesBySliding,
        "a sliding read revives what expired",
        "working::w4::a_read_never_revives_an_expired_entry",
    ),
    working(
        Fault::ShortensBySliding,
        "a sliding read brings the expiry forward",
        "working::w4::a_read_never_brings_an_expiry_forward",
    ),
    working(
        Fault::RestoresByPutting,
        "what is restored gets a new version",
        "working::w9::entries_come_back_as_they_were",
    ),
    working(
        Fault::RestartsVersions,
        "versions begin anew after a delete",
        "working::w3::a_version_never_comes_back",
    ),
    working(
        Fault::ChecksBeforeItPuts,
        "a condition is checked before the step that puts",
        "working::w3::of_many_puts_if_absent_one_wins",
    ),
    working(
        Fault::CallsConflictsInternal,
        "a conflict is an internal error",
        "working::w3::if_absent_stores_only_what_is_not_there",
    ),
    working(
        Fault::PutsManyOneByOne,
        "a batch is put entry by entry",
        "working::g5::one_failing_condition_stores_nothing_of_a_batch",
    ),
    working(
        Fault::LosesIncrementsToOthers,
        "an increment is a read and a write",
        "working::w6::concurrent_increments_sum_exactly",
    ),
    working(
        Fault::ListsByPattern,
        "a prefix is a LIKE pattern",
        "working::w5::a_prefix_is_literal",
    ),
    working(
        Fault::ClaimsWhatItRefuses,
        "counters are claimed and refused",
        "working::w6::a_missing_key_counts_from_zero",
    ),
];
