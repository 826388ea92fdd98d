//! The identity of an instance at a NATS server: a user or a token in the address, or a file.
use std::io;
use std::path::Path;

use async_nats::{ConnectOptions, ServerAddr};

use super::options::NatsError;

/// Characters of a key's seed: a user's begins with `SU`.
const SEED: usize = 58;

/// Adds what the addresses and the file of credentials say. The crate uses neither by itself.
pub(super) fn add(
    mut options: ConnectOptions,
    servers: &[ServerAddr],
    file: Option<&Path>,
) -> Result<ConnectOptions, NatsError> {
    let mut named = servers.iter().filter_map(named);
    if let Some(first) = named.next() {
        if named.any(|other| other != first) {
            let why = "servers of one deployment have one user or token".to_owned();
            return Err(NatsError::Address(why));
        }
        options = match first {
            (user, Some(password)) => options.user_and_password(user, password),
            (token, None) => options.token(token),
        };
    }
    let Some(path) = file else { return Ok(options) };
    let unusable = |e| NatsError::File(path.to_owned(), e);
    let text = std::fs::read_to_string(path).map_err(unusable)?;
    match seed(&text) {
        Some(seed) => Ok(options.nkey(seed.to_owned())),
        None => options.credentials(&text).map_err(unusable),
    }
}

/// The user with its password, or the token, in an address.
fn named(server: &ServerAddr) -> Option<(String, Option<String>)> {
    let user = server.username()?;
    Some((decoded(user), server.password().map(decoded)))
}

/// A part of an address as it was meant: `%40` is `@`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The seed in a file that has no claim beside it.
fn seed(text: &str) -> Option<&str> {
    let base32 = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
    let lines = || text.lines().map(str::trim);
    if lines().any(|line| line.contains("JWT")) {
        return None;
    }
    lines().find(|line| line.len() == SEED && line.starts_with("SU") && line.chars().all(base32))
}

/// That each of these files can be read.
pub(super) fn readable<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), NatsError> {
    for path in files {
        let found: io::Result<_> = std::fs::metadata(path);
        found.map_err(|e| NatsError::File(path.to_owned(), e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_an_address_is_read_as_it_was_meant() {
        let of = |text: &str| named(&text.parse().unwrap());
        assert_eq!(of("nats://a:4222"), None);
        assert_eq!(of("nats://t%251@a"), Some(("t%1".into(), None)));
        assert_eq!(of("tls://u:p%40%2F%C3%A4@a"), Some(("u".into(), Some("p@/ä".into()))));
        assert_eq!(decoded("%"), "%");
        assert_eq!(decoded("%4"), "%4");
        assert_eq!(decoded("%zz%+1"), "%zz%+1");
    }

    #[test]
    fn servers_with_different_names_are_refused_without_saying_them() {
        let servers = ["nats://u:secret@a", "nats://b", "nats://u:other@c"];
        let servers: Vec<ServerAddr> = servers.iter().map(|s| s.parse().unwrap()).collect();
        assert!(add(ConnectOptions::new(), &servers[..2], None).is_ok());
        let error = add(ConnectOptions::new(), &servers, None).err().unwrap().to_string();
        assert!(error.contains("one user") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_file_has_a_seed_or_a_claim() {
        let key = format!("SU{}", "A".repeat(SEED - 2));
        assert_eq!(seed(&format!("# ours\n  {key}\r\n")), Some(key.as_str()));
        assert_eq!(seed(&format!("-----BEGIN NATS USER JWT-----\nx\n{key}")), None);
        assert_eq!(seed("SUA"), None);
        assert_eq!(seed(&key.to_lowercase()), None);
    }
}
