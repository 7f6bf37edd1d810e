//! The series of each route, looked up once by each worker.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::{Metrics, RequestLabels, RouteLabels};

/// One route's, as one worker knows them. As many as the route has methods and answers, of which there are few.
pub(crate) struct RouteSeries {
    route: &'static str,
    known: RefCell<Vec<((&'static str, u16), Series)>>,
}

/// What requests of one method, route and status are counted into.
pub(crate) struct Series {
    requests: Counter,
    duration: Histogram,
}

impl RouteSeries {
    pub(crate) fn new(route: &'static str) -> Self {
        Self { route, known: RefCell::default() }
    }

    pub(crate) fn count(&self, metrics: &Metrics, method: &'static str, status: u16, took: Duration) {
        let mut known = self.known.borrow_mut();
        if let Some((_, series)) = known.iter().find(|(of, _)| *of == (method, status)) {
            return series.count(took);
        }
        let series = Series::find(metrics, method, Cow::Borrowed(self.route), status);
        series.count(took);
        known.push(((method, status), series));
    }
}

impl Series {
    pub(crate) fn find(
        metrics: &Metrics,
        method: &'static str,
        route: Cow<'static, str>,
        status: u16,
    ) -> Self {
        let labels = RouteLabels { method, route: route.clone() };
        Self {
            duration: metrics.request_duration.get_or_create_owned(&labels),
            requests: metrics.requests.get_or_create_owned(&RequestLabels { method, route, status }),
        }
    }

    pub(crate) fn count(&self, took: Duration) {
        self.requests.inc();
        self.duration.observe(took.as_secs_f64());
    }
}
