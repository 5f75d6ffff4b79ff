//! The answer of `/metrics`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::web::Bytes;

/// Renders the metrics in the text format of Prometheus.
pub(crate) type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The age up to which a page that is still being sent to one client is sent to another one.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The page of metrics. It needs no API key, so clients that do not read their answers share a few copies.
#[derive(Clone)]
pub(crate) struct MetricsPage {
    render: RenderMetrics,
    last: Arc<Mutex<Option<Rendered>>>,
}

/// When a page was rendered, and the page while it is being sent.
type Rendered = (Instant, Weak<[u8]>);

impl MetricsPage {
    pub(crate) fn new(render: RenderMetrics) -> Self {
        Self { render, last: Arc::default() }
    }

    /// The current metrics, or a page of the last second that is still being sent.
    #[expect(clippy::disallowed_methods, reason = "a duration, not a point in time")]
    pub(crate) fn bytes(&self) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, page)) = &*last
            && at.elapsed() < SHARED_FOR
            && let Some(page) = page.upgrade()
        {
            return Bytes::from_owner(page);
        }
        let page: Arc<[u8]> = (self.render)().into_bytes().into();
        *last = Some((Instant::now(), Arc::downgrade(&page)));
        Bytes::from_owner(page)
    }
}

impl fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsPage").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_page_that_is_being_sent_is_shared_and_one_that_was_sent_is_not() {
        let renderings = AtomicUsize::new(0);
        let page = MetricsPage::new(Arc::new(move || renderings.fetch_add(1, Ordering::Relaxed).to_string()));
        let sending = page.bytes();
        assert_eq!((&sending, &page.bytes()), (&Bytes::from("0"), &Bytes::from("0")));
        drop(sending);
        assert_eq!(page.bytes(), "1");
        assert_eq!(page.bytes(), "2");
    }
}
