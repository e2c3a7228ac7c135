//! What the tests of several packages share: servers, gates before them, names, ports.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests fail by panicking")]

mod gate;
#[cfg(feature = "redis")]
pub mod redis;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use self::gate::Gate;

/// The image that `cargo xtask images` builds.
pub const OWN_IMAGE: (&str, &str) = ("memquill/stores", "trixie-2");

/// Makes a name that no other test of this machine uses, of lower case letters, digits and `_`.
pub fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("t{:x}_{}", moment.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Says whether `MEMQUILL_REQUIRE` names the store.
pub fn is_required(store: &str) -> bool {
    let required = std::env::var("MEMQUILL_REQUIRE").unwrap_or_default();
    required.split(',').any(|name| name.trim() == store)
}

/// Says whether the machine has the binary.
pub fn has(binary: &str) -> bool {
    let version = Command::new(binary).arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Finds a port that nobody listens on, and that this process gives to nobody else: a server that is
/// dead for a while finds its own free again. The system gives out none of these by itself.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Each process begins somewhere else.
        let begin = std::process::id().wrapping_mul(7_919);
        let at = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + at % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something holds.
#[track_caller]
pub fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "it does not hold within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}
