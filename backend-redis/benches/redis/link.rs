//! A link as long as one between two machines, since loopback hides what a caller waits for.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Listens on a port, and carries bytes to and from a server on this machine, each way as late as
/// is asked for, however many are on the way. Ends with the process.
pub(crate) fn to(server: u16, late: Duration) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.unwrap();
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
            carry(near.try_clone().unwrap(), far.try_clone().unwrap(), late);
            carry(far, near, late);
        }
    });
    port
}

fn carry(mut from: TcpStream, mut to: TcpStream, late: Duration) {
    let (sender, on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if sender.send((Instant::now() + late, bytes[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    to.set_nodelay(true).unwrap();
    thread::spawn(move || {
        for (due, bytes) in on_the_way {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
