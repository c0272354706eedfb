//! Progress of long work: a bar on stderr while a person watches, nothing where nobody does.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of known length. It vanishes when it is dropped, so that only the result stays on the screen.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of `length` steps under this heading. stderr is talk, so stdout stays clean data.
    pub(crate) fn of(heading: &str, length: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let template = "{prefix} {wide_bar} {pos}/{len} {msg} {elapsed}";
        // The template is our own; one that does not parse leaves the plain bar.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_prefix(heading.to_owned());
        Self(bar)
    }

    /// So many steps are done.
    pub(crate) fn at(&self, position: u64) {
        self.0.set_position(position);
    }

    /// Says a word beside the bar.
    pub(crate) fn tell(&self, words: &str) {
        self.0.set_message(words.to_owned());
    }

    /// Talks above the bar, so that neither tears the other.
    pub(crate) fn say(&self, text: &str) {
        if self.0.is_hidden() {
            crate::output::say(text);
        } else {
            self.0.println(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
