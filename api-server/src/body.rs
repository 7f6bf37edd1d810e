//! Bodies, queries and path segments, parsed into types; what is wrong is named.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use shared_runtime::rejection::Rejection;
use shared_types::ProblemCode;
use tokio::time::timeout;

/// Most bytes of a body: 1,000 member ids or 1,000 cursors in their longest form, and room to spare.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// A body that is too large is read on for this much: a client that is hung up on while it writes sees a broken
/// connection and not our answer.
const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// Longest time that a body may take.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// Most bytes of a body on a listener that takes larger ones, as its `app_data`.
#[derive(Clone, Copy)]
pub struct BodyLimit(pub usize);

/// A body that has been read, and not yet parsed.
pub struct Body(web::Bytes);

impl FromRequest for Body {
    type Error = Rejection;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Rejection>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limit = request.app_data::<BodyLimit>().map_or(MAX_BODY_BYTES, |limit| limit.0);
        let mut payload = payload.take();
        Box::pin(async move {
            timeout(READ_LIMIT, read(&mut payload, limit)).await.map_err(|_| incomplete())?.map(Self)
        })
    }
}

impl Body {
    /// As JSON.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        parse(&self.0)
    }
}

/// A JSON body. Its media type is not asked for: with a bearer token required, nothing can be forged by a form.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = Rejection;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Rejection>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::from_request(request, payload);
        Box::pin(async move { body.await?.parse().map(Self) })
    }
}

async fn read(payload: &mut Payload, limit: usize) -> Result<web::Bytes, Rejection> {
    let first = payload.next().await.transpose().map_err(|_| incomplete())?.unwrap_or_default();
    let Some(mut next) = payload.next().await else {
        // Most bodies come in one piece, which is then not copied.
        return if first.len() <= limit { Ok(first) } else { Err(too_large(limit)) };
    };
    let mut body = web::BytesMut::from(first);
    let mut length = body.len();
    loop {
        let chunk = next.map_err(|_| incomplete())?;
        length += chunk.len();
        if length <= limit {
            body.extend_from_slice(&chunk);
        } else if length > limit + MAX_DISCARDED_BYTES {
            break;
        }
        match payload.next().await {
            Some(chunk) => next = chunk,
            None => break,
        }
    }
    if length <= limit { Ok(body.freeze()) } else { Err(too_large(limit)) }
}

fn too_large(limit: usize) -> Rejection {
    Rejection::new(ProblemCode::PayloadTooLarge, format!("The body is over {limit} bytes."))
}

fn incomplete() -> Rejection {
    Rejection::new(ProblemCode::MalformedJson, "The body ended before it was complete.")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    // serde reads a struct from an array of its fields, too; in the contract every body is an object.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    match serde_json::from_slice(body) {
        Ok(parsed) if is_object => Ok(parsed),
        _ => parse_again(body, is_object),
    }
}

/// The same, keeping count of the path to each field, which takes longer: to say what is wrong.
fn parse_again<T: DeserializeOwned>(body: &[u8], is_object: bool) -> Result<T, Rejection> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut json);
    match parsed {
        Ok(parsed) if is_object && json.end().is_ok() => Ok(parsed),
        parsed => {
            // Not by the error's own category: serde_json calls some wrong types a syntax error, and stops at a
            // wrong type before it has seen whether the rest is JSON.
            check_syntax(body)?;
            match parsed {
                Err(error) if is_object => Err(wrong_shape(&error.path().to_string(), error.inner())),
                _ => Err(Rejection::invalid_field("body", "must be a JSON object")),
            }
        }
    }
}

fn check_syntax(body: &[u8]) -> Result<(), Rejection> {
    let malformed = |error: &dyn std::fmt::Display| {
        Rejection::new(ProblemCode::MalformedJson, format!("The body is not valid JSON: {error}."))
    };
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| malformed(&error))
}

fn wrong_shape(path: &str, error: &serde_json::Error) -> Rejection {
    // serde appends the place in the text; the field's name says more.
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    let names_a_field =
        ["missing field", "unknown field", "duplicate field"].iter().any(|start| words.starts_with(start));
    let field = match words.split('`').nth(1) {
        Some(name) if names_a_field => {
            if path == "." || path.ends_with(name) {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            }
        }
        _ if path == "." => "body".to_owned(),
        _ => path.to_owned(),
    };
    Rejection::invalid_field(field, words)
}

/// One segment of the path, e.g. `{channelId}`.
pub fn path_segment<T: FromStr>(request: &HttpRequest, name: &'static str) -> Result<T, Rejection>
where
    T::Err: std::fmt::Display,
{
    let raw = request.match_info().query(name);
    raw.parse().map_err(|error: T::Err| Rejection::invalid_field(name, error.to_string()))
}

/// A number in the query, within its range; absent: `None`.
pub fn query_number(
    name: &'static str,
    raw: Option<&str>,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, Rejection> {
    let Some(raw) = raw else { return Ok(None) };
    match raw.parse::<i64>() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ if *range.end() == i64::MAX => Err(Rejection::invalid_field(
            name,
            format!("must be a whole number of at least {}", range.start()),
        )),
        _ => Err(Rejection::invalid_field(
            name,
            format!("must be a whole number from {} to {}", range.start(), range.end()),
        )),
    }
}

/// The query as `T`, whose fields are all optional strings; unknown parameters are refused by name.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Rejection> {
    web::Query::<T>::from_query(request.query_string()).map(web::Query::into_inner).map_err(|error| {
        let words = error.to_string();
        let words = words.strip_prefix("Query deserialize error: ").unwrap_or(&words).to_owned();
        let field = words.split('`').nth(1).unwrap_or("query").to_owned();
        Rejection::invalid_field(field, words)
    })
}
