//! Events of `tracing` as lines.

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::component::Component;
use super::record::Record;

/// Makes a line of each event and hands it on.
pub(super) struct Lines<F>(pub(super) F);

impl<S: Subscriber, F: Fn(Record) + 'static> Layer<S> for Lines<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut record = Record::now((*metadata.level()).into(), Component::of(metadata.target()));
        event.record(&mut record);
        (self.0)(record);
    }
}
