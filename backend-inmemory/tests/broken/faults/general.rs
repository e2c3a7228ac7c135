//! Faults of every facet.

use super::{Case, Fault};

pub(super) const CASES: &[Case] = &[
    Case {
        fault: Fault::FoldsUsers,
        what: "users in lower case",
        guard: "general::g1::names_that_differ_in_case_are_different_scopes",
    },
    Case {
        fault: Fault::TrimsUsers,
        what: "users without the spaces around",
        guard: "general::g1::names_that_differ_in_spaces_are_different_scopes",
    },
    Case {
        fault: Fault::TakesPrefixesOfUsers,
        what: "a user sees those whose name begins alike",
        guard: "general::g1::a_name_that_begins_alike_is_another_scope",
    },
    Case {
        fault: Fault::IgnoresNodes,
        what: "all nodes of a user are one",
        guard: "general::g1::another_node_of_the_same_user_sees_nothing",
    },
    Case {
        fault: Fault::JoinsUserAndNode,
        what: "keys are user and node with a colon between",
        guard: "general::g1::names_that_join_to_one_text_are_different_scopes",
    },
    Case {
        fault: Fault::EraseLeavesAFacet,
        what: "erasure forgets working memory",
        guard: "general::g12::an_erased_user_has_nothing_left_anywhere",
    },
    Case {
        fault: Fault::RevealsSecrets,
        what: "an error shows the password",
        guard: "general::e3::a_secret_reaches_no_error",
    },
    Case {
        fault: Fault::RoundsLargeIntegers,
        what: "integers go through a float",
        guard: "general::g3::integers_over_the_full_range_come_back",
    },
    Case {
        fault: Fault::PagesByOffset,
        what: "a cursor is a count of items",
        guard: "general::g11::a_cursor_outlives_the_item_it_points_at",
    },
    Case {
        fault: Fault::HealthyWithoutAStore,
        what: "health asks nobody",
        guard: "general::e2::a_store_out_of_reach_is_unavailable_and_may_be_retried",
    },
    Case {
        fault: Fault::EmptyWithoutAStore,
        what: "a lost store answers as if it were empty",
        guard: "general::e5::a_lost_store_is_an_error_and_never_an_empty_answer",
    },
    Case {
        fault: Fault::LosesInACrash,
        what: "what is acknowledged is gone after a crash",
        guard: "general::g6::what_was_acknowledged_is_there_after_a_crash_where_that_is_claimed",
    },
    Case {
        fault: Fault::PurgesTheIndexAlone,
        what: "a purge leaves what it removes on the medium",
        guard: "general::w8::a_purge_frees_what_it_removes",
    },
    Case {
        fault: Fault::ErasesTwice,
        what: "a second erasure counts what the first removed",
        guard: "general::g12::a_second_erasure_finds_nothing",
    },
];
