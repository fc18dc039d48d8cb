//! The metrics of a process as Prometheus reads them: those of all its links, those of links to one database together.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, Metric, MetricFamily, MetricType};
use prometheus::TextEncoder;

use super::families;
use crate::database::Database;
use crate::databases::Databases;

/// The metrics of these links, in the text format of Prometheus, version 0.0.4. Asks the databases what only they know,
/// which takes a few seconds at most, also when one is away.
pub async fn text(links: &[Databases]) -> String {
    let databases: Vec<&Database> = links.iter().flat_map(Databases::made).collect();
    futures_util::future::join_all(databases.iter().map(|it| it.metrics().queues().refresh(it.store()))).await;
    let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
    let mut seen: Vec<&Database> = Vec::new();
    for database in databases {
        if seen.iter().any(|it| it.is(database)) {
            continue; // a link that an orchestrator and a worker share
        }
        seen.push(database);
        for family in database.gather() {
            match families.get_mut(family.name()) {
                Some(known) => merge(known, family),
                None => drop(families.insert(family.name().to_owned(), family)),
            }
        }
    }
    let families: Vec<MetricFamily> = families.into_values().collect();
    let text = TextEncoder::new().encode_to_string(&families);
    text.unwrap_or_else(|error| format!("# {error}\n"))
}

/// Adds what another link has.
fn merge(family: &mut MetricFamily, mut other: MetricFamily) {
    let largest = families::find(family.name()).is_some_and(|known| known.largest);
    let both = |one: f64, other: f64| if largest { one.max(other) } else { one + other };
    let kind = family.get_field_type();
    let mut metrics = family.take_metric();
    for metric in other.take_metric() {
        match metrics.iter_mut().find(|known| known.get_label() == metric.get_label()) {
            None => metrics.push(metric),
            Some(known) => add(kind, known, &metric, both),
        }
    }
    family.set_metric(metrics);
}

fn add(kind: MetricType, metric: &mut Metric, other: &Metric, both: impl Fn(f64, f64) -> f64) {
    match kind {
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(both(metric.get_counter().get_value(), other.get_counter().get_value()));
            metric.set_counter(counter);
        }
        MetricType::HISTOGRAM => metric.set_histogram(sum(metric.get_histogram(), other.get_histogram())),
        _ => {
            let mut gauge = Gauge::default();
            gauge.set_value(both(metric.get_gauge().get_value(), other.get_gauge().get_value()));
            metric.set_gauge(gauge);
        }
    }
}

/// Both have the same buckets.
fn sum(one: &Histogram, other: &Histogram) -> Histogram {
    let mut sum = Histogram::default();
    sum.set_sample_count(one.get_sample_count() + other.get_sample_count());
    sum.set_sample_sum(one.get_sample_sum() + other.get_sample_sum());
    let buckets = one.get_bucket().iter().zip(other.get_bucket()).map(|(one, other)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(one.upper_bound());
        bucket.set_cumulative_count(one.cumulative_count() + other.cumulative_count());
        bucket
    });
    sum.set_bucket(buckets.collect());
    sum
}
