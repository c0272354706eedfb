//! The embedded queue.
use super::*;
use crate::config::SqliteFile;
/// x
pub struct SqliteQueue;
impl SqliteQueue {
    pub async fn open(_f: &SqliteFile, _t: QueueTiming) -> Result<Self, QueueError> {
        unimplemented!()
    }
}
#[async_trait]
impl Queue for SqliteQueue {
    async fn publisher(&self) -> Result<Arc<dyn Publisher>, QueueError> {
        unimplemented!()
    }
    async fn consumer(&self, _lane: Lane, _prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        unimplemented!()
    }
    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        unimplemented!()
    }
    async fn probe(&self) -> Result<(), QueueError> {
        unimplemented!()
    }
    async fn close(&self) {
        unimplemented!()
    }
}
