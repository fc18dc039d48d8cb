//! `stepwell task`.

mod list;
mod repair;
mod show;
mod submit;
mod watch;

use crate::arguments::Task;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) async fn run(session: &Session, command: Task) -> Result<u8, Failure> {
    match command {
        Task::Submit(arguments) => submit::run(session, arguments).await,
        Task::List(arguments) => list::run(session, arguments).await,
        Task::Show(arguments) => show::run(session, arguments.task).await,
        Task::Watch(arguments) => watch::run(session, &arguments).await,
        Task::Cancel(arguments) => repair::cancel(session, &arguments).await,
        Task::Retry(arguments) => repair::retry(session, &arguments).await,
        Task::Resolve(arguments) => repair::resolve(session, &arguments).await,
    }
}
