//! A fixture, and no Qdrant: the server of the tests, on a port of its own, to try the command line
//! on where no Qdrant is at hand.
//! `cargo run -p memquill-qdrant --features edge --example fixture -- FOLDER` says its address.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a tool of the tests that fails loudly"
)]
#![allow(dead_code, reason = "it does not use all of the fixture")]

#[path = "../tests/support/fixture.rs"]
mod fixture;
#[path = "../tests/support/strict.rs"]
mod strict;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "fixture".to_owned());
    let fixture = fixture::Fixture::start(folder.as_ref(), None, None, fixture::obliging());
    println!("qdrant://{}", fixture.address);
    loop {
        std::thread::park();
    }
}
