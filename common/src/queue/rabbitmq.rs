//! The embedded queue.
use super::*;
/// x
pub struct RabbitQueue;
impl RabbitQueue {
    pub fn connect(_u: &str, _t: QueueTiming) -> Self {
        unimplemented!()
    }
}
#[async_trait]
impl Queue for RabbitQueue {
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
