//! Faults of conversations.

use super::{Case, Fault};

pub(super) const CASES: &[Case] = &[
    Case {
        fault: Fault::ReusesEvictedNumbers,
        what: "numbers are places",
        guard: "conversations::c4::evicted_numbers_are_never_used_again",
    },
    Case {
        fault: Fault::RestartsNumbersAfterClear,
        what: "a cleared conversation begins at 1",
        guard: "conversations::c9::clear_says_how_many_went_and_numbering_goes_on",
    },
    Case {
        fault: Fault::LosesMessagesToOthers,
        what: "an append is a read and a write",
        guard: "conversations::c1::concurrent_appends_leave_no_gap_and_no_repeat",
    },
    Case {
        fault: Fault::SplitsBatches,
        what: "a batch is stored message by message",
        guard: "conversations::g5::a_reader_sees_whole_batches_only",
    },
    Case {
        fault: Fault::StoresRetriesTwice,
        what: "a repeated append appends again",
        guard: "conversations::c3::a_repeated_batch_returns_its_first_numbers_and_changes_nothing",
    },
    Case {
        fault: Fault::RestoresByAppending,
        what: "what is restored gets new numbers",
        guard: "conversations::c11::messages_come_back_with_their_numbers_and_times",
    },
    Case {
        fault: Fault::IgnoresRoles,
        what: "a read ignores its roles",
        guard: "conversations::c6::roles_select",
    },
    Case {
        fault: Fault::LimitsBeforeFiltering,
        what: "a read filters the newest",
        guard: "conversations::c6::conditions_combine_and_limit_applies_last",
    },
    Case {
        fault: Fault::TakesSinceAsExclusive,
        what: "since is taken as exclusive",
        guard: "conversations::c6::since_is_inclusive_and_until_exclusive",
    },
    Case {
        fault: Fault::EvictsSystemMessages,
        what: "system messages are evicted",
        guard: "conversations::c4::system_messages_stay_and_count_first",
    },
    Case {
        fault: Fault::CountsTokensIn32Bits,
        what: "token counts wrap",
        guard: "conversations::c8::tokens_add_up_beyond_32_bits",
    },
    Case {
        fault: Fault::ForgetsIdsOfTheEvicted,
        what: "ids are forgotten with their messages",
        guard: "conversations::c3::a_message_is_known_after_eviction_however_old_it_was",
    },
    Case {
        fault: Fault::ForgetsIdsAtClear,
        what: "clearing forgets the ids",
        guard: "conversations::c3::a_cleared_message_is_known",
    },
    Case {
        fault: Fault::TrimsOnReplay,
        what: "a replay applies its retention",
        guard: "conversations::c3::a_replay_applies_no_retention",
    },
    Case {
        fault: Fault::TotalsWhatMatches,
        what: "the total counts what the read found",
        guard: "conversations::c6::a_read_says_how_many_the_conversation_holds",
    },
    Case {
        fault: Fault::TakesUntilAsInclusive,
        what: "until is taken as inclusive",
        guard: "conversations::c6::since_is_inclusive_and_until_exclusive",
    },
    Case {
        fault: Fault::TakesAfterAsInclusive,
        what: "after_seq is taken as inclusive",
        guard: "conversations::c6::after_and_before_are_exclusive",
    },
    Case {
        fault: Fault::ReadsTheOldest,
        what: "a limit takes the oldest messages",
        guard: "conversations::c6::limit_takes_the_newest_and_returns_them_ascending",
    },
    Case {
        fault: Fault::ReadsDescending,
        what: "messages are read newest first",
        guard: "conversations::c6::limit_takes_the_newest_and_returns_them_ascending",
    },
    Case {
        fault: Fault::DropsNames,
        what: "messages lose their names",
        guard: "conversations::c5::a_chat_transcript_comes_out_unchanged",
    },
    Case {
        fault: Fault::CountsToolsAsUsers,
        what: "statistics count tool messages as the user's",
        guard: "conversations::c8::statistics_are_exact",
    },
    Case {
        fault: Fault::EvictsTheNewest,
        what: "a newest message over the token limit is evicted",
        guard: "conversations::c4::the_newest_stays_even_alone_over_the_limit",
    },
    Case {
        fault: Fault::IgnoresTokenLimits,
        what: "retention ignores max_tokens",
        guard: "conversations::c4::max_tokens_keeps_the_longest_suffix_that_fits",
    },
    Case {
        fault: Fault::TrimsOneTooMany,
        what: "trim keeps one message fewer than it may",
        guard: "conversations::c4::trim_applies_the_same_rule_alone",
    },
    Case {
        fault: Fault::HidesCleared,
        what: "a cleared conversation is not listed",
        guard: "conversations::c9::a_cleared_conversation_is_still_listed",
    },
    Case {
        fault: Fault::ListsByNameAlone,
        what: "a listing by activity is one by name",
        guard: "conversations::c12::the_most_recently_active_come_first",
    },
    Case {
        fault: Fault::ClearsForDelete,
        what: "a deleted conversation is only cleared",
        guard: "conversations::c13::a_deleted_conversation_leaves_nothing",
    },
    Case {
        fault: Fault::TruncatesOneTooFew,
        what: "a truncation leaves the message behind the number",
        guard: "conversations::c14::a_truncation_removes_all_behind_a_number",
    },
    Case {
        fault: Fault::PopsNewestFirst,
        what: "popped messages come newest first",
        guard: "conversations::c14::a_pop_returns_the_newest_in_their_order",
    },
    Case {
        fault: Fault::IgnoresTheNewestSeq,
        what: "a removal ignores its condition",
        guard: "conversations::c14::a_condition_that_fails_changes_nothing_and_says_the_newest",
    },
    Case {
        fault: Fault::EvictsBehindTheLast,
        what: "retention evicts what nobody has summarized",
        guard: "conversations::c4::nothing_is_evicted_behind_the_last_number_that_may_be",
    },
    Case {
        fault: Fault::KeepsTheIncarnation,
        what: "a conversation that is deleted and made again passes for the old one",
        guard: "conversations::c15::an_incarnation_lasts_until_the_conversation_is_deleted",
    },
    Case {
        fault: Fault::RestoresWithoutLineage,
        what: "a restored conversation has no lineage",
        guard: "conversations::c15::a_lineage_is_restored_with_its_conversation",
    },
    Case {
        fault: Fault::ClearsTheScope,
        what: "clearing one conversation clears its siblings",
        guard: "conversations::c9::clear_leaves_other_conversations_alone",
    },
    Case {
        fault: Fault::AppendsByReadingAll,
        what: "an append reads every message",
        guard: "conversations::c10::an_append_costs_the_same_in_a_conversation_that_has_grown",
    },
    Case {
        fault: Fault::CountsByReadingAll,
        what: "statistics read every message",
        guard: "conversations::c8::statistics_cost_the_same_in_a_conversation_that_has_grown",
    },
    Case {
        fault: Fault::RestoresWithoutTimes,
        what: "what is restored gets the time of now",
        guard: "conversations::c11::messages_come_back_with_their_numbers_and_times",
    },
];
