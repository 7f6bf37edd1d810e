//! What an operator says of traces.

use clap::Args;
use url::Url;

use crate::secret::OptionError;

const ENDPOINT: &str = "NARU_OTLP_ENDPOINT";
/// Where OTLP over HTTP takes traces, below the collector's address.
const TRACES_PATH: &str = "v1/traces";

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceOptions {
    /// OpenTelemetry collector that takes traces by OTLP over HTTP, e.g. http://collector:4318; absent: no traces
    #[arg(long, env = "NARU_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
}

impl TraceOptions {
    /// Where traces go. Empty counts as absent, as in a compose file.
    pub fn collector(&self) -> Result<Option<Url>, OptionError> {
        let Some(raw) = self.otlp_endpoint.as_deref().filter(|raw| !raw.is_empty()) else { return Ok(None) };
        let invalid = || OptionError::Invalid {
            name: ENDPOINT,
            rule: "must be an http or https URL without credentials, query and fragment".into(),
        };
        let mut url = Url::parse(raw).map_err(|_| invalid())?;
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_bare || !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(invalid());
        }
        let path = format!("{}/{TRACES_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Some(url))
    }
}

/// Which requests from outside are traced, where traces begin.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub struct SamplingOptions {
    /// Share of the requests that are traced, from 0 to 1, unless their `traceparent` decides
    #[arg(long, env = "NARU_TRACE_SAMPLE", default_value = "0.01", value_parser = share, value_name = "SHARE")]
    pub(super) trace_sample: f64,
    /// Traces a second that callers may ask for by a sampled `traceparent`; beyond it the share decides
    // Whoever may send may ask, and spans cost us and the collector more than requests do.
    #[arg(long, env = "NARU_TRACE_ASKED_RATE", default_value_t = 10, value_name = "N")]
    pub(super) trace_asked_rate: u32,
}

fn share(raw: &str) -> Result<f64, String> {
    let share = raw.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be from 0 to 1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(endpoint: &str) -> Result<Option<String>, OptionError> {
        let options = TraceOptions { otlp_endpoint: Some(endpoint.to_owned()) };
        Ok(options.collector()?.map(String::from))
    }

    #[test]
    fn a_collector_is_named_by_its_address_with_or_without_a_path() {
        for (endpoint, expected) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://example.com/otlp/", "https://example.com/otlp/v1/traces"),
        ] {
            assert_eq!(collector(endpoint).unwrap().as_deref(), Some(expected));
        }
        assert_eq!(collector("").unwrap(), None);
    }

    #[test]
    fn an_address_that_cannot_be_one_is_refused_by_name_and_not_repeated() {
        for endpoint in [
            "collector:4318",
            "grpc://collector",
            "http://u:hunter2@c",
            "http://c/?key=hunter2",
            "http://c/#x",
        ] {
            let error = collector(endpoint).unwrap_err().to_string();
            assert!(error.starts_with(ENDPOINT) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!((share("0"), share("0.25"), share("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for wrong in ["", "1%", "-0.1", "1.1", "NaN"] {
            share(wrong).unwrap_err();
        }
    }
}
