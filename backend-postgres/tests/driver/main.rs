//! What is Postgres' own: that row level security and the driver's conditions each keep users
//! apart alone, that an operation is one round trip, that a schema is migrated by many at once, and
//! what each fault of a server becomes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod administering;
mod broken_servers;
mod connecting;
mod dropped;
#[cfg(feature = "entities")]
mod entities;
mod faults;
mod foreign;
mod growth;
mod outgrown;
mod partitioned;
mod plans;
mod pooler;
mod predicates;
mod restoring;
mod round_trips;
mod row_security;
mod secure;
#[path = "../support/mod.rs"]
mod support;
mod versions;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use support::server::{self, Server};

/// A test on a server that others use too.
type Test = (&'static str, fn(Arc<Server>) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// The tests of these names in a module.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), |server| {
            Box::pin($module::$name(server))
        })),*]
    };
}

const TESTS: &[Test] = &tests![
    administering::a_role_that_sees_no_rows_does_not_administer,
    administering::e1_a_purge_that_breaks_off_says_that_it_has_done_something,
    broken_servers::a_full_disk_is_unavailable_until_there_is_space,
    broken_servers::a_server_without_pgvector_is_told_what_to_install,
    broken_servers::g6_a_crash_is_survived_only_where_the_settings_say_so,
    connecting::a_role_that_row_level_security_does_not_bind_is_refused,
    connecting::what_is_missing_is_named_with_what_to_run,
    connecting::g13_sixteen_migrations_at_once_leave_one_schema,
    connecting::an_owner_without_other_rights_administers,
    connecting::a_database_of_another_encoding_is_refused,
    dropped::g7_the_server_stops_working_for_dropped_calls,
    dropped::g7_without_settings_dropped_calls_keep_their_place_in_the_pool,
    faults::wrong_credentials_are_permission_denied,
    faults::a_lost_connection_is_unavailable_and_the_next_call_works,
    faults::a_statement_that_waits_too_long_is_a_timeout,
    faults::a_read_only_server_is_permission_denied,
    faults::a_server_without_connections_is_unavailable,
    faults::a_restarted_server_is_used_again,
    faults::a_server_that_stands_still_is_a_timeout,
    faults::a_call_that_fails_by_a_concurrent_one_is_to_be_repeated,
    faults::a_deadlock_is_repeated,
    faults::w3_a_conditional_batch_is_decided_again_after_a_concurrent_one,
    faults::g7_a_dropped_call_leaves_the_handle_usable,
    foreign::g13_a_schema_with_something_of_others_is_refused_and_left_alone,
    foreign::g13_the_public_schema_of_an_application_is_refused,
    foreign::g13_an_empty_schema_is_filled_and_keeps_its_comment,
    foreign::an_owner_fills_an_empty_schema_without_rights_on_the_database,
    foreign::g1_what_others_put_into_the_schema_later_stays_closed_to_the_data_role,
    foreign::operations_md_moves_the_tables_out_of_a_schema_of_others,
    growth::no_write_reads_more_the_more_is_stored,
    outgrown::v7_an_index_serves_what_exact_search_has_outgrown,
    outgrown::v7_a_scan_that_reached_its_limit_is_not_complete,
    outgrown::v7_long_vectors_are_indexed_in_half_precision_or_not_at_all,
    outgrown::v12_an_index_finds_what_was_stored_since_and_no_ghosts,
    outgrown::g1_users_in_one_index_are_kept_apart,
    outgrown::an_index_that_broke_off_is_built_anew,
    partitioned::tables_may_be_partitioned_by_user,
    plans::every_hot_statement_goes_by_its_index,
    plans::a_plan_of_an_empty_table_goes_by_the_key,
    pooler::many_users_share_two_connections_and_nothing_else,
    pooler::a_pooler_without_prepared_statements_is_config_and_can_be_used,
    predicates::every_condition_on_the_user_is_needed_and_enough,
    restoring::json_is_identical_in_any_order_of_its_keys,
    restoring::v13_a_counterpart_may_have_its_keys_in_another_order,
    restoring::w9_versions_are_raised_to_an_end_and_never_lowered,
    round_trips::every_operation_is_one_round_trip,
    row_security::every_policy_and_every_force_is_needed,
    secure::certificates_are_verified_beyond_this_machine,
    versions::w3_a_put_that_waited_has_a_greater_version_than_whom_it_waited_for,
    waiting::g9_a_delete_during_a_rebinding_deletes_what_took_the_name,
    waiting::g6_a_rebinding_behind_another_loses_nothing,
    waiting::w2_a_delete_that_waited_does_not_count_what_has_expired,
    waiting::w4_a_sliding_read_that_waited_extends_what_lives,
    waiting::w4_a_sliding_read_that_waited_revives_nothing,
    waiting::w8_a_purge_waits_for_those_who_hold_what_has_expired,
];

#[cfg(feature = "entities")]
const ENTITIES: &[Test] = &tests![
    entities::g1_entities_are_the_tables_and_show_the_rows_of_one_user,
    entities::g1_an_application_joins_messages_under_its_own_tenancy,
    entities::g1_a_role_that_sees_all_rows_is_refused,
];
#[cfg(not(feature = "entities"))]
const ENTITIES: &[Test] = &[];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let server = match Server::any() {
        Ok(server) => Arc::new(server),
        Err(why) => return server::missing("driver::a_server", why),
    };
    let runtime = Arc::new(
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"),
    );
    let trials = TESTS.iter().chain(ENTITIES).map(|(name, test)| {
        let (server, runtime) = (Arc::clone(&server), Arc::clone(&runtime));
        Trial::test(*name, move || {
            let running = runtime.spawn(test(server));
            runtime.block_on(running).map_err(|error| {
                let panic = error.try_into_panic().ok();
                let message = panic.and_then(|panic| {
                    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    text.or_else(|| panic.downcast_ref::<String>().cloned())
                });
                Failed::from(message.unwrap_or_else(|| "a panic without a message".into()))
            })
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
