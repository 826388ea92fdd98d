//! The address under which clients know this server. Behind a proxy it is another one than the
//! server sees: another host, another scheme, a path in front of ours.
use std::fmt::Write as _;
use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::uri::{PathAndQuery, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, web};

/// The directive of our pages by which no page may show them in a frame.
const NO_FRAMES: &str = "frame-ancestors 'none'";

/// The configuration of that address.
#[derive(Clone, Debug, Default)]
pub struct PublicAddress {
    known: Option<Known>,
    proxies: Vec<Network>,
    /// The directive in place of [`NO_FRAMES`].
    frames: Option<String>,
}

#[derive(Clone, Debug)]
struct Known {
    scheme: String,
    host: String,
    /// The path in front of ours: empty, or `/ai`.
    base: String,
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    bits: u32,
}

/// Why the configuration makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAddress {
    /// Not the address of a server.
    #[error("public_url is `{0}`: write it as https://chat.example or https://example.com/ai")]
    Url(String),
    /// Not a proxy's address.
    #[error("trusted_proxies has `{0}`: write an address or a network, as 10.0.0.0/8 or ::1")]
    Proxy(String),
    /// Not a page's origin.
    #[error("frame_ancestors has `{0}`: write origins as https://app.example, or \"self\"")]
    Ancestor(String),
}

impl PublicAddress {
    /// From the configuration's words.
    ///
    /// # Errors
    /// One of them makes no sense.
    pub fn parse(
        url: Option<&str>,
        proxies: &[String],
        ancestors: &[String],
    ) -> Result<Self, InvalidAddress> {
        let known = url.map(|url| Known::parse(url).ok_or_else(|| InvalidAddress::Url(url.into())));
        let network =
            |text: &String| Network::parse(text).ok_or_else(|| InvalidAddress::Proxy(text.clone()));
        let mut frames = None;
        for origin in ancestors {
            let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.:/[]*".contains(c);
            let is_origin = origin.contains("://") && origin.chars().all(plain);
            let word = if origin == "self" { "'self'" } else { origin };
            if !is_origin && origin != "self" {
                return Err(InvalidAddress::Ancestor(origin.clone()));
            }
            let directive = frames.get_or_insert_with(|| "frame-ancestors".to_owned());
            let _infallible = write!(directive, " {word}");
        }
        let proxies = proxies.iter().map(network).collect::<Result<_, _>>()?;
        Ok(Self { known: known.transpose()?, proxies, frames })
    }

    /// The path in front of ours: empty, or as `/ai`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.known.as_ref().map_or("", |known| &known.base)
    }

    /// A path of ours as somebody else can use it: a whole address if ours is configured.
    pub(super) fn outside(&self, path: &str) -> String {
        let before = |known: &Known| format!("{}://{}{}", known.scheme, known.host, known.base);
        self.known.as_ref().map(before).unwrap_or_default() + path
    }

    /// The scheme that clients use, if it is configured.
    pub(super) fn scheme(&self) -> Option<&str> {
        self.known.as_ref().map(|known| known.scheme.as_str())
    }

    /// The hosts under which this request may have been sent: what it says itself, what a trusted
    /// proxy says, and what is configured. The best is the last.
    pub(super) fn hosts(&self, request: &HttpRequest) -> Vec<String> {
        let forwarded = request.peer_addr().filter(|peer| self.trusts(peer.ip()));
        let forwarded = forwarded.and_then(|_| forwarded_host(request.headers()));
        let known = self.known.as_ref().map(|known| known.host.clone());
        [own_host(request), forwarded, known].into_iter().flatten().collect()
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(peer))
    }

    /// The path of ours behind the one that clients use; `None` if it is ours already.
    fn inner<'a>(&self, path: &'a str) -> Option<&'a str> {
        let base = Some(self.base()).filter(|base| !base.is_empty())?;
        let rest = path.strip_prefix(base)?;
        match rest.chars().next() {
            None => Some("/"),
            Some('?' | '/') => Some(rest),
            Some(_) => None,
        }
    }

    fn change(&self, headers: &mut HeaderMap) {
        let base = self.base();
        if let Some(here) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok())
            && here.starts_with('/')
            && let Ok(there) = HeaderValue::from_str(&format!("{base}{here}"))
        {
            headers.insert(header::LOCATION, there);
        }
        let policy = headers.get(header::CONTENT_SECURITY_POLICY).and_then(|v| v.to_str().ok());
        if let (Some(frames), Some(policy)) = (&self.frames, policy)
            && let Ok(policy) = HeaderValue::from_str(&policy.replace(NO_FRAMES, frames))
        {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
    }
}

impl Known {
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let base = uri.path().trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
        let good = uri.query().is_none() && base.chars().all(plain) && !base.contains("//");
        good.then(|| Self {
            scheme: scheme.into(),
            host: authority.as_str().to_ascii_lowercase(),
            base: base.into(),
        })
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, peer: IpAddr) -> bool {
        // An IPv4 client of a socket for both.
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(peer)) => {
                let differ = u32::from(ours) ^ u32::from(peer);
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(peer)) => {
                let differ = u128::from(ours) ^ u128::from(peer);
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The host that the request itself names: `Host`, or the authority of HTTP/2.
pub(super) fn own_host(request: &HttpRequest) -> Option<String> {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str());
    header.or(authority).map(str::to_owned)
}

/// The host that the nearest proxy names. Of several values the last is its own; those before came
/// from outside. So did one of the two fields, if they differ: a proxy that writes one of them
/// passes the other on.
fn forwarded_host(headers: &HeaderMap) -> Option<String> {
    let last = |name: HeaderName| {
        let value = headers.get_all(name).last()?.to_str().ok()?;
        value.rsplit(',').next().map(str::trim).map(str::to_owned)
    };
    // RFC 7239: `for=192.0.2.1;proto=https;host="chat.example"`.
    let forwarded = last(header::FORWARDED).and_then(|element| {
        let host = element.split(';').filter_map(|pair| pair.split_once('=')).find_map(|(k, v)| {
            k.trim().eq_ignore_ascii_case("host").then(|| v.trim().trim_matches('"').to_owned())
        });
        host.filter(|host| is_host(host))
    });
    let usual = last(HeaderName::from_static("x-forwarded-host")).filter(|host| is_host(host));
    match (forwarded, usual) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(&other).then_some(one),
        (one, other) => one.or(other),
    }
}

/// Whether it may be the name or the address of a host, with or without a port.
fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    !text.is_empty() && text.chars().all(plain)
}

/// The configured address, or that there is none.
pub(super) fn of(request: &HttpRequest) -> PublicAddress {
    request
        .app_data::<web::Data<PublicAddress>>()
        .map_or_else(PublicAddress::default, |address| address.get_ref().clone())
}

/// Wraps all: takes the path in front of ours off requests, and puts it in front of addresses that
/// leave. A proxy may have taken it off already.
///
/// # Errors
/// Only what the routes' services return.
pub async fn public(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let address = request.app_data::<web::Data<PublicAddress>>().cloned();
    let Some(address) = address else { return next.call(request).await };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if let Some(inner) = address.inner(path) {
        let inner = if inner.starts_with('?') { format!("/{inner}") } else { inner.to_owned() };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = inner.parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            request.match_info_mut().get_mut().update(&uri);
            request.head_mut().uri = uri;
        }
    }
    let mut response = next.call(request).await?;
    address.change(response.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn parse(
        url: &str,
        proxies: &[&str],
        frames: &[&str],
    ) -> Result<PublicAddress, InvalidAddress> {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        PublicAddress::parse((!url.is_empty()).then_some(url), &owned(proxies), &owned(frames))
    }

    #[test]
    fn a_path_in_front_is_taken_off_and_nothing_else() {
        let address = parse("https://Example.com/ai/", &[], &[]).unwrap();
        assert_eq!(address.base(), "/ai");
        for (path, inner) in [
            ("/ai", Some("/")),
            ("/ai?x=1", Some("?x=1")),
            ("/ai/v1/models", Some("/v1/models")),
            ("/v1/models", None),
            ("/aid", None),
        ] {
            assert_eq!(address.inner(path), inner, "{path}");
        }
        assert_eq!(parse("https://example.com", &[], &[]).unwrap().inner("/x"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        for url in ["example.com", "ftp://a", "https://u:p@a", "https://a/b?c", "https://a//b"] {
            assert!(matches!(parse(url, &[], &[]), Err(InvalidAddress::Url(_))), "{url}");
        }
        for proxy in ["", "10.0.0.0/33", "::1/129", "proxy.example", "10.0.0.0/-1"] {
            assert!(matches!(parse("", &[proxy], &[]), Err(InvalidAddress::Proxy(_))), "{proxy}");
        }
        for frame in ["app.example", "https://a; script-src *", "'self'"] {
            assert!(
                matches!(parse("", &[], &[frame]), Err(InvalidAddress::Ancestor(_))),
                "{frame}"
            );
        }
    }

    #[test]
    fn a_proxy_is_believed_only_if_it_is_trusted_and_only_its_own_word() {
        let address = parse("", &["10.0.0.0/8", "::1"], &[]).unwrap();
        let hosts = |peer: &str, name: &str, value: &str| {
            let request = TestRequest::get()
                .peer_addr(peer.parse().unwrap())
                .insert_header(("host", "inner:7878"))
                .insert_header((name, value))
                .to_http_request();
            address.hosts(&request)
        };
        let own = vec!["inner:7878".to_owned()];
        let both = vec!["inner:7878".to_owned(), "chat.example".to_owned()];
        assert_eq!(hosts("10.1.2.3:5", "x-forwarded-host", "evil.example, chat.example"), both);
        assert_eq!(hosts("[::ffff:10.1.2.3]:5", "x-forwarded-host", "chat.example"), both);
        assert_eq!(hosts("[::1]:5", "forwarded", "for=1;host=\"chat.example\";proto=https"), both);
        assert_eq!(hosts("[::1]:5", "forwarded", "for=1;proto=https"), own);
        assert_eq!(hosts("11.1.2.3:5", "x-forwarded-host", "chat.example"), own);
        assert_eq!(hosts("127.0.0.1:5", "forwarded", "host=chat.example"), own);
        assert_eq!(hosts("[2001:db8::1]:5", "forwarded", "host=chat.example"), own);
        // Several hops: what stands in front came from outside, whatever quotes are in it.
        for value in [
            "host=evil.example, for=192.0.2.1;host=chat.example",
            "for=\"evil, for=192.0.2.1;host=chat.example",
            "host=\"evil.example;\",for=192.0.2.1 ; Host=\"chat.example\"",
        ] {
            assert_eq!(hosts("10.1.2.3:5", "forwarded", value), both, "{value}");
        }
        for value in ["host=evil.example, for=192.0.2.1", "host=chat.example,", "host="] {
            assert_eq!(hosts("10.1.2.3:5", "forwarded", value), own, "{value}");
        }
        for host in ["chat.example:8443", "[2001:db8::1]:8443", "[::1]", "192.0.2.1:80"] {
            let found = hosts("10.1.2.3:5", "x-forwarded-host", host);
            assert_eq!(found, ["inner:7878", host]);
            let found = hosts("10.1.2.3:5", "forwarded", &format!("for=x;host=\"{host}\""));
            assert_eq!(found, ["inner:7878", host]);
        }
        for host in ["", "a b", "a/b", "a'b", "user@a", "a?b", "<a>", "a\"b", "a%b", "ä"] {
            assert_eq!(hosts("10.1.2.3:5", "x-forwarded-host", host), own, "{host} is no host");
        }
    }

    #[test]
    fn of_two_words_that_differ_one_is_a_clients_own() {
        let address = parse("", &["10.0.0.0/8"], &[]).unwrap();
        let hosts = |values: &[(&str, &str)]| {
            let request = TestRequest::get().peer_addr("10.1.2.3:5".parse().unwrap());
            let request = request.insert_header(("host", "inner"));
            let add = |request: TestRequest, value: &(&str, &str)| {
                request.append_header((value.0.to_owned(), value.1.to_owned()))
            };
            address.hosts(&values.iter().fold(request, add).to_http_request())
        };
        let (x, standard) = ("x-forwarded-host", "forwarded");
        // A proxy that writes one of them passes on what the client wrote into the other.
        assert_eq!(hosts(&[(standard, "host=evil.example"), (x, "chat.example")]), ["inner"]);
        assert_eq!(hosts(&[(standard, "host=chat.example"), (x, "evil.example")]), ["inner"]);
        let both = [(standard, "host=Chat.example"), (x, "chat.example")];
        assert_eq!(hosts(&both), ["inner", "Chat.example"]);
        // A field that stands twice is a list.
        assert_eq!(hosts(&[(x, "evil.example"), (x, "chat.example")]), ["inner", "chat.example"]);
    }
}
