//! Which edition the clusters of this test run are: told by the environment, which is read here only.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;

const VARIABLE: &str = "NARU_TEST_EDITION";

/// What services of this process keep things in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// Postgres and Redis; the default.
    Services,
    /// SQLite, and a registry in this process's memory.
    Embedded,
}

impl Edition {
    /// What `NARU_TEST_EDITION` says, `services` or `embedded`; tells it once, past what hides the output of tests.
    pub fn under_test() -> Self {
        static UNDER_TEST: OnceLock<Edition> = OnceLock::new();
        *UNDER_TEST.get_or_init(|| {
            let edition = match std::env::var(VARIABLE).as_deref() {
                Err(_) | Ok("services") => Self::Services,
                Ok("embedded") => Self::Embedded,
                Ok(other) => panic!("{VARIABLE} is {other:?}; it may be \"services\" or \"embedded\""),
            };
            let _ = writeln!(std::io::stderr(), "edition under test: {edition}");
            edition
        })
    }

    /// Fails the test that wants something which only Postgres, Redis or the two programs can give.
    pub fn need_services(what: &str) {
        assert!(
            Self::under_test() == Self::Services,
            "{what}: the embedded edition has none. A test that concerns the services only belongs into \
             tests/behaviour/services_only.txt"
        );
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Services => "services (Postgres, Redis)",
            Self::Embedded => "embedded (SQLite, registry in process)",
        })
    }
}
