//! `stepwell config show`.

use crate::failure::{Failure, DONE};
use crate::output::{styled, styles};
use crate::session::Session;
use crate::table::Table;

/// What is in force, and where each value came from. Settings that cannot work end it with exit code 2.
pub(crate) fn show(session: &Session) -> Result<u8, Failure> {
    let loaded = session.settings()?;
    let output = session.output;
    if output.is_json() {
        output.json(&loaded.settings)?;
        return Ok(DONE);
    }
    let mut table = Table::new(output, &["key", "value", "from"]);
    for setting in &loaded.settings {
        let from = setting.origin.to_string();
        table.row(match setting.origin.is_built_in() {
            true => [setting.key.clone(), setting.to_string(), styled(styles::FAINT, from)],
            false => [styled(styles::NAME, &setting.key), setting.to_string(), from],
        });
    }
    output.line(table.render(&[2]))?;
    Ok(DONE)
}
