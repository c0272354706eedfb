//! Claims that end without a commit leave a note: counted, bounded, in their place, and never text.

use common::domain::End;
use common::store::NewNote;

use super::{ANNA, contract};

const HELD: NewNote<'static> = NewNote { ending: "held", class: "outage", policy: Some("v1"), again_at: None };

contract! {
    async fn equal_ends_before_one_turn_are_one_note_that_counts_and_the_next_turn_begins_anew(shop) {
        let (first, conversation) = shop.say(ANNA, "one").await;
        let claim = shop.claim_quiet(conversation).await;
        for _ in 0..3 {
            shop.store.note(&claim, HELD).await.unwrap();
        }
        shop.store.note(&claim, NewNote { ending: "drained", class: "", ..HELD }).await.unwrap();
        let notes = shop.store.notes_of(conversation).await.unwrap();
        let told: Vec<_> = notes.iter().map(|note| (note.ending.as_str(), note.behind, note.times)).collect();
        assert_eq!(told, [("drained", 0, 1), ("held", 0, 3)]);
        shop.commit(&claim, &[(first, End::Replied, None)], &[], None, &[]).await.unwrap();
        shop.say(ANNA, "two").await;
        let next = shop.claim_quiet(conversation).await;
        shop.store.note(&next, HELD).await.unwrap();
        // A zombie's end belongs before the turn that it lost, however late it is told.
        let committed = shop.store.conversation_view(conversation, 10).await.unwrap().turns[0].position;
        let notes = shop.store.notes_of(conversation).await.unwrap();
        assert_eq!((notes.len(), notes[2].behind, notes[2].times), (3, committed, 1));
    }
}
