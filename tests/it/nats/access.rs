//! How an instance gets into a NATS server that does not let everybody in.
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lastword::nats::NatsOptions;
use lastword::ports::{Received, Signals, To};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::NatsServer;
use super::{KEY, Node, hint, options};

/// The address with something in front of the host.
fn with(server: &NatsServer, user: &str) -> NatsOptions {
    options(&format!("nats://{user}@{}", server.address()))
}

/// Whether two instances with these options hear each other.
async fn hear_each_other(of: &NatsOptions) {
    let mut nodes = [Node::begin(of.clone(), KEY), Node::begin(of.clone(), KEY)];
    for node in &mut nodes {
        assert_eq!(node.next().await, Received::Gap, "it is let in");
    }
    let [one, mut two] = nodes;
    let signal = hint();
    one.signals.send(To::All, signal.clone());
    assert_eq!(two.signal().await, signal);
    one.stop().await;
    two.stop().await;
}

/// Whether it stays outside, as the server's log says, and ends all the same.
async fn is_kept_out(server: &NatsServer, of: NatsOptions, said: &str) {
    let node = Node::begin(of, KEY);
    server.logs(said).await;
    assert!(!node.signals.work());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_token_stand_in_the_address() {
    let lines = "authorization { user: \"ai\", password: \"p@ss/word\" }";
    let server = NatsServer::configured(lines).await;
    hear_each_other(&with(&server, "ai:p%40ss%2Fword")).await;
    is_kept_out(&server, with(&server, "ai:wrong"), "authentication error").await;
    let server = NatsServer::configured("authorization { token: \"t%1\" }").await;
    hear_each_other(&with(&server, "t%251")).await;
    is_kept_out(&server, options(&server.url()), "authentication error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_nats_stands_in_a_file() {
    let user = KeyPair::new_user();
    let lines = format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key());
    let server = NatsServer::configured(&lines).await;
    let dir = TempDir::new().unwrap();
    let file = |name: &str, key: &KeyPair| {
        let path = dir.path().join(name);
        fs::write(&path, format!("# of the instances\n{}\n", key.seed().unwrap())).unwrap();
        NatsOptions { credentials: Some(path), ..options(&server.url()) }
    };
    hear_each_other(&file("ours", &user)).await;
    is_kept_out(&server, file("theirs", &KeyPair::new_user()), "authentication error").await;
}

/// A claim of NATS as a JWT, signed by `issuer`.
fn claim(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = part(json!({
        "jti": "test", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": "test", "nats": nats,
    }));
    let signed = format!("{head}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_credentials_holds_a_claim_and_its_key() {
    let (operator, account, user) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let all = json!({ "subs": -1, "data": -1, "payload": -1 });
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    let top = claim(&operator, &operator, json!({ "type": "operator", "version": 2 }));
    let nats = json!({ "type": "account", "version": 2, "limits": limits });
    let middle = claim(&operator, &account, nats);
    let mut nats = json!({ "type": "user", "version": 2, "pub": {}, "sub": {} });
    nats.as_object_mut().unwrap().extend(all.as_object().unwrap().clone());
    let jwt = claim(&account, &user, nats);
    let lines = format!(
        "operator: \"{top}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{middle}\" }}",
        account.public_key()
    );
    let server = NatsServer::configured(&lines).await;
    let dir = TempDir::new().unwrap();
    let file = |name: &str, key: &KeyPair| {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            key.seed().unwrap()
        );
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        NatsOptions { credentials: Some(path), ..options(&server.url()) }
    };
    hear_each_other(&file("ours", &user)).await;
    is_kept_out(&server, file("theirs", &KeyPair::new_user()), "authentication error").await;
}

/// An authority, and certificates of it for a name, each as a file and its key's.
struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    root: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = dir.join(format!("{name}.pem"));
        fs::write(&root, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), root }
    }

    fn certificate(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let (file, of_key) = (dir.join(name), dir.join(format!("{name}.key")));
        fs::write(&file, made.pem()).unwrap();
        fs::write(&of_key, key.serialize_pem()).unwrap();
        (file, of_key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_server_is_checked_and_may_check_the_instance() {
    let files = TempDir::new().unwrap();
    let (ours, theirs) =
        (Authority::new(files.path(), "ours"), Authority::new(files.path(), "theirs"));
    let (certificate, key) = ours.certificate(files.path(), "server");
    let client = ours.certificate(files.path(), "client");
    let foreign = theirs.certificate(files.path(), "foreign");
    let lines = |more: &str| {
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", {more} }}",
            certificate.display(),
            key.display()
        )
    };
    let of = |server: &NatsServer, root: &Authority, client: Option<&(PathBuf, PathBuf)>| {
        let servers = format!("tls://{}", server.address());
        NatsOptions {
            root_certificates: Some(root.root.clone()),
            client_certificate: client.cloned(),
            ..options(&servers)
        }
    };
    let server = NatsServer::configured(&lines("")).await;
    hear_each_other(&of(&server, &ours, None)).await;
    // The server that asks for TLS gets it, also by an address that does not name it.
    let plain = NatsOptions { servers: server.url(), ..of(&server, &ours, None) };
    hear_each_other(&plain).await;
    is_kept_out(&server, of(&server, &theirs, None), "TLS handshake error").await;
    let server = NatsServer::configured(&lines(&format!(
        "ca_file: \"{}\", verify: true",
        ours.root.display()
    )))
    .await;
    hear_each_other(&of(&server, &ours, Some(&client))).await;
    is_kept_out(&server, of(&server, &ours, Some(&foreign)), "TLS handshake error").await;
}
