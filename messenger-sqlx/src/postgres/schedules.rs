use async_trait::async_trait;
use messenger_core::ports::{
    Enqueued, MoveSchedule, ScheduleName, ScheduleRecord, ScheduleStore, StoreResult,
};

use super::{
    connections::{Mode, Session},
    enqueue::Way,
    errors::is_worth_another_try,
    sql::Bind as _,
    store::PostgresStore,
};

/// How many times a schedule is moved when others are in its way.
const ATTEMPTS: usize = 5;

#[async_trait]
impl ScheduleStore for PostgresStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        let mut attempt = 1;
        loop {
            let step = moved.clone();
            let done = self.run(Mode::Transaction, |session| Box::pin(move_one(session, step)));
            match done.await {
                Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        self.all(self.query(&self.sql().jobs.schedules), |columns| columns.schedule()).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        let remove = self.query(&self.sql().jobs.remove_schedule).bind(name.as_str().to_owned());
        let removed = self.run(Mode::Statement, |session| Box::pin(session.execute(remove))).await?;
        Ok(removed > 0)
    }
}

async fn move_one(session: &mut Session, moved: MoveSchedule) -> StoreResult<bool> {
    let MoveSchedule { name, expected, next_at, rule, job } = moved;
    let sql = &session.statements.jobs;
    let query = session.query(if expected.is_some() { &sql.move_schedule } else { &sql.add_schedule });
    let query = query.bind(name.as_str().to_owned()).bind(rule).time(next_at);
    let query = match expected {
        Some(expected) => query.time(expected),
        None => query,
    };
    if session.execute(query).await? == 0 {
        return Ok(false);
    }
    let Some(job) = job else { return Ok(true) };
    let jobs = [job];
    let way = Way::of(&jobs);
    let query = way.bind(session.query(way.statement(&session.statements)), &jobs);
    let said = session.all(query, |columns| way.read(columns)).await?;
    if way.answers(&jobs, said)? == [Enqueued::New] {
        let note = session.query(&session.statements.jobs.note_last);
        session.execute(note.bind(name.as_str().to_owned()).id(jobs[0].id)).await?;
    }
    Ok(true)
}
