//! Private servers, which the benchmark starts too: what the crate `servers` promises of them.

pub(crate) use ::servers::{free_port, postgres, rabbitmq};

mod tests {
    use sqlx::{Connection, Executor, PgConnection};

    use super::postgres::{self, Postgres};

    #[tokio::test]
    async fn each_database_is_empty_and_its_own() {
        let (mine, yours) = (postgres::database().await, postgres::database().await);
        assert_ne!(mine, yours);
        let mut mine = PgConnection::connect(&mine).await.unwrap();
        mine.execute("CREATE TABLE here ()").await.unwrap();
        let mut yours = PgConnection::connect(&yours).await.unwrap();
        assert!(yours.execute("SELECT * FROM here").await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stopped_postgres_keeps_what_was_committed() {
        let server = Postgres::prepare();
        tokio::task::block_in_place(|| server.start());
        let url = server.database().await;
        PgConnection::connect(&url).await.unwrap().execute("CREATE TABLE here ()").await.unwrap();
        tokio::task::block_in_place(|| server.stop());
        assert!(PgConnection::connect(&url).await.is_err());
        tokio::task::block_in_place(|| server.start());
        PgConnection::connect(&url).await.unwrap().execute("SELECT * FROM here").await.unwrap();
    }
}
