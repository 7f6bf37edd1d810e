//! Google's service-account file: who we are, and the key that proves it.

use std::fmt;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// The longest that Google lets an assertion live.
const ASSERTION_SECONDS: u64 = 3_600;

pub(super) struct ServiceAccount {
    pub(super) project_id: String,
    pub(super) token_uri: Url,
    client_email: String,
    key_id: String,
    key: EncodingKey,
}

impl ServiceAccount {
    pub(super) fn read(path: &Path) -> Result<Self, ServiceAccountError> {
        let error = |problem| ServiceAccountError { path: path.to_owned(), problem };
        let text = std::fs::read(path).map_err(|source| error(Problem::Unreadable(source)))?;
        Self::parse(&text).map_err(error)
    }

    // By hand and not by serde: its messages may repeat what stands in the file.
    fn parse(text: &[u8]) -> Result<Self, Problem> {
        let document: Value = serde_json::from_slice(text)
            .map_err(|e| Problem::NotJson { line: e.line(), column: e.column() })?;
        let fields = document.as_object().ok_or(Problem::NotAnObject)?;
        let token_uri = required(fields, "token_uri")?;
        let no_key = |_| Problem::Invalid("private_key", "is no RSA key in PEM");
        let account = Self {
            project_id: required(fields, "project_id")?.to_owned(),
            token_uri: Url::parse(token_uri).map_err(|_| Problem::Invalid("token_uri", "is no URL"))?,
            client_email: required(fields, "client_email")?.to_owned(),
            key_id: required(fields, "private_key_id")?.to_owned(),
            key: EncodingKey::from_rsa_pem(required(fields, "private_key")?.as_bytes()).map_err(no_key)?,
        };
        // Only signing looks inside the PEM; better found out now than at the first push.
        account.assertion(0).map_err(no_key)?;
        Ok(account)
    }

    /// A signed statement that we are this account and want to send messages.
    pub(super) fn assertion(&self, now: u64) -> Result<String, jsonwebtoken::errors::Error> {
        #[derive(Serialize)]
        struct Assertion<'a> {
            iss: &'a str,
            scope: &'a str,
            aud: &'a str,
            iat: u64,
            exp: u64,
        }
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::RS256) };
        let claims = Assertion {
            iss: &self.client_email,
            scope: SCOPE,
            aud: self.token_uri.as_str(),
            iat: now,
            exp: now + ASSERTION_SECONDS,
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
    }
}

fn required<'a>(fields: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Problem> {
    match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(Problem::Invalid(name, "must be a string that is not empty")),
        None => Err(Problem::Missing(name)),
    }
}

/// Why a service-account file cannot be used. Names the file and the field, never a value.
#[derive(Debug)]
pub struct ServiceAccountError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Unreadable(std::io::Error),
    NotJson { line: usize, column: usize },
    NotAnObject,
    Missing(&'static str),
    Invalid(&'static str, &'static str),
}

impl fmt::Display for ServiceAccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service account file {}: ", self.path.display())?;
        match &self.problem {
            Problem::Unreadable(source) => write!(f, "cannot be read: {source}"),
            Problem::NotJson { line, column } => write!(f, "no JSON at line {line} column {column}"),
            Problem::NotAnObject => f.write_str("no JSON object"),
            Problem::Missing(field) => write!(f, "`{field}` is missing"),
            Problem::Invalid(field, rule) => write!(f, "`{field}` {rule}"),
        }
    }
}

impl std::error::Error for ServiceAccountError {}
