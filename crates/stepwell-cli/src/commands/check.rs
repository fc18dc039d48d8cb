//! `stepwell check`: whether the invariants hold.

use std::time::Duration;

use crate::failure::{Failure, DONE, FAILED};
use crate::humane;
use crate::output::{styled, styles};
use crate::progress::spinner;
use crate::session::Session;
use crate::table::Table;

/// Every table is read once, however large.
const PATIENCE: Duration = Duration::from_secs(86_400);
/// Most violations that a person is shown.
const SHOWN: usize = 100;

pub(crate) async fn run(session: &Session) -> Result<u8, Failure> {
    let output = session.output;
    let violations = session
        .connected(async |link| {
            let spinner = spinner("reading every table");
            let store = link.database.store().clone().with_call_timeout(PATIENCE);
            let violations = store.check_invariants().await;
            spinner.finish_and_clear();
            Ok(violations?)
        })
        .await?;
    if output.is_json() {
        output.json(&violations)?;
    } else if violations.is_empty() {
        output.line(styled(styles::GOOD, "Every invariant holds."))?;
    } else {
        let found = humane::count(violations.len(), "violation");
        let mut table = Table::new(output, &["invariant", "task", "step", "what is wrong"]);
        for violation in violations.iter().take(SHOWN) {
            table.row([
                styled(styles::BAD, &violation.invariant),
                violation.task_id.map(|id| id.to_string()).unwrap_or_default(),
                violation.step.clone().unwrap_or_default(),
                violation.details.clone().unwrap_or_default(),
            ]);
        }
        output.line(table.render(&[1, 2]))?;
        let rest = match violations.len() > SHOWN {
            true => format!(", of which {SHOWN} are shown; --json tells all"),
            false => String::new(),
        };
        output
            .note(format!("{found}{rest}. Please report what led to it: https://github.com/stepwell/stepwell/issues"));
    }
    Ok(if violations.is_empty() { DONE } else { FAILED })
}
