//! What a client's frame asks for.

use serde_json::error::Category;
use shared_types::frames::ClientFrame;

/// As many as `POST /sync` takes.
const MAX_CURSORS: usize = 1_000;

/// Why a frame is answered with `error`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    /// One of the contract's words.
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl BadFrame {
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self { code: "invalid_request", detail: detail.into() }
    }
}

/// Parses a text frame.
pub(crate) fn parse(text: &str) -> Result<ClientFrame, BadFrame> {
    let frame = serde_json::from_str(text).map_err(|error| match error.classify() {
        // The position is what helps; serde's words would repeat the client's input.
        Category::Syntax | Category::Eof | Category::Io => BadFrame {
            code: "malformed_json",
            detail: format!("The frame is not valid JSON (column {}).", error.column()),
        },
        Category::Data => BadFrame::invalid(format!(
            "The frame is none of resume, ack, auth, background and ping as the contract describes them: {}.",
            without_values(&error)
        )),
    })?;
    match frame {
        ClientFrame::Ack { seq, .. } if seq < 1 => Err(BadFrame::invalid("seq must be at least 1.")),
        ClientFrame::Resume { cursors } if cursors.len() > MAX_CURSORS => {
            Err(BadFrame::invalid("At most 1,000 cursors can be resumed: fetch the others by POST /sync."))
        }
        ClientFrame::Resume { cursors } if cursors.values().any(|seq| *seq < 0) => {
            Err(BadFrame::invalid("Cursors must not be negative."))
        }
        frame => Ok(frame),
    }
}

/// serde's message without what it quotes of the input: a token in the wrong field must not come back in an error.
fn without_values(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let end = message.find(" at line ").unwrap_or(message.len());
    let message = &message[..end];
    match message.split_once(": ") {
        Some((what, rule)) if what.starts_with("invalid type") || what.starts_with("invalid value") => {
            let expected = rule.rfind("expected ").map_or("", |at| &rule[at..]);
            format!("{what}, {expected}")
        }
        _ if message.starts_with("unknown variant") => "unknown type".into(),
        _ if message.starts_with("unknown field") => "unknown field".into(),
        _ => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_of_the_contract_is_understood() {
        let channel = "0199aaaa-0000-7000-8000-000000000000";
        for text in [
            "{\"type\":\"ping\"}".to_owned(),
            "{\"type\":\"background\",\"value\":true}".to_owned(),
            "{\"type\":\"auth\",\"token\":\"x\"}".to_owned(),
            format!("{{\"type\":\"ack\",\"channelId\":\"{channel}\",\"seq\":7}}"),
            format!("{{\"type\":\"resume\",\"cursors\":{{\"{channel}\":0}}}}"),
        ] {
            parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_it() {
        for (text, code) in [
            ("{", "malformed_json"),
            ("hello", "malformed_json"),
            ("[]", "invalid_request"),
            ("{}", "invalid_request"),
            ("{\"type\":\"sekret\"}", "invalid_request"),
            ("{\"type\":\"auth\",\"token\":\"a\",\"sekret\":1}", "invalid_request"),
            ("{\"type\":\"background\",\"value\":\"sekret\"}", "invalid_request"),
            ("{\"type\":\"ack\",\"channelId\":\"sekret\",\"seq\":1}", "invalid_request"),
            (
                "{\"type\":\"ack\",\"channelId\":\"0199aaaa-0000-7000-8000-000000000000\",\"seq\":0}",
                "invalid_request",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, code, "{text}");
            assert!(!error.detail.contains("sekret"), "{text}: {}", error.detail);
        }
    }
}
