//! Answers that are said again: for a while, as many as may be, and each under its own name.

use std::time::Duration;

use super::{Shop, contract};

const HOUR: Duration = Duration::from_secs(3_600);

impl Shop {
    async fn save(&self, asked: &str, text: &str, most: u32) {
        self.store.save_answer(asked, text, HOUR, most).await.unwrap();
    }

    async fn said(&self, asked: &str) -> Option<String> {
        self.store.saved_answer(asked).await.unwrap()
    }
}

contract! {
    async fn an_answer_is_kept_for_its_time_and_the_newest_counts(shop) {
        assert_eq!(shop.said("a").await, None);
        shop.save("a", "first", 10).await;
        shop.save("a", "second", 10).await;
        assert_eq!(shop.said("a").await.as_deref(), Some("second"));
        assert_eq!(shop.said("b").await, None);
        shop.pass(HOUR - Duration::from_secs(1));
        assert_eq!(shop.said("a").await.as_deref(), Some("second"));
        shop.pass(Duration::from_secs(1));
        assert_eq!(shop.said("a").await, None);
    }

    async fn there_are_never_more_than_allowed_and_the_oldest_go_first(shop) {
        for asked in ["a", "b", "c", "d"] {
            shop.save(asked, asked, 3).await;
            shop.pass(Duration::from_secs(1));
        }
        assert_eq!(shop.said("a").await, None);
        for asked in ["b", "c", "d"] {
            assert_eq!(shop.said(asked).await.as_deref(), Some(asked));
        }
        // What has ended takes nobody's place.
        shop.pass(HOUR);
        shop.save("e", "e", 3).await;
        assert_eq!(shop.number("SELECT count(*) FROM saved_answer").await, 1);
    }
}
