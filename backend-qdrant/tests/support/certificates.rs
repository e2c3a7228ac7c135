//! Certificates for a server on loopback.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate authority and a certificate of it for this machine, made by openssl: the paths of
/// authority, certificate and key.
pub(crate) fn certificates(folder: &Path) -> [PathBuf; 3] {
    let [ca, ca_key, certificate, key, request, extensions] =
        ["ca.pem", "ca.key", "server.pem", "server.key", "server.csr", "server.ext"]
            .map(|name| folder.join(name));
    std::fs::write(&extensions, "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    let openssl = |arguments: &[&str], paths: &[(&str, &Path)]| {
        let mut command = Command::new("openssl");
        command.args(arguments);
        for (option, path) in paths {
            command.arg(option).arg(path);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-subj"];
    openssl(
        &[&new[..], &["/CN=test CA", "-x509", "-days", "2"]].concat(),
        &[("-keyout", &ca_key), ("-out", &ca)],
    );
    openssl(&[&new[..], &["/CN=localhost"]].concat(), &[("-keyout", &key), ("-out", &request)]);
    openssl(
        &["x509", "-req", "-days", "2", "-CAcreateserial"],
        &[
            ("-in", &request),
            ("-CA", &ca),
            ("-CAkey", &ca_key),
            ("-extfile", &extensions),
            ("-out", &certificate),
        ],
    );
    [ca, certificate, key]
}
