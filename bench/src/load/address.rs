//! Where a URL leads.

use anyhow::{Context, bail};
use tokio::net::TcpStream;

use super::stream::Stream;

/// The parts of a URL that a connection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `host:port`
    pub authority: String,
    /// With a leading slash, and the query.
    pub path: String,
    /// TLS is spoken there.
    pub is_secure: bool,
}

impl Address {
    /// Of `http`, `https`, `ws` and `wss` URLs.
    pub fn of(url: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else { bail!("{url} is no URL") };
        let is_secure = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => bail!("{url}: only http, https, ws and wss are spoken here"),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            bail!("a URL with a user and a password is not taken here");
        }
        let authority = match (authority.rsplit_once(':'), is_secure) {
            // Colons inside brackets are those of an IPv6 address.
            (Some((_, port)), _) if !port.contains(']') => authority.to_owned(),
            (_, true) => format!("{authority}:443"),
            (_, false) => format!("{authority}:80"),
        };
        Ok(Self { authority, path: format!("/{path}"), is_secure })
    }

    pub async fn connect(&self) -> anyhow::Result<Stream> {
        let stream = TcpStream::connect(&self.authority).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.authority))?;
        stream.set_nodelay(true)?;
        if self.is_secure { Stream::secure(stream, self.host()).await } else { Ok(Stream::Plain(stream)) }
    }

    /// As a certificate names it.
    fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(authority: &str, path: &str, is_secure: bool) -> Address {
        Address { authority: authority.into(), path: path.into(), is_secure }
    }

    #[test]
    fn a_url_leads_to_a_host_a_port_and_a_path() {
        let of = |url| Address::of(url).unwrap();
        assert_eq!(of("ws://h:1/ws"), address("h:1", "/ws", false));
        assert_eq!(of("http://h"), address("h:80", "/", false));
        assert_eq!(of("https://h/naru"), address("h:443", "/naru", true));
        assert_eq!(of("wss://[::1]/ws"), address("[::1]:443", "/ws", true));
        assert_eq!(of("wss://[::1]:9/ws").host(), "::1");
        Address::of("ftp://h").unwrap_err();
        Address::of("https://user:word@h").unwrap_err();
    }
}
