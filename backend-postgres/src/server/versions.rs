//! What versions of Postgres and pgvector are known to do wrong.

/// The first minor version of each major one whose row level security does not leak in ways that
/// were found in others (CVE-2024-10976, CVE-2025-8713). Those of 18 and later never did.
const SOUND: [(i32, i32); 3] = [(15, 14), (16, 10), (17, 6)];

/// Versions of pgvector whose HNSW indexes may be built or vacuumed wrongly: fixed in 0.8.4.
const FAULTY_VECTOR: [&str; 4] = ["0.8.0", "0.8.1", "0.8.2", "0.8.3"];

/// What is wrong with a version of Postgres, as `server_version_num` says it.
pub(crate) fn of_server(version: i32) -> Option<&'static str> {
    let (major, minor) = (version / 10_000, version % 10_000);
    SOUND.iter().any(|(known, sound)| *known == major && minor < *sound).then_some(
        "this version of PostgreSQL can leak rows past row level security (CVE-2024-10976, \
         CVE-2025-8713); update to the newest minor version",
    )
}

/// What is wrong with a version of pgvector.
pub(crate) fn of_vector(version: &str) -> Option<&'static str> {
    FAULTY_VECTOR.contains(&version).then_some(
        "this version of pgvector has faults in building and vacuuming HNSW indexes; update to \
         0.8.4 or newer",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_leak_rows_are_named() {
        for leaks in [150_000, 150_013, 160_000, 160_009, 170_000, 170_005] {
            assert!(of_server(leaks).unwrap().contains("CVE-2025-8713"), "{leaks}");
        }
        for sound in [150_014, 150_020, 160_010, 170_006, 170_012, 180_000, 180_006, 190_000] {
            assert_eq!(of_server(sound), None, "{sound}");
        }
    }

    #[test]
    fn extensions_that_index_wrongly_are_named() {
        for faulty in ["0.8.0", "0.8.1", "0.8.2", "0.8.3"] {
            assert!(of_vector(faulty).unwrap().contains("0.8.4"), "{faulty}");
        }
        for sound in ["0.8.4", "0.8.6", "0.8.10", "0.8.30", "0.9.0", "1.0.0"] {
            assert_eq!(of_vector(sound), None, "{sound}");
        }
    }
}
