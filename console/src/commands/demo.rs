//! demo
use crate::context::Context;
use crate::failure::{Answer, Failure};
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End when every line is done; exit code 1 if one went otherwise than it must
    #[arg(long)]
    exit: bool,
}
impl Demo {
    pub(crate) async fn run(&self, _c: &Context) -> Answer {
        Err(Failure::cannot_run("not yet"))
    }
}
