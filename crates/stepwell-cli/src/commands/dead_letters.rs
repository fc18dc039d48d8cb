//! `stepwell dead-letters`.

use serde::Serialize;
use stepwell::store::DeadLetter;
use stepwell::{Client, LetterPosition};

use crate::arguments::{DeadLetters, Letters, Replay, Why};
use crate::failure::{Failure, DONE};
use crate::humane;
use crate::output::{styled, styles};
use crate::progress;
use crate::session::Session;
use crate::table::{shortened, Table};
use crate::views::LetterView;

/// Most letters of one transaction.
const BATCH: u32 = 100;

#[derive(Serialize)]
struct Replayed {
    replayed: Vec<i64>,
}

pub(crate) async fn run(session: &Session, command: DeadLetters) -> Result<u8, Failure> {
    match command {
        DeadLetters::List(arguments) => list(session, &arguments).await,
        DeadLetters::Replay(arguments) => replay(session, &arguments).await,
    }
}

async fn list(session: &Session, arguments: &Letters) -> Result<u8, Failure> {
    let output = session.output;
    let queue = arguments.queue.as_deref();
    let letters = session
        .connected(async |link| Ok(link.client.dead_letters(queue, arguments.limit, arguments.before).await?))
        .await?;
    if output.is_json() {
        output.json(&letters.into_iter().map(LetterView::new).collect::<Result<Vec<_>, _>>()?)?;
        return Ok(DONE);
    }
    if letters.is_empty() {
        output.note("There are no dead letters.");
        return Ok(DONE);
    }
    output.line(table(session, &letters))?;
    if let Some(last) = letters.last().filter(|_| letters.len() as u64 == u64::from(arguments.limit)) {
        output.note(format!("There may be more: --before {}", last.id));
    }
    Ok(DONE)
}

fn table(session: &Session, letters: &[DeadLetter]) -> String {
    let mut table = Table::new(session.output, &["id", "queue", "buried", "reason", "message"]);
    for letter in letters {
        table.row([
            letter.id.to_string(),
            letter.queue.clone(),
            humane::ago(letter.buried_at),
            styled(styles::BAD, &letter.reason),
            shortened(&letter.message, 80),
        ]);
    }
    table.render(&[1, 2])
}

async fn replay(session: &Session, arguments: &Replay) -> Result<u8, Failure> {
    let output = session.output;
    let why = &arguments.why;
    let replayed = session
        .connected(async |link| match arguments.all {
            true => replay_all(&link.client, arguments.queue.as_deref(), why).await,
            false => {
                let ids = &arguments.letters;
                let replayed = link.client.replay(ids, why.reason.as_deref(), why.actor.as_deref()).await?;
                match ids.iter().find(|id| !replayed.contains(id)) {
                    Some(missing) => {
                        let others = match replayed.len() {
                            0 => String::new(),
                            _ => format!("; replayed: {replayed:?}"),
                        };
                        Err(Failure::NotFound(format!("there is no dead letter {missing}{others}")))
                    }
                    None => Ok(replayed),
                }
            }
        })
        .await?;
    if output.is_json() {
        output.json(&Replayed { replayed })?;
    } else {
        output.line(format!("Replayed {}.", humane::count(replayed.len(), "dead letter")))?;
    }
    Ok(DONE)
}

/// From the newest down: what becomes a dead letter again is newer, and is not replayed twice.
async fn replay_all(client: &Client, queue: Option<&str>, why: &Why) -> Result<Vec<i64>, Failure> {
    let spinner = progress::spinner("replaying");
    let mut all = Vec::new();
    let mut letters = client.dead_letters(queue, BATCH, None).await?;
    while let Some(last) = letters.last() {
        let last = LetterPosition::from(last);
        let these: Vec<_> = letters.into_iter().map(|letter| (letter.id, Some(letter.database))).collect();
        all.extend(client.replay_letters(&these, why.reason.as_deref(), why.actor.as_deref()).await?);
        letters = client.dead_letters_after(queue, BATCH, &last).await?;
        spinner.set_message(format!("replayed {}", humane::count(all.len(), "dead letter")));
    }
    spinner.finish_and_clear();
    Ok(all)
}
