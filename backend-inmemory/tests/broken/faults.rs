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
    HealthyWithoutAStore,
    EmptyWithoutAStore,
    LosesInACrash,
    PurgesTheIndexAlone,
    ErasesTwice,
    ForgetsIdsOfTheEvicted,
    ForgetsIdsAtClear,
    TrimsOnReplay,
    TotalsWhatMatches,
    TakesUntilAsInclusive,
    TakesAfterAsInclusive,
    ReadsTheOldest,
    ReadsDescending,
    DropsNames,
    CountsToolsAsUsers,
    EvictsTheNewest,
    IgnoresTokenLimits,
    TrimsOneTooMany,
    HidesCleared,
    ClearsTheScope,
    AppendsByReadingAll,
    CountsByReadingAll,
    RestoresWithoutTimes,
    KeepsOldRecordTtls,
    ForgetsCreatedAt,
    CountsWithoutFilters,
    ScansWithoutFilters,
    IgnoresThresholds,
    HitsCarryEmbeddings,
    NeverComplete,
    WeighsAllWordsAlike,
    IgnoresLengths,
    WeighsExpiredTexts,
    FindsWithoutWords,
    FoldsIds,
    UnbindsWhenEmpty,
    ReadsByIdOrder,
    LosesLanguages,
    CutsContent,
    IncrementsDropMetadata,
    IncrementsClearExpiry,
    WrapsCounters,
    PutsForgetCreatedAt,
    SlidesByPutting,
    SlidesTheEternal,
    DeletesAtAnyVersion,
    ListsDescending,
    ListsExpired,
    ReadsManySorted,
    ConflictsWithoutVersions,
    CountsExpiredEntries,
    RoundsTtls,
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
    general(
        Fault::HealthyWithoutAStore,
        "health asks nobody",
        "general::e2::a_store_out_of_reach_is_unavailable_and_may_be_retried",
    ),
    general(
        Fault::EmptyWithoutAStore,
        "a lost store answers as if it were empty",
        "general::e5::a_lost_store_is_an_error_and_never_an_empty_answer",
    ),
    general(
        Fault::LosesInACrash,
        "what is acknowledged is gone after a crash",
        "general::g6::what_was_acknowledged_is_there_after_a_crash_where_that_is_claimed",
    ),
    general(
        Fault::PurgesTheIndexAlone,
        "a purge leaves what it removes on the medium",
        "general::w8::a_purge_frees_what_it_removes",
    ),
    general(
        Fault::ErasesTwice,
        "a second erasure counts what the first removed",
        "general::g12::a_second_erasure_finds_nothing",
    ),
    conversations(
        Fault::ForgetsIdsOfTheEvicted,
        "ids are forgotten with their messages",
        "conversations::c3::a_message_is_known_after_eviction_however_old_it_was",
    ),
    conversations(
        Fault::ForgetsIdsAtClear,
        "clearing forgets the ids",
        "conversations::c3::a_cleared_message_is_known",
    ),
    conversations(
        Fault::TrimsOnReplay,
        "a replay applies its retention",
        "conversations::c3::a_replay_applies_no_retention",
    ),
    conversations(
        Fault::TotalsWhatMatches,
        "the total counts what the read found",
        "conversations::c6::a_read_says_how_many_the_conversation_holds",
    ),
    conversations(
        Fault::TakesUntilAsInclusive,
        "until is taken as inclusive",
        "conversations::c6::since_is_inclusive_and_until_exclusive",
    ),
    conversations(
        Fault::TakesAfterAsInclusive,
        "after_seq is taken as inclusive",
        "conversations::c6::after_and_before_are_exclusive",
    ),
    conversations(
        Fault::ReadsTheOldest,
        "a limit takes the oldest messages",
        "conversations::c6::limit_takes_the_newest_and_returns_them_ascending",
    ),
    conversations(
        Fault::ReadsDescending,
        "messages are read newest first",
        "conversations::c6::limit_takes_the_newest_and_returns_them_ascending",
    ),
    conversations(
        Fault::DropsNames,
        "messages lose their names",
        "conversations::c5::a_chat_transcript_comes_out_unchanged",
    ),
    conversations(
        Fault::CountsToolsAsUsers,
        "statistics count tool messages as the user's",
        "conversations::c8::statistics_are_exact",
    ),
    conversations(
        Fault::EvictsTheNewest,
        "a newest message over the token limit is evicted",
        "conversations::c4::the_newest_stays_even_alone_over_the_limit",
    ),
    conversations(
        Fault::IgnoresTokenLimits,
        "retention ignores max_tokens",
        "conversations::c4::max_tokens_keeps_the_longest_suffix_that_fits",
    ),
    conversations(
        Fault::TrimsOneTooMany,
        "trim keeps one message fewer than it may",
        "conversations::c4::trim_applies_the_same_rule_alone",
    ),
    conversations(
        Fault::HidesCleared,
        "a cleared conversation is not listed",
        "conversations::c9::a_cleared_conversation_is_still_listed",
    ),
    conversations(
        Fault::ClearsTheScope,
        "clearing one conversation clears its siblings",
        "conversations::c9::clear_leaves_other_conversations_alone",
    ),
    conversations(
        Fault::AppendsByReadingAll,
        "an append reads every message",
        "conversations::c10::an_append_costs_the_same_in_a_conversation_that_has_grown",
    ),
    conversations(
        Fault::CountsByReadingAll,
        "statistics read every message",
        "conversations::c8::statistics_cost_the_same_in_a_conversation_that_has_grown",
    ),
    conversations(
        Fault::RestoresWithoutTimes,
        "what is restored gets the time of now",
        "conversations::c11::messages_come_back_with_their_numbers_and_times",
    ),
    vectors(
        Fault::KeepsOldRecordTtls,
        "storing a record again keeps the old ttl",
        "vectors::v11::storing_again_without_a_ttl_clears_the_old_one",
    ),
    vectors(
        Fault::ForgetsCreatedAt,
        "an update is a delete and an insert",
        "vectors::v1::any_difference_is_an_update_that_keeps_created_at",
    ),
    vectors(
        Fault::CountsWithoutFilters,
        "a count ignores its filter",
        "vectors::v8::negation_is_exact",
    ),
    vectors(
        Fault::ScansWithoutFilters,
        "a scan ignores its filter",
        "vectors::g11::a_walk_returns_what_matches",
    ),
    vectors(
        Fault::IgnoresThresholds,
        "a search ignores its threshold",
        "vectors::v5::the_threshold_is_inclusive",
    ),
    vectors(
        Fault::HitsCarryEmbeddings,
        "hits carry their embeddings",
        "vectors::v4::a_hit_scores_its_similarity_and_carries_no_embedding",
    ),
    vectors(
        Fault::NeverComplete,
        "every result is called incomplete",
        "vectors::v7::a_limit_past_the_matches_returns_all_of_them",
    ),
    vectors(
        Fault::WeighsAllWordsAlike,
        "a rare word weighs as much as a common one",
        "vectors::v9::a_rarer_word_ranks_higher",
    ),
    vectors(
        Fault::IgnoresLengths,
        "relevance ignores the length of texts",
        "vectors::v9::a_shorter_record_ranks_higher",
    ),
    vectors(
        Fault::WeighsExpiredTexts,
        "expired records count in the corpus",
        "vectors::v11::an_expired_record_does_not_weigh_on_the_mean_length",
    ),
    vectors(
        Fault::FindsWithoutWords,
        "a text search returns records without a word of it",
        "vectors::v9::a_text_finds_the_records_with_its_words",
    ),
    vectors(
        Fault::FoldsIds,
        "record ids in lower case",
        "vectors::g9::only_the_named_records_are_deleted",
    ),
    vectors(
        Fault::UnbindsWhenEmpty,
        "a namespace without records loses its space",
        "vectors::v3::a_namespace_without_records_stays_bound",
    ),
    vectors(
        Fault::ReadsByIdOrder,
        "records are read in the order of their ids",
        "vectors::v1::records_are_read_in_the_order_asked_for",
    ),
    vectors(
        Fault::LosesLanguages,
        "records lose their language",
        "vectors::v9::stems_match_where_a_language_is_given",
    ),
    vectors(
        Fault::CutsContent,
        "content is cut at 64 KiB",
        "vectors::g4::content_is_kept_to_its_limit",
    ),
    working(
        Fault::IncrementsDropMetadata,
        "an increment drops the metadata",
        "working::w6::an_increment_keeps_expiry_and_metadata",
    ),
    working(
        Fault::IncrementsClearExpiry,
        "an increment clears the expiry",
        "working::w6::an_increment_keeps_expiry_and_metadata",
    ),
    working(
        Fault::WrapsCounters,
        "a counter wraps past i64",
        "working::w6::overflow_is_a_conflict_on_both_sides_and_changes_nothing",
    ),
    working(
        Fault::PutsForgetCreatedAt,
        "a put is a delete and an insert",
        "working::g8::a_put_keeps_created_at_and_moves_updated_at",
    ),
    working(
        Fault::SlidesByPutting,
        "a sliding read writes the entry again",
        "working::w4::a_read_may_extend_the_expiry",
    ),
    working(
        Fault::SlidesTheEternal,
        "a sliding read gives an expiry to what had none",
        "working::w4::a_read_never_gives_an_expiry_to_an_entry_without",
    ),
    working(
        Fault::DeletesAtAnyVersion,
        "a delete ignores its condition",
        "working::w3::a_conditional_delete_removes_only_that_version",
    ),
    working(
        Fault::ListsDescending,
        "a page lists its keys descending",
        "working::w5::keys_ascend_by_their_bytes",
    ),
    working(
        Fault::ListsExpired,
        "expired entries are listed",
        "working::w5::an_expired_entry_takes_no_place_on_a_page",
    ),
    working(
        Fault::ReadsManySorted,
        "a read of many is sorted by key",
        "working::w7::get_many_keeps_the_order_of_the_keys_and_leaves_out_what_is_missing",
    ),
    working(
        Fault::ConflictsWithoutVersions,
        "a conflict does not say the current version",
        "working::w3::if_absent_stores_only_what_is_not_there",
    ),
    working(
        Fault::CountsExpiredEntries,
        "statistics count expired entries",
        "working::w2::an_expired_entry_is_absent_for_every_purpose",
    ),
    working(
        Fault::RoundsTtls,
        "a ttl is rounded up to whole seconds",
        "working::w2::an_expired_entry_is_absent_for_every_purpose",
    ),
];
