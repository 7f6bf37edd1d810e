//! Which browsers' pages may call: origins as browsers write them.

use url::Url;

use crate::secret::OptionError;

/// Stands alone, for any origin.
pub const ANY: &str = "*";

/// The origins of `NARU_ALLOWED_ORIGINS`, each as a browser sends it; empty ones are passed over.
pub fn parse_origins(given: &[String]) -> Result<Vec<String>, OptionError> {
    let given: Vec<_> = given.iter().map(|origin| origin.trim()).filter(|o| !o.is_empty()).collect();
    if given == [ANY] {
        return Ok(vec![ANY.into()]);
    }
    given.into_iter().map(as_sent).collect::<Option<_>>().ok_or(OptionError::Invalid {
        name: "NARU_ALLOWED_ORIGINS",
        rule: "must be `*` or origins such as https://chat.example.com, comma-separated".into(),
    })
}

fn as_sent(origin: &str) -> Option<String> {
    let url = Url::parse(origin).ok().filter(|url| url.has_host() && matches!(url.path(), "" | "/"))?;
    let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    // A scheme of an app's own (capacitor://localhost) has no origin by the URL standard, which would write it as
    // `null`, and that is what every sandboxed page sends. Apps send it as it is.
    let written = if url.origin().is_tuple() {
        url.origin().ascii_serialization()
    } else {
        origin.trim_end_matches('/').to_owned()
    };
    is_bare.then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[&str]) -> Result<Vec<String>, OptionError> {
        parse_origins(&given.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        let given = ["https://Chat.example.com/", " http://localhost:3000", "", "capacitor://localhost"];
        let sent = ["https://chat.example.com", "http://localhost:3000", "capacitor://localhost"];
        assert_eq!(parse(&given).unwrap(), sent);
        assert_eq!(parse(&["*"]).unwrap(), [ANY]);
    }

    #[test]
    fn an_origin_that_is_none_is_refused_with_the_name_of_the_option() {
        for wrong in ["chat.example.com", "https://a.example/path", "*.example.com", "https://u@a.example"] {
            let error = parse(&[wrong]).unwrap_err().to_string();
            assert!(error.starts_with("NARU_ALLOWED_ORIGINS"), "{wrong}: {error}");
        }
    }
}
