//! A CA and a server certificate, created with the program `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Paths of the files.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Creates the certificates, for these names.
pub(super) fn make(directory: &Path, names: &str) -> Certificates {
    let made = Certificates {
        ca: directory.join("fake-ca.crt"),
        certificate: directory.join("fake-server.crt"),
        key: directory.join("fake-server.key"),
    };
    let ca_key = directory.join("fake-ca.key");
    let request = directory.join("fake-server.csr");
    let extensions = directory.join("fake-server.ext");
    super::state::replace(
        &extensions,
        format!("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={names}\n")
            .as_bytes(),
    );
    let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
        Command::new("openssl").args(new).args(["-x509", "-days", "2", "-subj", "/CN=kubernetes"]).args([
            Path::new("-keyout"),
            &ca_key,
            Path::new("-out"),
            &made.ca,
        ]),
    );
    openssl(Command::new("openssl").args(new).args(["-subj", "/CN=kube-apiserver"]).args([
        Path::new("-keyout"),
        &made.key,
        Path::new("-out"),
        &request,
    ]));
    openssl(
        Command::new("openssl")
            .args(["x509", "-req", "-days", "1", "-CAcreateserial"])
            .args([Path::new("-in"), &request, Path::new("-out"), &made.certificate])
            .args([Path::new("-CA"), &made.ca, Path::new("-CAkey"), &ca_key])
            .args([Path::new("-extfile"), &extensions]),
    );
    made
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn openssl(command: &mut Command) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("cannot start openssl: {error}"),
    }
}
