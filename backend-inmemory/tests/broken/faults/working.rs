//! Faults of working memory.

use super::{Case, Fault};

pub(super) const CASES: &[Case] = &[
    Case {
        fault: Fault::IgnoresTtls,
        what: "entries never expire",
        guard: "working::w2::an_expired_entry_is_absent_for_every_purpose",
    },
    Case {
        fault: Fault::KeepsBytesAsText,
        what: "bytes are kept as a text",
        guard: "working::w1::bytes_come_back_as_they_are",
    },
    Case {
        fault: Fault::KeepsOldTtls,
        what: "storing again keeps the old ttl",
        guard: "working::w2::storing_again_without_a_ttl_clears_the_old_one",
    },
    Case {
        fault: Fault::ReturnsExpiredEntries,
        what: "a read of many returns what expired",
        guard: "working::w2::an_expired_entry_is_absent_for_every_purpose",
    },
    Case {
        fault: Fault::RevivesBySliding,
        what: "a sliding read revives what expired",
        guard: "working::w4::a_read_never_revives_an_expired_entry",
    },
    Case {
        fault: Fault::ShortensBySliding,
        what: "a sliding read brings the expiry forward",
        guard: "working::w4::a_read_never_brings_an_expiry_forward",
    },
    Case {
        fault: Fault::RestoresByPutting,
        what: "what is restored gets a new version",
        guard: "working::w9::entries_come_back_as_they_were",
    },
    Case {
        fault: Fault::RestartsVersions,
        what: "versions restart after a delete",
        guard: "working::w3::a_version_never_comes_back",
    },
    Case {
        fault: Fault::ChecksBeforeItPuts,
        what: "a condition is checked before the step that puts",
        guard: "working::w3::of_many_puts_if_absent_one_wins",
    },
    Case {
        fault: Fault::CallsConflictsInternal,
        what: "a conflict is an internal error",
        guard: "working::w3::if_absent_stores_only_what_is_not_there",
    },
    Case {
        fault: Fault::PutsManyOneByOne,
        what: "a batch is put entry by entry",
        guard: "working::g5::one_failing_condition_stores_nothing_of_a_batch",
    },
    Case {
        fault: Fault::LosesIncrementsToOthers,
        what: "an increment is a read and a write",
        guard: "working::w6::concurrent_increments_sum_exactly",
    },
    Case {
        fault: Fault::ListsByPattern,
        what: "a prefix is a LIKE pattern",
        guard: "working::w5::a_prefix_is_literal",
    },
    Case {
        fault: Fault::ClaimsWhatItRefuses,
        what: "counters are claimed and refused",
        guard: "working::w6::a_missing_key_counts_from_zero",
    },
    Case {
        fault: Fault::IncrementsDropMetadata,
        what: "an increment drops the metadata",
        guard: "working::w6::an_increment_keeps_expiry_and_metadata",
    },
    Case {
        fault: Fault::IncrementsClearExpiry,
        what: "an increment clears the expiry",
        guard: "working::w6::an_increment_keeps_expiry_and_metadata",
    },
    Case {
        fault: Fault::WrapsCounters,
        what: "a counter wraps past i64",
        guard: "working::w6::overflow_is_a_conflict_on_both_sides_and_changes_nothing",
    },
    Case {
        fault: Fault::PutsForgetCreatedAt,
        what: "a put is a delete and an insert",
        guard: "working::g8::a_put_keeps_created_at_and_moves_updated_at",
    },
    Case {
        fault: Fault::SlidesByPutting,
        what: "a sliding read writes the entry again",
        guard: "working::w4::a_read_may_extend_the_expiry",
    },
    Case {
        fault: Fault::SlidesTheEternal,
        what: "a sliding read gives an expiry to what had none",
        guard: "working::w4::a_read_never_gives_an_expiry_to_an_entry_without",
    },
    Case {
        fault: Fault::DeletesAtAnyVersion,
        what: "a delete ignores its condition",
        guard: "working::w3::a_conditional_delete_removes_only_that_version",
    },
    Case {
        fault: Fault::ListsDescending,
        what: "a page lists its keys descending",
        guard: "working::w5::keys_ascend_by_their_bytes",
    },
    Case {
        fault: Fault::ListsExpired,
        what: "expired entries are listed",
        guard: "working::w5::an_expired_entry_takes_no_place_on_a_page",
    },
    Case {
        fault: Fault::ReadsManySorted,
        what: "a read of many is sorted by key",
        guard: "working::w7::get_many_keeps_the_order_of_the_keys_and_leaves_out_what_is_missing",
    },
    Case {
        fault: Fault::ConflictsWithoutVersions,
        what: "a conflict does not say the current version",
        guard: "working::w3::if_absent_stores_only_what_is_not_there",
    },
    Case {
        fault: Fault::CountsExpiredEntries,
        what: "statistics count expired entries",
        guard: "working::w2::an_expired_entry_is_absent_for_every_purpose",
    },
    Case {
        fault: Fault::RoundsTtls,
        what: "a ttl is rounded up to whole seconds",
        guard: "working::w2::an_expired_entry_is_absent_for_every_purpose",
    },
];
