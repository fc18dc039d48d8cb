//! The graph of a workflow's steps: duplicates, unknown dependencies, cycles, topological order.

use std::collections::{BTreeSet, HashMap};

use super::definition::StepDefinition;
use crate::error::Problem;

/// For each place in the topological order: which step of the definition stands there, and what it depends on (also
/// by place in the definition).
pub(super) struct Order {
    places: Vec<usize>,
    edges: Vec<BTreeSet<usize>>,
}

/// The topological order that keeps the author's order where the dependencies allow; none when there is a problem.
pub(super) fn order(names: &[&str], edges: &[Vec<&str>], problems: &mut Vec<Problem>) -> Option<Order> {
    let before = problems.len();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, name) in names.iter().enumerate() {
        if places.insert(name, place).is_some() {
            problems.push(Problem::new(format!("steps.{name}"), "there are two steps of this name"));
        }
    }
    let mut resolved = vec![BTreeSet::new(); names.len()];
    for (place, dependencies) in edges.iter().enumerate() {
        for dependency in dependencies {
            match places.get(dependency) {
                Some(&other) if other == place => {
                    problems
                        .push(Problem::new(format!("steps.{}.depends_on", names[place]), "the step depends on itself"));
                }
                Some(&other) => {
                    resolved[place].insert(other);
                }
                None => problems.push(Problem::new(
                    format!("steps.{}.depends_on", names[place]),
                    format!("there is no step {dependency:?}"),
                )),
            }
        }
    }
    if problems.len() > before {
        return None;
    }
    let sorted = sort(&resolved);
    if sorted.len() < names.len() {
        let stuck: BTreeSet<usize> = (0..names.len()).filter(|place| !sorted.contains(place)).collect();
        let cycle =
            find_cycle(&resolved, &stuck).into_iter().map(|place| names[place]).collect::<Vec<_>>().join(" -> ");
        problems.push(Problem::new("steps", format!("these steps wait for each other in a cycle: {cycle}")));
        return None;
    }
    Some(Order { places: sorted, edges: resolved })
}

fn sort(edges: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut open: Vec<usize> = edges.iter().map(BTreeSet::len).collect();
    let mut dependents = vec![Vec::new(); edges.len()];
    for (place, dependencies) in edges.iter().enumerate() {
        for &dependency in dependencies {
            dependents[dependency].push(place);
        }
    }
    let mut ready: BTreeSet<usize> = (0..edges.len()).filter(|&place| open[place] == 0).collect();
    let mut sorted = Vec::with_capacity(edges.len());
    while let Some(place) = ready.pop_first() {
        sorted.push(place);
        for &dependent in &dependents[place] {
            open[dependent] -= 1;
            if open[dependent] == 0 {
                ready.insert(dependent);
            }
        }
    }
    sorted
}

/// Walks dependencies among steps that cannot be sorted until one repeats: each has one that cannot be sorted either.
fn find_cycle(edges: &[BTreeSet<usize>], stuck: &BTreeSet<usize>) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut next = stuck.first().copied();
    while let Some(place) = next {
        if let Some(start) = path.iter().position(|&seen| seen == place) {
            path.drain(..start);
            path.push(place);
            break;
        }
        path.push(place);
        next = edges[place].iter().copied().find(|dependency| stuck.contains(dependency));
    }
    path
}

/// Puts steps into the order and fills in who depends on whom, by position in it.
pub(super) fn arrange(steps: Vec<StepDefinition>, order: &Order) -> Vec<StepDefinition> {
    let mut position = vec![0; steps.len()];
    for (new, &place) in order.places.iter().enumerate() {
        position[place] = new;
    }
    let mut arranged: Vec<StepDefinition> = order.places.iter().map(|&place| steps[place].clone()).collect();
    for (new, &place) in order.places.iter().enumerate() {
        let mut depends_on: Vec<usize> = order.edges[place].iter().map(|&dependency| position[dependency]).collect();
        depends_on.sort_unstable();
        for &dependency in &depends_on {
            arranged[dependency].dependents.push(new);
        }
        arranged[new].depends_on = depends_on;
    }
    arranged
}

#[cfg(test)]
mod tests {
    use crate::workflow::Workflow;

    fn define(steps: &[(&str, &[&str])]) -> Result<Workflow, String> {
        let steps: Vec<_> = steps
            .iter()
            .map(|(name, depends_on)| serde_json::json!({"name": name, "handler": "H", "depends_on": depends_on}))
            .collect();
        let json = serde_json::json!({"namespace": "math", "name": "w", "version": "1", "steps": steps}).to_string();
        Workflow::from_json(&json).map_err(|error| error.to_string())
    }

    #[test]
    fn orders_steps_and_links_both_ways() {
        let workflow =
            define(&[("end", &["left", "right"]), ("right", &["start"]), ("left", &["start"]), ("start", &[])])
                .unwrap();
        let names: Vec<_> = workflow.steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["start", "right", "left", "end"]);
        assert_eq!(workflow.steps[0].dependents, [1, 2]);
        assert_eq!(workflow.steps[3].depends_on, [1, 2]);
    }

    #[test]
    fn refuses_what_is_no_dag_and_names_the_steps() {
        for (steps, expected) in [
            (&[("a", &["c"][..]), ("b", &["a"]), ("c", &["b"]), ("d", &[])][..], "cycle: a -> c -> b -> a"),
            (&[("a", &["a"][..])], "steps.a.depends_on: the step depends on itself"),
            (&[("a", &["x"][..])], "steps.a.depends_on: there is no step \"x\""),
            (&[("a", &[][..]), ("a", &[])], "steps.a: there are two steps of this name"),
            (&[("Bad-Name", &[][..])], "\"Bad-Name\" must start with a-z"),
            (&[], "there must be 1 to 5000 steps"),
        ] {
            let error = define(steps).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
