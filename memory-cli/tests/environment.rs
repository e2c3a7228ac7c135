//! Which store is taken: what the command line says, else `MEMQUILL_STORE`, else what the
//! environment names for everybody where its driver is compiled in, else a file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use self::common::{Place, Run};

/// Nobody listens at port 1.
const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://u:CANARY@127.0.0.1:1/general");
const SUPABASE: (&str, &str) = ("SUPABASE_DB_URL", "postgres://u:CANARY@127.0.0.1:1/supabase");

fn health(variables: &[(&str, &str)], flags: &[&str]) -> Run {
    let args = flags.iter().chain(&["health", "--json"]);
    let run = Place::new().run_in(variables, args, "");
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("CANARY"), "E3: {}", run.stderr);
    run
}

/// The URL of the store that was taken.
#[track_caller]
fn taken(run: &Run) -> String {
    let answer: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    answer["stores"]["main"]["url"].as_str().unwrap().to_owned()
}

#[test]
fn the_command_line_and_our_own_variable_come_first() {
    let ours = ("MEMQUILL_STORE", "memory:ours");
    for (variables, flags, store) in [
        (vec![DATABASE, ours], vec!["--store=memory:line"], "memory:line"),
        (vec![DATABASE, SUPABASE, ours], vec![], "memory:ours"),
        (vec![("SUPABASE_URL", "https://x.supabase.co"), ours], vec![], "memory:ours"),
    ] {
        let run = health(&variables, &flags);
        assert_eq!((run.code, taken(&run).as_str()), (Some(0), store), "{}", run.stderr);
        assert_eq!(run.stderr, "", "only what was not asked for is told");
    }
}

#[test]
fn without_a_name_it_is_a_file() {
    for variables in [vec![], vec![("DATABASE_URL", "mysql://u@127.0.0.1/x")]] {
        let run = health(&variables, &[]);
        assert!(taken(&run).starts_with("sqlite:"), "{}", run.stdout);
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_postgres_of_the_environment_is_taken_and_told() {
    for (variables, store, name) in [
        (vec![DATABASE], "/general", "DATABASE_URL"),
        (vec![SUPABASE, DATABASE], "/general", "DATABASE_URL"),
        (vec![SUPABASE, ("DATABASE_URL", "mysql://u@127.0.0.1/x")], "/supabase", "SUPABASE_DB_URL"),
    ] {
        let run = health(&variables, &[]);
        // E5: the lost database is no reason to take a file.
        assert_eq!(run.code, Some(1));
        assert!(taken(&run).ends_with(store), "{}", run.stdout);
        assert!(run.stderr.starts_with("store: postgres://"), "{}", run.stderr);
        assert!(run.stderr.contains(name), "{}", run.stderr);
    }
}

#[cfg(feature = "postgres")]
#[test]
fn credentials_of_supabases_rest_api_are_told_what_to_use_instead() {
    for name in ["SUPABASE_URL", "SUPABASE_SECRET_KEY"] {
        let run = health(&[(name, "CANARY")], &[]);
        assert_eq!(run.code, Some(2));
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("SUPABASE_DB_URL"), "{said}");
    }
}

#[cfg(not(feature = "postgres"))]
#[test]
fn without_the_driver_a_postgres_of_the_environment_is_not_ours() {
    let run = health(&[DATABASE, ("SUPABASE_URL", "x")], &[]);
    assert!(taken(&run).starts_with("sqlite:"), "{}", run.stdout);
}
